// Below a running app: change its text, read its log, take its source, see the details.
import { fromAddress, keepInAddress } from './address.js';
import { $, button, command, h, icon, pairs, save, say, setText } from './dom.js';
import { blob, call, lines } from './server.js';
import { change, changeOf, offerOf } from './sessions.js';
import { told as inWords } from './told.js';
import { clockSeconds, money, number, place, t } from './words.js';

const NAMES = ['change', 'logs', 'source', 'details'];
const TITLES = { change: 'tabChange', logs: 'tabLogs', source: 'tabSource', details: 'tabDetails' };
const FIRST = 'logs';
let chosen = FIRST;

// What is said of a change of the app, and of the version that answers meanwhile.
// `paid`: dollars for one that failed; 0 where that is not known.
export function changeWords(session, { how, message }, paid = 0) {
  const n = session.revision ?? 1;
  if (how === 'failed') return `${t('updateFailed', { n })} ${paid ? `${t('changeCost', { c: money(paid) })} ` : ''}${message}`;
  return `${t(how === 'waits' ? 'changeWaits' : 'changing')} ${t('changingMore', { n })} ${inWords(message)}`.trim();
}

// What a change usually takes: all but the server, and what Claude takes for an app.
function usualChange(session) {
  const kind = offerOf(session)?.appTypes.find((one) => one.appType === session.appType);
  const steps = kind?.stepSeconds?.slice(1);
  if (!kind?.claudeCost || !steps?.every(Boolean)) return '';
  const seconds = steps.reduce((sum, [from, to]) => sum + (from + to) / 2, 0);
  return t('changeUsual', { n: Math.round(seconds), c: money(Number(kind.claudeCost)) });
}

export function tabs(first) {
  let session = first;
  let part = null;
  const panel = h('div', { role: 'tabpanel', id: 'panel', tabindex: 0 });
  const buttons = NAMES.map((name) => button(t(TITLES[name]), () => pick(name), '', {
    role: 'tab', id: `tab-${name}`, 'aria-controls': 'panel',
  }));
  const list = h('div.tabs', {
    role: 'tablist',
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      pick(NAMES[(NAMES.indexOf(chosen) + step + NAMES.length) % NAMES.length]);
      $(`#tab-${chosen}`).focus();
    },
  }, buttons);

  function pick(name) {
    part?.close?.();
    chosen = name;
    keepInAddress({ tab: name === FIRST ? '' : name });
    buttons.forEach((one, i) => {
      one.setAttribute('aria-selected', String(NAMES[i] === name));
      one.tabIndex = NAMES[i] === name ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', `tab-${name}`);
    part = PARTS[name](session);
    panel.replaceChildren(part.element);
  }
  const wanted = fromAddress('tab');
  pick(NAMES.includes(wanted) ? wanted : chosen);
  return {
    element: h('div.noprint', list, panel),
    update(next) { session = next; part.update?.(next); },
    close() { part.close?.(); },
  };
}

const PARTS = { change: changePart, logs: logsPart, source: sourcePart, details: detailsPart };

function changePart(first) {
  let session = first;
  const area = h('textarea', { id: 'change-text', dir: 'auto', 'aria-describedby': 'change-hint change-told' });
  area.value = session.prompt;
  const told = h('p.hint', { id: 'change-told' });
  const versions = h('ol.revs');
  const listed = h('div', h('h2', t('versions')), versions);
  let shown = '';

  async function send(prompt) {
    if (prompt === session.prompt) { setText(told, t('changeSame')); return; }
    try {
      await change(session, { prompt });
      setText(told, t('changing'));
      say(t('changing'));
    } catch (error) {
      told.className = 'err';
      setText(told, error.message);
      say(error.message, { loudly: true });
    }
  }

  // The status has the versions' digests; their texts come from the operator.
  const prompts = new Map();
  let loaded = null;
  async function load() {
    const key = session.revisions.map((one) => one.revision).join();
    if (key === loaded) return;
    loaded = key;
    try {
      const { items } = await call(`api/sessions/${session.id}/versions`);
      for (const one of items) prompts.set(one.version, one.prompt);
      drawVersions();
    } catch { /* no right to the source, or no operator: the numbers stay */ }
  }

  function drawVersions() {
    listed.hidden = !session.revisions.length;
    const worked = new Set(session.revisions.filter((one) => !one.failed).map((one) => one.revision));
    versions.replaceChildren(...[...worked].sort((a, b) => b - a).map((n) => {
      const prompt = prompts.get(n);
      return h('li', h('span.num.soft', `v${n}`), h('p.small', { dir: 'auto' }, prompt || ''),
        n === session.revision ? h('span.tag.live', t('versionRuns'))
          : prompt && button(t('goBack'), () => { area.value = prompt; send(prompt); }, '.small', { 'aria-label': `${t('goBack')} v${n}, ${t('free')}` }));
    }));
  }

  let drawn = null;
  function draw() {
    // Not at every change: a button must not be taken from under a pointer.
    const key = JSON.stringify([session.revision, session.revisions]);
    if (key !== drawn) { drawn = key; drawVersions(); load(); }
    const news = changeOf(session);
    told.className = news?.how === 'failed' ? 'err' : 'hint';
    const words = news ? changeWords(session, news) : '';
    // What was said when the change was sent stays until the operator has taken it up.
    if (news || told.textContent === shown) setText(told, words);
    shown = words;
  }
  draw();
  return {
    element: h('div.two', h('div.field.stack', h('label', { for: 'change-text' }, t('changeTitle')), area,
      h('p.hint', { id: 'change-hint' }, `${t('changeHint')} ${usualChange(session)}`.trim()), told,
      h('div', button(t('changeGo'), () => send(area.value.trim()), '.pri', { id: 'change-go' }))),
    listed),
    update(next) { session = next; draw(); },
  };
}

const LINES_KEPT = 2000;

function logsPart(first) {
  let session = first;
  const box = h('div.log', { role: 'log', 'aria-live': 'off', tabindex: 0, 'aria-label': t('tabLogs') });
  const follow = button(t('follow'), () => setFollow(follow.getAttribute('aria-pressed') !== 'true'), '', { 'aria-pressed': 'true', id: 'follow' });
  const fresh = button('', () => setFollow(true), '.fresh', { hidden: true });
  const empty = h('p.soft.empty-log');
  const kept = [];
  let filter = '';
  let unseen = 0;
  let stopped = null;

  box.append(empty);
  const matches = (text) => !filter || text.toLowerCase().includes(filter);
  const follows = () => follow.getAttribute('aria-pressed') === 'true';

  function setFollow(yes) {
    follow.setAttribute('aria-pressed', String(yes));
    if (!yes) return;
    unseen = 0;
    fresh.hidden = true;
    box.scrollTop = box.scrollHeight;
  }

  function row(text) {
    const [, time, rest] = /^(\d{4}-\d\d-\d\dT[\d:.]+Z)\s(.*)$/.exec(text) || [null, null, text];
    return h(/\b(error|exception|traceback)\b/i.test(rest) ? 'div.e' : 'div',
      time ? h('span.t', clockSeconds(Date.parse(time))) : null, rest);
  }

  function add(text) {
    empty.remove();
    kept.push(text);
    if (kept.length > LINES_KEPT) kept.shift();
    if (!matches(text)) return;
    box.append(row(text));
    while (box.childElementCount > LINES_KEPT) box.firstChild.remove();
    if (follows()) {
      box.scrollTop = box.scrollHeight;
    } else {
      unseen += 1;
      setText(fresh, t('newLines', { n: unseen }));
      fresh.hidden = false;
    }
  }

  // Scrolling up stops following; the end starts it again.
  box.addEventListener('scroll', () => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
    if (kept.length && atEnd !== follows()) setFollow(atEnd);
  });

  read();
  async function read() {
    let tries = 0;
    while (!stopped?.signal.aborted) {
      stopped = new AbortController();
      try {
        for await (const text of lines(`api/sessions/${session.id}/logs?follow=true`, stopped.signal, begin)) {
          tries = 0;
          add(text);
        }
        // A console whose operator goes away ends the stream, too.
        if (['destroying', 'destroyed'].includes(session.state)) return;
      } catch (error) {
        if (stopped.signal.aborted) return;
        setText(empty, t('noLogs', { e: error.message }));
      }
      tries += 1;
      await new Promise((done) => { setTimeout(done, Math.min(30_000, 1000 * 2 ** tries)); });
    }
  }

  // After a cut the log is told from its start again.
  function begin() {
    kept.length = 0;
    unseen = 0;
    setText(empty, t('nothingLogged'));
    box.replaceChildren(empty);
  }

  const search = h('input', {
    type: 'search', 'aria-label': t('filterLines'), placeholder: t('filterLines'),
    oninput: () => {
      filter = search.value.toLowerCase();
      box.replaceChildren(...kept.filter(matches).map(row));
    },
  });
  return {
    element: h('div.stack', h('div.row.between', h('div.grow', search), h('div.row', follow,
      button(t('download'), () => save(new Blob([kept.join('\n'), '\n'], { type: 'text/plain' }), `${session.name}.log`)))),
    box, fresh, command(`kubectl spawn logs -f ${session.name}`)),
    update(next) { session = next; },
    close() { stopped?.abort(); },
  };
}

function sourcePart(session) {
  const files = h('ul.files');
  const told = h('p.err', { hidden: true });
  load();
  async function load() {
    try {
      const source = await call(`api/sessions/${session.id}/files`);
      files.replaceChildren(...source.files.map((file) => h('li', h('span', { dir: 'auto' }, file.path),
        h('span.soft.num.nb', `${number(file.bytes / 1000, 1)}\u00a0${t('kilobytes')}`))));
    } catch (error) {
      told.hidden = false;
      setText(told, t('noSource', { e: error.message }));
    }
  }
  async function fetchZip() {
    try {
      save(await blob(`api/sessions/${session.id}/source`), `${session.name}.zip`);
    } catch (error) {
      told.hidden = false;
      setText(told, t('noSource', { e: error.message }));
    }
  }
  return {
    element: h('div.two', h('div.stack', files, told), h('div.stack', h('p', t('eject')),
      h('div', button([icon('down'), t('downloadZip')], fetchZip, '', { id: 'zip' })), h('p.small.soft', t('sameInShell')),
      command(`kubectl spawn eject ${session.name} --to ./${session.name}`))),
  };
}

function detailsPart(first) {
  const element = h('div.two');
  function draw(session) {
    element.replaceChildren(
      pairs([
        [t('kind'), t(session.appType)],
        [t('machine'), session.size || '–'],
        [t('region'), session.region ? `${session.region}, ${place(session.region)}` : '–'],
        ['IP', session.dropletIp || '–'],
        [t('model'), session.model || '–'],
        [t('tokens'), t('tokensInOut', { i: number(session.inputTokens), o: number(session.outputTokens) })],
        [t('class'), session.className || '–'],
        [t('forWhom'), session.userId || session.namespace],
      ]),
      h('div.stack', h('p.small.soft', t('sameInShell')), command(`kubectl spawn status ${session.name}`),
        command(`kubectl -n ${session.namespace} get ss ${session.name} -o yaml`)),
    );
  }
  draw(first);
  // Not drawn again under a reader who may have selected something.
  return { element, update: (next) => { if (!element.contains(document.activeElement)) draw(next); } };
}
