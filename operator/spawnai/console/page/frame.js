// What stands around every view: the top, the bars, signing in, and the shortcuts' list.
import { $, button, command, dialog, h, icon, svg } from './dom.js';
import { serverNow, setToken } from './server.js';
import { ENDS_SOON, hurry, pause, stateOf, world } from './sessions.js';
import { HOUR, clockTime, duration, languageTag, setLanguage, t } from './words.js';

function brand() {
  return svg('svg', { viewBox: '0 0 34 12', 'aria-hidden': 'true' },
    svg('circle', { cx: 3, cy: 6, r: 2.2 }), svg('circle', { cx: 10, cy: 6, r: 2.2 }),
    svg('rect', { x: 15, y: 3, width: 19, height: 6, rx: 3 }));
}

let drawn = null;

export function top(route, { render, start, leave }) {
  // Drawn again only when it differs: the menu must not close under a reader's pointer.
  const key = JSON.stringify([route, languageTag(), world.me?.user, world.namespace, world.paused]);
  if (key === drawn) return;
  drawn = key;
  const link = (path, words) => h('a', { href: `#${path}`, 'aria-current': route === path ? 'page' : null }, words);
  const parts = [h('a.brand', { href: '#/new', 'aria-label': 'SpawnAI' }, brand(), h('span', 'SpawnAI')),
    h('nav', { 'aria-label': 'SpawnAI' }, world.me ? [link('/new', t('newApp')), link('/apps', t('apps'))] : null)];
  const who = world.me ? `${shortName(world.me.user)} · ${world.namespace}` : '';
  parts.push(h('details.menu', h('summary', { 'aria-label': `${who} ${t('menu')}`.trim() }, who ? h('span', who) : null, icon('menu')),
    h('div.pop', world.me ? namespaceChoice(start) : null, languages(render),
      world.me ? button(world.paused ? t('resumeLive') : t('pauseLive'), () => { pause(!world.paused); render(); }, '.quiet') : null,
      button(t('shortcuts'), keysDialog, '.quiet'),
      world.me ? button(t('forgetToken'), leave, '.quiet') : null)));
  $('#top').replaceChildren(...parts);
}

// A ServiceAccount's full name is long: system:serviceaccount:team-a:dana.
const shortName = (user) => user.split(':').pop();

function namespaceChoice(start) {
  const { namespaces } = world.me;
  const use = (name) => start(name).catch(() => {});
  if (namespaces.length) {
    const known = namespaces.includes(world.namespace) ? namespaces : [world.namespace, ...namespaces];
    return h('div', h('label.small.soft', { for: 'namespace' }, t('namespace')),
      h('select', { id: 'namespace', onchange: (event) => use(event.target.value) },
        known.map((name) => h('option', { value: name, selected: name === world.namespace }, name))));
  }
  const input = h('input', { id: 'namespace', type: 'text', spellcheck: 'false', autocapitalize: 'none' });
  input.value = world.namespace;
  return h('form', { onsubmit: (event) => { event.preventDefault(); if (input.value.trim()) use(input.value.trim()); } },
    h('label.small.soft', { for: 'namespace' }, t('namespace')), h('div.row.tight', input, h('button', t('useNamespace'))));
}

function languages(render) {
  const choice = (tag, name) => button(name, () => { setLanguage(tag); render({ whole: true }); }, '', { 'aria-pressed': String(languageTag() === tag), lang: tag });
  return h('div', h('p.small.soft', t('language')), h('div.seg', { role: 'group', 'aria-label': t('language') },
    choice('en', 'English'), choice('fr', 'Français')));
}

const notice = (kind, strong, text, action) => h(`div.note${kind}`, h('div', h('strong', strong), ' ', text), action);

export function notices(session, { signIn, extendBy }) {
  const found = [];
  if (!world.me) return found;
  const refusal = world.connection === 'refused' ? world.refusal : null;
  if (refusal?.status === 401) {
    found.push(notice('.bad', t('tokenExpired'), t('tokenExpiredMore'), tokenForm(signIn, 'token-again')));
  } else if (!world.me.may.see) {
    found.push(notice('.soon', t('cannotSee', { ns: world.namespace }), [t('cannotSeeMore'), refusal ? [' ', h('code.mono.small', refusal.message)] : '']));
  } else if (!world.me.may.order) {
    found.push(notice('.soon', t('cannotOrder'), [t('cannotOrderMore', { ns: world.namespace }), world.me.refusal ? [' ', h('code.mono.small', world.me.refusal)] : '']));
  }
  if (world.paused) {
    found.push(notice('', t('paused'), t('pausedMore'), button(t('resumeLive'), () => pause(false))));
  } else if (world.lostAt !== null && !refusal && Date.now() - world.lostAt > 5000) {
    found.push(notice('.soon', t('offline', { t: clockTime(world.lostAt) }), t('offlineMore'), button(t('tryNow'), hurry)));
  }
  if (world.offer?.operator === 'away') found.push(notice('.soon', t('operatorDown'), t('operatorDownMore')));
  if (session && stateOf(session) === ENDS_SOON) {
    const end = Date.parse(session.expiresAt);
    const words = h('strong.num', t('endsIn', { t: duration(end - serverNow()) }));
    found.push(Object.assign(h('div.note.soon', h('div', words, ' ', t('endsInMore')),
      button(t('plusHour', { t: clockTime(end + HOUR, serverNow()) }), () => extendBy?.(HOUR))), {
      tick: () => { words.textContent = t('endsIn', { t: duration(Date.parse(session.expiresAt) - serverNow()) }); },
    }));
  }
  return found;
}

function tokenForm(signIn, id) {
  const input = h('input', { id, type: 'password', autocomplete: 'off', spellcheck: 'false', 'aria-label': t('token'), placeholder: t('token') });
  return h('form.row', { onsubmit: (event) => { event.preventDefault(); signIn(input.value); } }, input, h('button', t('signIn')));
}

// The first page for whoever brings no token and has no proxy that brings one.
export function signInView({ start }) {
  const input = h('input', { id: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'token-told' });
  const told = h('p.err', { id: 'token-told', role: 'alert' });
  const form = h('form.stack.signin', {
    onsubmit: async (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!text) { input.focus(); return; }
      setToken(text);
      try {
        await start();
      } catch (error) {
        setToken(null);
        input.setAttribute('aria-invalid', 'true');
        told.textContent = error.status === 401 ? t('tokenRefused') : error.message;
        input.focus();
      }
    },
  }, h('h1', t('signIn')), h('p.soft', t('signInMore')),
  h('div.field', h('label', { for: 'token' }, t('token')), input, told),
  h('div', h('button.pri', { type: 'submit' }, t('signIn'))),
  h('p.small.soft', t('getOneWith')), command('kubectl create token NAME --duration=8h'));
  return { element: form, focus: input };
}

const KEYS = [['n', 'keyNew'], ['/', 'keyFind'], ['g a', 'keyApps'], ['j k', 'keyNext'], ['o', 'keyOpen'], ['e', 'keyExtend'],
  ['c l s d', 'keyTabs'], ['Ctrl ↵', 'keySend'], ['?', 'keyThis'], ['Esc', 'close']];

const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };

export const keysAreOn = () => stored('keys') !== 'off';

export function keysDialog() {
  dialog(t('shortcuts'), (close) => [
    h('dl.kv', KEYS.map(([key, words]) => [h('dt', t(words)), h('dd', h('kbd', key))])),
    h('label.row', h('input', {
      type: 'checkbox', checked: keysAreOn(),
      onchange: (event) => { try { localStorage.setItem('keys', event.target.checked ? 'on' : 'off'); } catch { /* not kept */ } },
    }), t('useKeys')),
    h('div.row.end', button(t('close'), close))]);
}
