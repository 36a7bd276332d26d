// The history: what has ended, also of sessions that were deleted since.
import { h } from './dom.js';
import { call, serverNow } from './server.js';
import { byName, world } from './sessions.js';
import { clockTime, has, money, t } from './words.js';

// A ledger does not tell an end that was asked for from one whose time had come.
const ORDERLY = new Set(['Expired', 'Deleted']);

// What ended and matches, the newest first: {items, more, missing}. `since` is a day of the reader's.
export function receipts({ text = '', user = '', className = '', since = '', until = '', everywhere = false }) {
  const query = new URLSearchParams(everywhere ? { allNamespaces: 'true' } : { namespace: world.namespace });
  if (text.trim()) query.set('search', text.trim());
  if (user) query.set('user', user);
  if (className) query.set('class', className);
  if (since) query.set('since', new Date(`${since}T00:00`).toISOString());
  if (until) query.set('until', until);
  return call(`api/history?${query}`);
}

export function summaryOf({ items, more, missing }) {
  const total = items.reduce((sum, one) => sum + Number(one.totalCost || 0), 0);
  const said = t(more ? 'historyNewest' : 'historyShown', { n: items.length, c: money(total) });
  return missing ? `${said}. ${t(missing === 'older' ? 'missingOlder' : 'missingNewest')}` : said;
}

export function receiptRow(one) {
  const known = byName(one.name);
  const name = known?.uid === one.uid ? h('a', { href: `#/s/${one.name}` }, one.name) : h('span', one.name);
  const user = one.user === one.namespace ? '' : one.user;
  const whose = [one.namespace === world.namespace ? '' : one.namespace, user, one.className].filter(Boolean).map((word) => ` · ${word}`).join('');
  const reason = one.terminationReason || '';
  const why = ORDERLY.has(reason) ? t('stateEnded') : has(reason) ? t(reason) : reason;
  const parts = [[t('server'), one.serverCost], ['Claude', one.claudeCost]].filter(([, cost]) => Number(cost));
  return h('tr',
    h('td', name, h('span.soft.small', whose), one.prompt ? h('span.p', { dir: 'auto' }, one.prompt) : null),
    h('td.small', why),
    h('td.num.nb.small', clockTime(Date.parse(one.completedAt), serverNow())),
    h('td.r.num', one.totalCost ? money(Number(one.totalCost)) : '–',
      parts.length ? h('span.p', parts.map(([word, cost]) => `${word} ${money(Number(cost))}`).join(' · ')) : null));
}
