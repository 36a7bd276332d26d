// A life is a line: four ticks for the building, dots for what is used, solid for what is to come.
import { h } from './dom.js';
import { serverNow } from './server.js';
import { BUILDING, ENDED, ENDING, ENDS_SOON, FAILED, SENT, WAITING, condition, isTrue, stateOf } from './sessions.js';
import { t } from './words.js';

const TAGS = {
  sent: 'make', waiting: 'wait', building: 'make', running: 'live', endsSoon: 'soon',
  notAnswering: 'bad', inPart: 'soon', failed: 'bad', ending: 'end', ended: 'end',
};

const WORDS = {
  sent: 'stateSent', waiting: 'stateWaiting', building: 'stateBuilding', running: 'stateRunning',
  endsSoon: 'stateEndsSoon', notAnswering: 'stateNotAnswering', inPart: 'stateInPart',
  failed: 'stateFailed', ending: 'stateEnding', ended: 'stateEnded',
};

export const stateWord = (session) => t(WORDS[stateOf(session)]);

export const tag = (session) => h(`span.tag.${TAGS[stateOf(session)]}`, stateWord(session));

// At which step an app failed that is gone: its conditions are gone, too.
function failedAt({ terminationReason, progress }) {
  if (terminationReason === 'PageBroken') return 3;
  if (terminationReason?.startsWith('Generation')) return 1;
  return [20, 50].filter((bound) => progress >= bound).length;
}

// The four steps of the building: 'done', 'now', 'todo' or 'fail', with the times they took.
export function steps(session) {
  const over = Boolean(session.readyAt);
  const state = stateOf(session);
  if (session.state === 'destroyed' && !over) {
    const last = failedAt(session);
    const kinds = [0, 1, 2, 3].map((i) => (i < last ? 'done' : i === last && state === FAILED ? 'fail' : 'todo'));
    return kinds.map((kind) => ({ kind, seconds: null }));
  }
  const done = [
    over || (isTrue(session, 'DropletReady') && isTrue(session, 'FirewallReady')),
    over || isTrue(session, 'Generated'),
    over || isTrue(session, 'AppHealthy'),
    over,
  ];
  const begun = Date.parse(session.startedAt || session.createdAt);
  const at = (...types) => Math.max(...types.map((type) => Date.parse(condition(session, type)?.lastTransitionTime) || begun));
  const ends = [
    at('DropletReady', 'FirewallReady'), at('Generated'),
    over ? Date.parse(session.readyAt) : at('AppHealthy'), Date.parse(session.readyAt) || begun,
  ];
  const starts = [begun, begun, Math.max(ends[0], ends[1]), ends[2]];
  const first = done.indexOf(false);
  return done.map((isDone, i) => {
    let kind = 'todo';
    if (isDone) kind = 'done';
    else if (state === FAILED || state === ENDING || state === ENDED) kind = i === first ? 'fail' : 'todo';
    // Claude writes while the server starts, so both may be under way.
    else if (state !== WAITING && (i === first || (i === 1 && session.startedAt))) kind = 'now';
    return { kind, seconds: isDone ? Math.max(0, Math.round((ends[i] - starts[i]) / 1000)) : null };
  });
}

const BOUNDS = [0, 20, 50, 80, 100];

// How far the present step is, 0 to 1.
export function fraction(session, step) {
  const [from, to] = [BOUNDS[step], BOUNDS[step + 1]];
  return Math.min(1, Math.max(0.06, (session.progress - from) / (to - from)));
}

export function line(session) {
  const state = stateOf(session);
  const making = [SENT, WAITING, BUILDING].includes(state);
  const off = [ENDED, FAILED, ENDING].includes(state);
  const ready = Date.parse(session.readyAt);
  const ends = Date.parse(session.expiresAt);
  const used = making || Number.isNaN(ready) ? 0 : Math.min(1, Math.max(0, (serverNow() - ready) / (ends - ready)));
  const classes = ['div', 'line'];
  if (making) classes.push('making');
  if (state === ENDS_SOON) classes.push('soon');
  if (off) classes.push('off');
  if (state === FAILED) classes.push('bad');
  const ticks = steps(session).map(({ kind }, i) => h(
    `i.b${{ done: '.on', now: '.now', fail: '.fail', todo: '' }[state === WAITING ? 'todo' : kind]}`,
    kind === 'now' && { '--f': fraction(session, i) },
  ));
  const showsUse = off ? state !== FAILED && !Number.isNaN(ready) : used > 0;
  return h(classes.join('.'), { 'aria-hidden': 'true' }, ticks,
    showsUse ? h('i.u', { '--g': off ? 1 : Math.max(0.008, used) }) : null,
    off ? null : h(`i.l${making ? '.hollow' : ''}`, { '--g': making ? 0.8 : 1 - used }),
    h('i.z'));
}
