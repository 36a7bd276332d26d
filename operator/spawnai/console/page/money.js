// What a session costs by now and in all. Amounts come as decimal strings and are shown, never sent.
import { serverNow } from './server.js';
import { offerOf, world } from './sessions.js';
import { HOUR } from './words.js';

const MINIMUM = 0.01; // DigitalOcean's, for a droplet that lived for less

const serverCost = (hourly, ms) => Math.max(hourly * Math.max(ms, 60_000) / HOUR, MINIMUM);

// {server, claude, overhead, total, expected, price}, in dollars; null where nothing is known.
export function costOf(session) {
  const hourly = Number(session.costHourly);
  const begun = Date.parse(session.startedAt);
  if (!session.costHourly || Number.isNaN(begun)) return null;
  const expected = session.estimatedCost === null ? null : Number(session.estimatedCost);
  const actual = session.actualCost === null ? null : Number(session.actualCost);
  const share = overheadShare();
  const claude = Number(session.costClaude || 0);
  const server = serverCost(hourly, serverNow() - begun);
  const overhead = (server + claude) * share;
  return {
    server, claude, overhead, share, hourly, expected,
    total: actual ?? server + claude + overhead,
    price: session.price === null ? null : Number(session.price),
  };
}

export const overheadShare = () => Number(world.offer?.overhead || 0);

// The two parts of a first estimate, without overhead: {total, server, claude}; null where the offer
// that it was made from is not known.
export function partsOf(session) {
  const kind = offerOf(session)?.appTypes.find((one) => one.appType === session.appType);
  if (session.estimatedCost === null || !kind?.claudeCost) return null;
  const total = Number(session.estimatedCost);
  const claude = Number(kind.claudeCost);
  return total > claude ? { total, claude, server: total - claude } : null;
}

// What the last change has cost, if it failed: what Claude was paid since the version before it.
export function costOfFailure(session, receipt) {
  const [before, last] = session.revisions.slice(-2);
  if (!last?.failed) return 0;
  return receipt.generations
    .filter(({ startedAt }) => Date.parse(startedAt) >= Date.parse(before.at) && Date.parse(startedAt) <= Date.parse(last.at))
    .reduce((sum, one) => sum + Number(one.cost), 0);
}

// The estimate before an order; null without an operator that knows the prices.
export function estimate(appType, tier, ms) {
  const offered = world.offer?.tiers.find((one) => one.tier === tier);
  const kind = world.offer?.appTypes.find((one) => one.appType === appType);
  if (!offered?.hourly || !kind?.claudeCost) return null;
  const server = serverCost(Number(offered.hourly), ms + 75_000);
  const claude = Number(kind.claudeCost);
  const share = overheadShare();
  const overhead = (server + claude) * share;
  const total = server + claude + overhead;
  return { hourly: Number(offered.hourly), server, claude, overhead, share, total, price: priceOf(offered.price, total), ready: kind.readySeconds };
}

// What is charged for a session of that cost that is used as usual; null where nobody is charged.
function priceOf(terms, cost) {
  if (!terms) return null;
  if (terms.flat) return Number(terms.flat);
  const total = cost * (1 + Number(terms.overhead || 0));
  return Math.max(total * Math.max(Number(terms.multiplier || 1), 1), Number(terms.minimum || 0));
}
