// The reader's own apps that are not over, each with its line and what is left.
import { h } from './dom.js';
import { line } from './line.js';
import { serverNow } from './server.js';
import { BUILDING, ENDING, SENT, WAITING, own, stateOf } from './sessions.js';
import { duration, t } from './words.js';

const MOST = 6;

export const shelved = () => own().slice(0, MOST);

// null while there is nothing to show.
export function shelf(current = null) {
  const sessions = shelved();
  if (!sessions.length) return null;
  return h('nav.shelf', { 'aria-label': t('apps') },
    sessions.map((session) => h('a', {
      href: `#/s/${session.name}`, 'aria-current': session.name === current ? 'page' : null,
    }, h('b', session.name), line(session), h('span.small.soft.num', left(session)))),
    own().length > MOST ? h('a.all', { href: '#/apps' }, h('b', t('all')), h('span.small.soft', `${own().length}`)) : null);
}

export function left(session) {
  const state = stateOf(session);
  if (state === SENT || state === BUILDING) return t('stateBuilding');
  if (state === WAITING) return t('stateWaiting');
  if (state === ENDING) return t('stateEnding');
  return duration(Date.parse(session.expiresAt) - serverNow());
}
