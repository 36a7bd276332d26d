// What the page knows of sessions, who the reader is, and what a session's state is called here.
import { Refusal, Stream, call, serverNow } from './server.js';
import { MINUTE } from './words.js';

export const SENT = 'sent';
export const WAITING = 'waiting';
export const BUILDING = 'building';
export const RUNNING = 'running';
export const ENDS_SOON = 'endsSoon';
export const NOT_ANSWERING = 'notAnswering';
export const IN_PART = 'inPart';
export const FAILED = 'failed';
export const ENDING = 'ending';
export const ENDED = 'ended';

export const LIVING = new Set([RUNNING, ENDS_SOON, NOT_ANSWERING, IN_PART]);
const WARNING = 5 * MINUTE;

export const world = {
  me: null,
  namespace: null,
  home: null, // the namespace of a reader who names none, once it is known
  offer: null,
  connection: 'none', // none, open, trouble, closed, refused
  lostAt: null,
  refusal: null,
  synced: false,
  paused: false,
};

const byUid = new Map();
const orders = new Map(); // by name: what was sent and is not confirmed yet
const listeners = new Set();
let stream = null;
let seen = null; // while a listing is told anew: the uids in it

export const onChange = (listener) => listeners.add(listener);

function changed(session, before = null) {
  for (const listener of listeners) listener(session, before);
}

export const all = () => [...orders.values(), ...byUid.values()];

export const byName = (name) => orders.get(name) || [...byUid.values()]
  .filter((one) => one.name === name)
  // A name may be used again while the one before it is taken down.
  .sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt))[0] || null;

export const condition = (session, type) => session.conditions.find((one) => one.type === type);
export const isTrue = (session, type) => condition(session, type)?.status === 'True';

export function stateOf(session) {
  if (session.sent) return SENT;
  if (session.state === 'destroyed') return failed(session) ? FAILED : ENDED;
  if (session.state === 'destroying') return ENDING;
  if (session.readyAt) {
    if (session.endingSince) return ENDING;
    const ready = condition(session, 'Ready');
    if (ready && ready.status !== 'True') return NOT_ANSWERING;
    if (Date.parse(session.expiresAt) - serverNow() < WARNING) return ENDS_SOON;
    return isTrue(session, 'Degraded') ? IN_PART : RUNNING;
  }
  if (session.endingSince) return ENDING;
  const admitted = condition(session, 'Admitted');
  if (admitted?.status === 'False') return WAITING;
  return failed(session) ? FAILED : BUILDING;
}

const failed = (session) => isTrue(session, 'Stalled');

// What the session's class offers; null where another one's offer is known.
export const offerOf = (session) => (
  !session.className || session.className === world.offer?.className ? world.offer : null);

// The latest end that the class allows an app that runs.
export const latestEnd = (session) => Date.parse(session.readyAt) + (offerOf(session)?.maxTtlSeconds ?? Infinity) * 1000;

// How a change of the app goes: null, or {how: 'under way', 'waits' or 'failed', message}.
export function changeOf(session) {
  const failure = condition(session, 'UpdateFailed');
  if (failure?.status === 'True') {
    return { how: failure.reason === 'WaitingForBudget' ? 'waits' : 'failed', message: failure.message };
  }
  const work = condition(session, 'Reconciling');
  return work?.status === 'True' && work.reason === 'Updating' ? { how: 'under way', message: '' } : null;
}

// The reader's own that are not over, those that end first in front.
export const own = () => all()
  .filter((one) => ![FAILED, ENDED].includes(stateOf(one)))
  .sort((a, b) => (Date.parse(a.expiresAt) || Infinity) - (Date.parse(b.expiresAt) || Infinity)
    || Date.parse(b.createdAt) - Date.parse(a.createdAt));

// Ends that were asked for and that no state of the server shows yet, by uid. `old`: what the states
// of before say.
const hopes = new Map();
const OPERATOR_LOOKS = 30_000;

function put(session) {
  const before = byUid.get(session.uid) || orders.get(session.name) || null;
  const order = orders.get(session.name);
  if (order && Date.parse(session.createdAt) >= order.sentAt - 60_000) orders.delete(session.name);
  if (before?.sequence && BigInt(before.sequence) > BigInt(session.sequence)) return;
  // What was asked for here stays on the screen until the server has said something newer.
  if (before?.endingSince && !['destroying', 'destroyed'].includes(session.state)) {
    session.endingSince = before.endingSince;
  }
  const hope = hopes.get(session.uid);
  if (hope?.old.has(session.expiresAt)) session = { ...session, expiresAt: hope.expiresAt };
  else hopes.delete(session.uid);
  byUid.set(session.uid, session);
  changed(session, before);
}

function remove(uid) {
  const session = byUid.get(uid);
  if (!session) return;
  byUid.delete(uid);
  changed(null, session);
}

function onMessage(message) {
  if (message.type === 'reset') {
    seen = new Set();
  } else if (message.type === 'session') {
    seen?.add(message.session.uid);
    put(message.session);
  } else if (message.type === 'deleted') {
    remove(message.session.uid);
  } else if (message.type === 'synced') {
    if (seen) for (const uid of [...byUid.keys()]) if (!seen.has(uid)) remove(uid);
    seen = null;
    if (!world.synced) {
      world.synced = true;
      changed(null);
    }
  }
}

function onState(state, detail) {
  if (state === 'open') world.lostAt = null;
  else if (world.lostAt === null) world.lostAt = Date.now();
  if (state === 'refused') world.refusal = detail;
  if (world.connection !== state) {
    world.connection = state;
    changed(null);
  }
}

export function connect() {
  disconnect();
  world.synced = false;
  world.refusal = null;
  byUid.clear();
  stream = new Stream(world.namespace, { onMessage, onState });
  return stream;
}

// With a new token, and whatever is known already.
export function reconnect() {
  const since = stream?.since ?? null;
  disconnect();
  world.refusal = null;
  stream = new Stream(world.namespace, { onMessage, onState });
  stream.since = since;
}

export function disconnect() {
  stream?.close();
  stream = null;
}

export function pause(yes) {
  world.paused = yes;
  if (yes) disconnect();
  else reconnect();
  changed(null);
}

export const hurry = () => stream?.hurry();

export async function loadMe(namespace) {
  const query = namespace ? `?${new URLSearchParams({ namespace })}` : '';
  world.me = await call(`api/me${query}`);
  world.namespace = world.me.namespace;
  if (!namespace) world.home = world.namespace;
  loadOffer();
}

export async function loadOffer() {
  const { namespace } = world;
  let offer = null;
  try {
    offer = await call(`api/offer?${new URLSearchParams({ namespace })}`);
  } catch (error) {
    if (!(error instanceof Refusal)) return; // no connection: what was known stays
  }
  if (namespace !== world.namespace) return;
  world.offer = offer;
  changed(null);
}

const LITTLE = new Set(['and', 'the', 'with', 'for', 'that', 'une', 'les', 'des', 'avec', 'pour']);

function nameFor(prompt) {
  const words = prompt.toLowerCase().normalize('NFD').replace(/[^a-z0-9\s]/g, '').split(/\s+/)
    .filter((word) => word.length > 2 && !LITTLE.has(word));
  const bytes = crypto.getRandomValues(new Uint8Array(2));
  const tail = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${words.slice(0, 2).map((word) => word.slice(0, 20)).join('-') || 'app'}-${tail}`;
}

const EMPTY = {
  sent: true, state: 'requested', progress: 0, message: '', conditions: [], sequence: null,
  appUrl: null, expiresAt: null, readyAt: null, startedAt: null, deleted: false,
};

// The order is on the screen before the server has answered. The name is its idempotency key.
export function order(draft) {
  const name = nameFor(draft.prompt);
  const session = {
    ...EMPTY, ...draft, name, uid: `order-${name}`, namespace: world.namespace,
    id: `${world.namespace}.${name}`, sentAt: serverNow(), createdAt: new Date(serverNow()).toISOString(),
  };
  orders.set(name, session);
  changed(session);
  return session;
}

// Send it, and again after a cut, until the server says yes or no. Throws Refusal for a no.
export async function send(session) {
  const body = {
    prompt: session.prompt, appType: session.appType, tier: session.tier, ttl: session.ttl,
    name: session.name, namespace: session.namespace, env: session.env?.length ? session.env : null,
  };
  for (let tries = 0; ; tries += 1) {
    try {
      put((await call('api/sessions', { method: 'POST', body })).session);
      return;
    } catch (error) {
      const final = error instanceof Refusal && error.status < 500 && error.status !== 429;
      if (final && error.status === 409 && tries > 0) {
        put(await call(`api/sessions/${session.id}`)); // it had arrived
        return;
      }
      if (final) {
        orders.delete(session.name);
        changed(null, session);
        throw error;
      }
      await new Promise((done) => { setTimeout(done, Math.min(15_000, 1000 * 2 ** tries)); });
    }
  }
}

export async function change(session, body) {
  put(await call(`api/sessions/${session.id}`, { method: 'PATCH', body }));
}

// A view may hold an older state than the stream has brought since.
const latest = (session) => byUid.get(session.uid) || session;

// Shown at once; taken back when the server refuses, or when the operator does not take it.
export async function extend(session, expiresAt) {
  const before = session.expiresAt;
  const old = new Set([...(hopes.get(session.uid)?.old || []), before]);
  const hope = { old, expiresAt: new Date(expiresAt).toISOString() };
  const takeBack = () => {
    if (hopes.get(session.uid) !== hope) return;
    hopes.delete(session.uid);
    put({ ...latest(session), expiresAt: before });
  };
  hopes.set(session.uid, hope);
  put(latest(session));
  try {
    const body = { expiresAt: new Date(Math.floor(expiresAt / 1000) * 1000).toISOString().replace('.000', '') };
    put(await call(`api/sessions/${session.id}`, { method: 'PATCH', body }));
    setTimeout(takeBack, OPERATOR_LOOKS);
  } catch (error) {
    takeBack();
    throw error;
  }
}

export async function end(session) {
  put({ ...latest(session), endingSince: serverNow() });
  try {
    await call(`api/sessions/${session.id}`, { method: 'PATCH', body: { expiresAt: 'now' } });
  } catch (error) {
    const kept = { ...latest(session) };
    delete kept.endingSince;
    byUid.set(session.uid, kept);
    changed(kept, session);
    throw error;
  }
}

export async function removeFromList(session) {
  await call(`api/sessions/${session.id}`, { method: 'DELETE' });
}
