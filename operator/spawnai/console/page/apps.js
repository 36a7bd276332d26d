// All apps of the namespace, the living ones first; and the history, from their receipts.
import { fromAddress, keepInAddress } from './address.js';
import { button, h, setText } from './dom.js';
import { tag } from './line.js';
import { costOf } from './money.js';
import { receiptRow, receipts, summaryOf } from './receipts.js';
import { serverNow } from './server.js';
import { BUILDING, ENDED, ENDING, ENDS_SOON, FAILED, LIVING, SENT, WAITING, all, stateOf, world } from './sessions.js';
import { HOUR, clockTime, duration, isFrench, money, t } from './words.js';

const PAGE = 40;
const PAUSE = 250; // ms after a key, before the server is asked
const filter = {};

const GROUPS = {
  all: () => true,
  running: (state) => LIVING.has(state),
  building: (state) => [SENT, BUILDING, WAITING, ENDING].includes(state),
  failed: (state) => state === FAILED,
  ended: (state) => state === ENDED,
  history: () => false, // the ledgers know more than the sessions that are left
};
const GROUP_WORDS = { all: 'all', running: 'stateRunning', building: 'stateBuilding', failed: 'stateFailed', ended: 'stateEnded', history: 'history' };

const rank = (session) => {
  const state = stateOf(session);
  if (LIVING.has(state)) return 0;
  if ([SENT, BUILDING, ENDING].includes(state)) return 1;
  return state === WAITING ? 2 : 3;
};

const endOf = (session) => Date.parse(session.destroyedAt || session.expiresAt) || 0;

function order(a, b) {
  const [x, y] = [rank(a), rank(b)];
  if (x !== y) return x - y;
  return x < 3 ? (endOf(a) || Infinity) - (endOf(b) || Infinity) : (endOf(b) || Date.parse(b.createdAt)) - (endOf(a) || Date.parse(a.createdAt));
}

// Where a moment stands on the chart: a square root of the distance from now, three days each side.
function position(moment) {
  const distance = moment - serverNow();
  return 0.5 + Math.sign(distance) * 0.5 * Math.sqrt(Math.min(1, Math.abs(distance) / (72 * HOUR)));
}

// What the list is narrowed to stands in the address, so that a link and a reload show the same.
function readFilter() {
  const state = fromAddress('show');
  Object.assign(filter, {
    text: fromAddress('find'), state: Object.hasOwn(GROUPS, state) ? state : 'all', since: fromAddress('since'), shown: PAGE,
    user: fromAddress('user'), className: fromAddress('class'),
    everywhere: world.me.may.searchAll && fromAddress('all') === 'yes',
  });
}

function keepFilter() {
  keepInAddress({
    find: filter.text,
    user: filter.user,
    class: filter.className,
    show: filter.state === 'all' ? '' : filter.state,
    since: filter.state === 'history' ? filter.since : '',
    all: filter.state === 'history' && filter.everywhere ? 'yes' : '',
  });
}

const clearFilter = () => keepInAddress({ find: '', user: '', class: '', show: '', since: '', all: '' });

export function view({ go, render }) {
  readFilter();
  if (world.synced && !all().length && filter.state !== 'history') return empty(go);
  const body = h('tbody');
  const foot = h('div.row');
  const count = h('p.soft.small', { role: 'status' });
  const rows = new Map();
  let asked = null; // the question to the server whose answer is awaited
  const isHistory = () => filter.state === 'history';
  const follow = () => { if (!isHistory()) drawSessions(); };

  // The server searches: the history may be longer than one answer. Only the last question counts.
  async function ask(until, show, pause) {
    const question = {};
    asked = question;
    const isCurrent = () => asked === question && isHistory();
    count.textContent = t('loading');
    await new Promise((resume) => { setTimeout(resume, pause); });
    if (!isCurrent()) return;
    try {
      const found = await receipts({ ...filter, until });
      if (isCurrent()) show(found);
    } catch (error) {
      if (isCurrent()) count.textContent = error.message;
    }
  }

  const drawHistory = (pause = 0) => ask('', showHistory, pause);

  function showHistory(found) {
    const { items } = found;
    count.textContent = summaryOf(found);
    body.replaceChildren(...items.slice(0, filter.shown).map(receiptRow));
    foot.replaceChildren(...footOf(items.length, () => showHistory(found)));
    if (found.more && items.length <= filter.shown) {
      const older = (next) => { filter.shown += PAGE; showHistory({ ...next, items: [...items, ...next.items] }); };
      foot.append(button(t('older'), () => ask(items.at(-1).completedAt, older, 0)));
    }
  }

  function narrowed(pause = 0) {
    filter.shown = PAGE;
    keepFilter();
    if (isHistory()) drawHistory(pause);
    else drawSessions();
  }

  function choose(name) {
    filter.state = name;
    rows.clear();
    body.replaceChildren();
    foot.replaceChildren();
    table.classList.toggle('past', isHistory());
    since.hidden = !isHistory();
    // In the history, and where a link has narrowed the list so.
    for (const field of [user, className]) field.hidden = !isHistory() && !field.value;
    everywhere.hidden = !isHistory() || !world.me.may.searchAll;
    setText(lastDay, t(isHistory() ? 'stateEnded' : 'ends'));
    narrowed();
  }

  function drawSessions() {
    const text = filter.text.toLowerCase();
    const found = all().filter((one) => GROUPS[filter.state](stateOf(one))
      && (!filter.user || (one.userId || one.namespace) === filter.user)
      && (!filter.className || one.className === filter.className)
      && `${one.name} ${one.prompt} ${one.userId || ''}`.toLowerCase().includes(text)).sort(order);
    count.textContent = t('shown', { n: found.length, m: all().length });
    const shown = found.slice(0, filter.shown);
    const kept = new Set(shown.map((one) => one.uid));
    for (const [uid, row] of rows) if (!kept.has(uid)) { row.element.remove(); rows.delete(uid); }
    // The order changes only when nobody points at the list or works in it.
    const quiet = !body.matches(':hover') && !body.contains(document.activeElement);
    shown.forEach((session, i) => {
      let row = rows.get(session.uid);
      if (!row) { row = makeRow(session); rows.set(session.uid, row); body.append(row.element); }
      row.draw(session);
      if (quiet && body.children[i] !== row.element) body.insertBefore(row.element, body.children[i] || null);
    });
    foot.replaceChildren(...footOf(found.length, drawSessions));
  }

  const footOf = (n, redraw) => {
    if (!n) return [h('div.empty', h('p', t('noMatch')), button(t('clear'), () => { clearFilter(); render(); }))];
    if (n > filter.shown) return [button(t('more', { n: Math.min(PAGE, n - filter.shown) }), () => { filter.shown += PAGE; redraw(); })];
    return [];
  };

  const search = h('input', {
    type: 'search', id: 'find', 'aria-label': t('find'), placeholder: t('find'),
    oninput: () => { filter.text = search.value; narrowed(PAUSE); },
  });
  search.value = filter.text;
  const exactly = (key, words) => {
    const field = h('input', {
      type: 'search', id: key, 'aria-label': words, placeholder: words, spellcheck: 'false', autocapitalize: 'none',
      oninput: () => { filter[key] = field.value.trim(); narrowed(PAUSE); },
    });
    field.value = filter[key];
    return field;
  };
  const user = exactly('user', t('person'));
  const className = exactly('className', t('class'));
  const since = h('input', {
    type: 'date', id: 'since', 'aria-label': t('endedSince'), title: t('endedSince'),
    onchange: () => { filter.since = since.value; narrowed(); },
  });
  since.value = filter.since;
  filter.since = since.value; // what is no day is none
  const everywhere = h('label.row.small', h('input', {
    type: 'checkbox', id: 'everywhere', checked: filter.everywhere,
    onchange: (event) => { filter.everywhere = event.target.checked; narrowed(); },
  }), t('allNamespaces'));
  const lastDay = h('th', { scope: 'col' });
  const axis = [[-24, isFrench() ? '−1 j' : '−1 d'], [-4, '−4 h'], [0, t('now')], [4, '+4 h'], [24, isFrench() ? '+1 j' : '+1 d'], [64, isFrench() ? '+3 j' : '+3 d']];
  const table = h('table.list', h('thead', h('tr', h('th', { scope: 'col' }, t('app')), h('th', { scope: 'col' }, t('state')),
    h('th.chart', { 'aria-hidden': 'true' }, h('div.axis', axis.map(([hours, label]) => h('span', { '--a': position(serverNow() + hours * HOUR) }, label)))),
    lastDay, h('th.r', { scope: 'col' }, t('cost')))), body);
  choose(filter.state);
  return {
    element: h('div', h('h1', t('apps')), h('div.filters', search,
      h('div.chips', { role: 'radiogroup', 'aria-label': t('state') }, Object.keys(GROUPS).map((name) => h('label',
        h('input', { type: 'radio', name: 'group', checked: filter.state === name, onchange: () => choose(name) }),
        h('span', t(GROUP_WORDS[name]))))), user, className, since, everywhere, count), table, foot),
    update: follow,
    tick: follow,
    slow: true,
    go,
  };
}

function makeRow(session) {
  const name = h('a', { href: `#/s/${session.name}` }, session.name);
  const who = h('span.soft.small');
  const prompt = h('span.p', { dir: 'auto' });
  const state = h('td');
  const chart = h('div.tide');
  const when = h('td.num.nb.small');
  const cost = h('td.r.num');
  const element = h('tr', h('td', name, who, prompt), state, h('td.chart.bodyline', { 'aria-hidden': 'true' }, chart), when, cost);
  return {
    element,
    draw(next) {
      who.textContent = next.userId ? ` · ${next.userId}` : '';
      prompt.textContent = next.prompt;
      state.replaceChildren(tag(next));
      const kind = stateOf(next);
      const off = [ENDED, FAILED].includes(kind);
      const from = Date.parse(next.readyAt || next.createdAt);
      const ends = endOf(next) || serverNow() + 2 * HOUR;
      chart.replaceChildren(
        h(`i.u${kind === FAILED ? '.bad' : ''}`, { '--a': position(from), '--z': position(Math.min(ends, serverNow())) }),
        ...(off || ends < serverNow() ? [] : [h(`i.l${LIVING.has(kind) ? (kind === ENDS_SOON ? '.soon' : '') : kind === WAITING ? '.wait' : '.make'}`, { '--a': 0.5, '--z': position(ends) })]));
      if (off) when.textContent = endOf(next) ? clockTime(endOf(next), serverNow()) : '–';
      else when.textContent = next.expiresAt ? duration(Date.parse(next.expiresAt) - serverNow()) : '–';
      const known = costOf(next);
      cost.textContent = known ? money(known.total) : '–';
    },
  };
}

const empty = (go) => ({
  element: h('div.empty', h('h1', t('emptyTitle')), h('p.soft', t('emptyMore')), h('a.btn.pri', { href: '#/new' }, t('newApp')),
    button(t('history'), () => go('/apps?show=history'))),
});
