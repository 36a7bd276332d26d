// The history: what has ended, from the ledgers, also of sessions that were deleted since.
import { h } from './dom.js';
import { call, serverNow } from './server.js';
import { byName, world } from './sessions.js';
import { clockTime, money, t } from './words.js';

const REASONS = { Expired: 'timeOver', Deleted: 'youEnded' };

// Fetched once for each visit: what has ended does not change.
export async function receipts() {
  const { items } = await call(`/api/history?namespace=${encodeURIComponent(world.namespace)}`);
  return items;
}

export const matches = (one, text) => `${one.name} ${one.user || ''} ${one.className}`.toLowerCase().includes(text);

export const totalOf = (found) => found.reduce((sum, one) => sum + Number(one.totalCost || 0), 0);

export function receiptRow(one) {
  const known = byName(one.name);
  const name = known?.uid === one.uid ? h('a', { href: `#/s/${one.name}` }, one.name) : h('span', one.name);
  const reason = REASONS[one.terminationReason];
  return h('tr',
    h('td', name, h('span.soft.small', one.user ? ` · ${one.user}` : ''), h('span.p', one.className)),
    h('td.small', reason ? t(reason) : one.terminationReason || ''),
    h('td.num.nb.small', clockTime(Date.parse(one.completedAt), serverNow())),
    h('td.r.num', one.totalCost ? money(Number(one.totalCost)) : '–'));
}
