// The page's start: which view the address names, what is drawn again when, and the keyboard.
import { fromAddress, keepInAddress, route } from './address.js';
import { view as appsView } from './apps.js';
import { $, h, say } from './dom.js';
import { keysAreOn, keysDialog, notices, signInView, top } from './frame.js';
import { view as orderView } from './order.js';
import { Refusal, hasToken, serverNow, setToken } from './server.js';
import { kindOf, view as sessionView } from './session.js';
import {
  BUILDING, ENDS_SOON, FAILED, LIVING, SENT, byName, connect, disconnect, hurry, loadMe, loadOffer, onChange,
  reconnect, stateOf, world,
} from './sessions.js';
import { shelved } from './shelf.js';
import { clockTime, duration, languageTag, t } from './words.js';

let current = null;
let shownRoute = null;
let shownTo = null; // the reader
let bars = [];

const sessionName = () => (route().startsWith('/s/') ? decodeURIComponent(route().slice(3)) : null);

function go(path) {
  if (route() === path) render();
  else location.hash = path;
}

const tools = { go, render, start, leave, signIn };

function viewOf(path) {
  if (!world.me) return signInView(tools);
  const name = sessionName();
  if (name !== null) {
    const session = byName(name);
    if (session) return sessionView(session, tools);
    return { element: h('div.empty', h('p.soft', world.synced ? t('notFound', { n: name }) : t('loading'))), kind: 'missing' };
  }
  return path === '/apps' ? appsView(tools) : orderView(tools);
}

// Draw the view anew. The focus goes to it only where the address has changed.
function render() {
  const path = route();
  // A link is of a namespace; the reader's own need not be named.
  if (world.me) keepInAddress({ ns: world.namespace === world.home ? '' : world.namespace });
  const hadFocus = $('#main').contains(document.activeElement) ? document.activeElement.id : null;
  current?.close?.();
  // An Undo for what is no longer on the screen would surprise.
  $('.toast:has(.undo)')?.remove();
  document.documentElement.lang = languageTag();
  document.title = 'SpawnAI';
  $('#skip').textContent = t('skip');
  $('#notices').setAttribute('aria-label', t('notices'));
  current = viewOf(path);
  top(path, tools);
  $('#main').replaceChildren(current.element);
  drawBars();
  $('.shelf [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  const isNew = shownRoute !== null && (shownRoute !== path || (world.me && !shownTo));
  if (isNew) {
    scrollTo(0, 0);
    (current.focus || $('#main')).focus();
  } else if (hadFocus !== null) {
    ((hadFocus && document.getElementById(hadFocus)) || $('#main')).focus({ preventScroll: true });
  } else if (shownRoute === null) {
    current.focus?.focus();
  }
  shownRoute = path;
  shownTo = world.me;
}

function drawBars() {
  const name = sessionName();
  const next = notices(name === null ? null : byName(name), { signIn, extendBy: (ms) => current?.extendBy?.(ms) });
  const text = (elements) => elements.map((one) => one.firstChild.textContent).join('|');
  // A bar with a field in it must not be taken from under a reader who writes there.
  if (text(next) === text(bars) || $('#notices').contains(document.activeElement)) return;
  bars = next;
  $('#notices').replaceChildren(...next);
  $('#main').classList.toggle('stale', world.lostAt !== null && Date.now() - world.lostAt > 5000);
}

let drawing = false;

// Many changes at once, as in a first listing, are drawn once.
function drawSoon() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  if (!world.me) return;
  const name = sessionName();
  if (name === null) {
    if (current?.update) current.update();
    else render();
    current.drawShelf?.();
  } else {
    const session = byName(name);
    if (!session || current.kind !== kindOf(session)) { if (session || current.kind !== 'missing' || world.synced) render(); } else current.update(session);
    current.drawShelf?.();
  }
  drawBars();
}

function announce(session, before) {
  if (!session || !before || before.uid !== session.uid) return;
  const [was, is] = [stateOf(before), stateOf(session)];
  const making = [SENT, BUILDING].includes(was);
  if (making && LIVING.has(is)) say(t('sayReady', { n: session.name }));
  else if (is === FAILED && was !== FAILED) say(t('sayFailed', { n: session.name }), { loudly: true });
  else if (is === ENDS_SOON && was !== ENDS_SOON) say(`${session.name}: ${t('endsIn', { t: duration(Date.parse(session.expiresAt) - serverNow()) })}`, { loudly: true });
  else if (LIVING.has(is) && before.expiresAt && before.expiresAt !== session.expiresAt) {
    say(t('sayMoved', { n: session.name, t: clockTime(Date.parse(session.expiresAt), serverNow()) }));
  }
}

onChange((session, before) => {
  announce(session, before);
  drawSoon();
});

// Learn who the reader is in that namespace, and watch it. Throws Refusal for a bad token.
async function start(namespace = fromAddress('ns')) {
  await loadMe(namespace);
  if (world.me.may.see) connect();
  else disconnect();
  render();
}

async function signIn(text) {
  setToken(text.trim());
  try {
    await loadMe(world.namespace);
    document.activeElement?.blur();
    reconnect();
    render();
  } catch (error) {
    say(error.status === 401 ? t('tokenRefused') : error.message, { loudly: true });
  }
}

function leave() {
  setToken(null);
  disconnect();
  world.me = null;
  render();
}

// ---- Time ------------------------------------------------------------------------------------

let beats = 0;
setInterval(() => {
  beats += 1;
  if (document.hidden || !current) return;
  const each = current.kind === 'ending' ? 1 : 4;
  if (beats % each) return;
  if (current.slow && beats % 40) return;
  const name = sessionName();
  const session = name && world.me ? byName(name) : null;
  // Time alone changes a state: five minutes before the end.
  if (session && current.kind !== kindOf(session)) draw();
  current?.tick?.();
  for (const bar of bars) bar.tick?.();
  if (beats % 20 === 0) {
    drawBars();
    current?.drawShelf?.();
  }
}, 250);

setInterval(() => { if (world.me && !document.hidden) loadOffer(); }, 60_000);

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  hurry();
  if (world.me) draw();
});
addEventListener('online', hurry);
addEventListener('hashchange', () => {
  const namespace = fromAddress('ns');
  if (world.me && namespace && namespace !== world.namespace) start(namespace).catch((error) => say(error.message, { loudly: true }));
  else render();
});

// ---- Keyboard --------------------------------------------------------------------------------

let afterG = false;
addEventListener('keydown', (event) => {
  if (!keysAreOn() || event.ctrlKey || event.metaKey || event.altKey || $('dialog') || !world.me) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const { key } = event;
  const chord = afterG;
  afterG = key === 'g';
  const act = shortcut(key, chord);
  if (!act) return;
  event.preventDefault();
  act();
});

function shortcut(key, chord) {
  if (chord && key === 'a') return () => go('/apps');
  if (key === 'n') return () => { go('/new'); setTimeout(() => $('#prompt')?.focus()); };
  if (key === '/') return () => { go('/apps'); setTimeout(() => $('#find')?.focus()); };
  if (key === '?') return keysDialog;
  if (key === 'j' || key === 'k') return () => step(key === 'j' ? 1 : -1);
  if (key === 'o') return $('#open-app') && (() => $('#open-app').focus());
  if (key === 'e') return $('#extend') && (() => { $('#extend').focus(); $('#extend').click(); });
  const tab = { c: 'change', l: 'logs', s: 'source', d: 'details' }[key];
  return tab && $(`#tab-${tab}`) && (() => { $(`#tab-${tab}`).click(); $(`#tab-${tab}`).focus(); });
}

function step(by) {
  const names = shelved().map((one) => one.name);
  if (!names.length) return;
  const at = names.indexOf(sessionName());
  go(`/s/${names[(at + by + names.length) % names.length]}`);
}

// A proxy may have signed the reader in already; else a token is asked for.
start().catch((error) => {
  if (!(error instanceof Refusal) && hasToken()) throw error;
  render();
});
