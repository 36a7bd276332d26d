// One app, in whatever state it is: being built, running, failed, ending, or a receipt.
import { $, button, command, dialog, h, icon, pairs, save, say, setText, toast, copy } from './dom.js';
import { fraction, line, steps, tag } from './line.js';
import { costOf, costOfFailure, partsOf } from './money.js';
import { fill, place } from './order.js';
import { Refusal, blob, call, lines, serverNow } from './server.js';
import {
  BUILDING, ENDED, ENDING, FAILED, LIVING, SENT, WAITING, change, changeOf, condition, end, extend, isTrue, latestEnd,
  offerOf, own, removeFromList, stateOf,
} from './sessions.js';
import { shelf } from './shelf.js';
import { changeWords, tabs } from './tabs.js';
import { told } from './told.js';
import {
  HOUR, MINUTE, clockSeconds, clockTime, day, duration, durationParts, has, money, number, percent, place as placeName,
  t, zone,
} from './words.js';

const LONG_PROMPT = 150;

export function view(session, tools) {
  const state = stateOf(session);
  const made = {
    [SENT]: building, [BUILDING]: building, [WAITING]: waiting, [FAILED]: failed, [ENDING]: ending, [ENDED]: ended,
  }[state] || running;
  const part = made(session, tools);
  const shelves = h('div', shelf(session.name));
  const element = h('div', shelves, part.element);
  return {
    element,
    kind: made.name,
    update(next) { part.update?.(next); },
    tick() { part.tick?.(); },
    close() { part.close?.(); },
    drawShelf() { shelves.replaceChildren(...[shelf(session.name)].filter(Boolean)); },
  };
}

// The kind of view that a session needs; another kind means another view.
export const kindOf = (session) => ({
  [SENT]: 'building', [BUILDING]: 'building', [WAITING]: 'waiting', [FAILED]: 'failed', [ENDING]: 'ending', [ENDED]: 'ended',
}[stateOf(session)] || 'running');

function head(session) {
  const prompt = h('p.prompt.cut', { dir: 'auto' }, session.prompt);
  const badge = h('span');
  badge.append(tag(session));
  const element = h('div.head', h('div.row', h('h1', session.name), badge), h('div', prompt,
    session.prompt.length > LONG_PROMPT && button(t('readAll'), (event) => {
      prompt.classList.remove('cut');
      event.target.remove();
    }, '.quiet.small')));
  return {
    element,
    update(next) {
      setText(prompt, next.prompt);
      badge.replaceChildren(tag(next));
    },
  };
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    const text = t('notDone', { e: error.message });
    toast(text);
    say(text, { loudly: true });
  }
}

// ---- Being built ----------------------------------------------------------------------------

const minutesLimit = (session) => Math.round((offerOf(session)?.provisioningDeadlineSeconds || 600) / 60);
const usualSeconds = (session) => offerOf(session)?.appTypes.find((one) => one.appType === session.appType);

function building(first, { go }) {
  let session = first;
  const top = head(session);
  const lives = h('div.lives');
  const bar = h('progress.vh', { max: 100, 'aria-label': session.name });
  const files = h('ul.paper', { 'aria-label': t('stepCode') });
  const elapsed = h('div');
  const costs = h('p.soft.small.num');
  const list = h('ol.steps');
  const url = h('span.url.soft');
  let written = null;
  let lastStep = -1;
  const following = new AbortController();

  const now = () => nowText(session, written);

  function draw() {
    const found = steps(session);
    const step = Math.max(0, found.findIndex(({ kind }) => kind === 'now'));
    lives.replaceChildren(line(session), h('div.ends.num', h('span', t('ordered')), h('span', percent(session.progress))));
    bar.value = session.progress;
    bar.setAttribute('aria-valuetext', `${percent(session.progress)}: ${now()[step]}`);
    setText(url, session.appUrl || session.name);
    const parts = partsOf(session);
    setText(costs, parts ? t('aboutInAll', { c: money(parts.total), s: money(parts.server, 3), m: money(parts.claude, 3) }) : '');
    const usual = usualSeconds(session);
    list.replaceChildren(...found.map(({ kind, seconds }, i) => h(`li.${kind}`, kind === 'now' ? { 'aria-current': 'step' } : {},
      h('span.dot', { 'aria-hidden': 'true' }, kind === 'done' ? icon('ok') : null),
      h('b', t(STEP_NAMES[i])),
      h('span.small.soft.num.nb', seconds !== null ? `${seconds}\u00a0s` : usualOf(usual, i)),
      kind === 'todo' ? null : h('p.what', { dir: 'auto' }, kind === 'done' ? doneText(session, written)[i] : now()[i]))));
    files.replaceChildren(...fileRows(written, isTrue(session, 'Generated')));
    document.title = `${percent(session.progress)} · ${session.name}`;
    if (step !== lastStep && lastStep >= 0) say(t('sayStep', { p: percent(session.progress), w: now()[step] }));
    lastStep = step;
    tick();
  }

  function tick() {
    const seconds = Math.max(0, Math.floor((serverNow() - Date.parse(session.createdAt)) / 1000));
    const usual = usualSeconds(session)?.readySeconds;
    const late = usual && seconds > usual[1] * 1.2;
    let about = '';
    if (late) about = t('longer', { n: minutesLimit(session) });
    else if (usual) about = t('ofAbout', { n: Math.round((usual[0] + usual[1]) / 2) });
    elapsed.replaceChildren(h('p.big', number(seconds), h('small', 's')), h('p.soft.small', about));
  }

  follow();
  async function follow() {
    // The files as they are written come from the operator; without it the percentage has to do.
    try {
      for await (const text of lines(`api/sessions/${session.id}/generation`, following.signal)) {
        if (text) { written = JSON.parse(text); draw(); }
      }
    } catch { /* not there, not allowed, or cut: the status goes on telling */ }
  }

  draw();
  return {
    element: h('div.making', top.element, lives, bar, h('div.duo',
      h('figure.frame', h('div.bar', url), files),
      h('div.side', elapsed, costs, list, h('p.small.soft', t('goesOn')),
        h('div', button(t('cancelOrder'), () => endDialog(session), '', { id: 'cancel-order' }))))),
    update(next) { session = next; top.update(next); draw(); },
    tick,
    close() { following.abort(); },
    go,
  };
}

const STEP_NAMES = ['stepServer', 'stepCode', 'stepStart', 'stepCheck'];

const usualOf = (usual, step) => {
  const range = usual?.stepSeconds?.[step];
  return range ? `${range[0]}–${range[1]}\u00a0s` : '';
};

function nowText(session, written) {
  const code = () => {
    const done = percent(Math.max(1, Math.min(99, 100 * (written?.fraction ?? fraction(session, 1)))));
    const file = written?.files?.at(-1);
    if (file) return t('nowCodeFile', { f: file.path, p: done });
    return written ? t('nowCodeAbout', { p: done }) : t('nowCode');
  };
  const server = session.region ? t('nowServerIn', { r: placeName(session.region) }) : t('nowServer');
  // What is unusual is in the operator's own words, such as a region without room.
  const unusual = condition(session, 'DropletReady');
  const held = unusual && unusual.status !== 'True' && !['Creating', 'Booting'].includes(unusual.reason);
  // A repair may be of what was written, or of what did not start or did not pass the check.
  const repair = written?.repairs && written.fraction < 1
    ? t('nowRepair', { n: written.repairs, e: written.problem }) : null;
  return [held ? told(unusual.message) || server : server, repair || code(), repair || t('nowStart'),
    repair || t(session.appUrl?.startsWith('https:') ? 'nowCheck' : 'nowCheckPlain')];
}

function doneText(session, written) {
  const files = written?.files?.length;
  return [
    session.region ? t('doneServer', { r: `${placeName(session.region)} (${session.region})` }) : t('doneServerHere'),
    files ? t('doneCodeFiles', { n: files }) : t('doneCode'), t('doneStart'), t('doneCheck'),
  ];
}

function fileRows(written, done) {
  if (!written?.files?.length) return [h('li', h('span.soft', t('writesHere')))];
  return written.files.map((file, i) => {
    const open = !done && i === written.files.length - 1;
    return h(open ? 'li.now' : 'li', h('span', { dir: 'auto' }, file.path), h('span.soft', open ? '…' : '✓'));
  });
}

// ---- Waiting --------------------------------------------------------------------------------

function waiting(first) {
  let session = first;
  const top = head(session);
  const lives = h('div.lives');
  const headline = h('p.big.say');
  const why = h('p', { dir: 'auto' });
  const next = h('div.stack');
  function draw() {
    lives.replaceChildren(line(session));
    const admitted = condition(session, 'Admitted');
    setText(headline, t(admitted?.reason === 'WaitingForBudget' ? 'waitsForMoney' : 'inLine'));
    setText(why, told(admitted?.message || session.message));
    next.replaceChildren(h('h2', t('endsNext')), ...own().filter((one) => LIVING.has(stateOf(one))).slice(0, 3)
      .map((one) => h('div.row.between', h('a', { href: `#/s/${one.name}` }, one.name),
        h('span.num', duration(Date.parse(one.expiresAt) - serverNow())))));
    document.title = `${t('stateWaiting')} · ${session.name}`;
  }
  draw();
  return {
    element: h('div', top.element, lives, h('div.duo',
      h('div.stack', headline, why, h('p', t('startsByItself'))),
      h('div.side.one', next, h('div', button(t('cancelOrder'), () => endDialog(session)))))),
    update(after) { session = after; top.update(after); draw(); },
    tick: draw,
  };
}

// ---- Running --------------------------------------------------------------------------------

function running(first, tools) {
  let session = first;
  const top = head(session);
  const lives = h('div.lives');
  const remaining = h('p.big', { role: 'timer', 'aria-label': t('timeLeft') });
  const ends = h('p.soft.small');
  const costs = h('div.stack');
  const url = h('span.url', { dir: 'auto' });
  const open = h('a.btn.pri', { target: '_blank', rel: 'noopener noreferrer', id: 'open-app' }, t('openApp'), icon('open'));
  const words = h('p.soft');
  const figure = h('div.shot', words);
  const note = h('figcaption', { hidden: true });
  const plus = button('', () => extendBy(HOUR), '.num', { id: 'plus-hour' });
  const trouble = h('p.trouble', { hidden: true });
  const changing = h('p.note', { hidden: true, dir: 'auto' });
  const feedback = askFeedback(() => session);
  const panel = tabs(session, tools);
  let pictured = null;
  let priced = null;
  let paid = 0;

  const until = () => Date.parse(session.expiresAt);

  async function extendBy(ms) {
    const before = until();
    const wanted = Math.min(before + ms, latestEnd(session));
    const capped = wanted < before + ms ? t('capped', { d: duration(offerOf(session).maxTtlSeconds * 1000) }) : '';
    if (wanted < before + MINUTE) { toast(capped); return; }
    await attempt(async () => {
      await extend(session, wanted);
      toast(`${t('nowEnds', { t: clockTime(wanted, serverNow()) })} ${capped}`.trim(), () => attempt(() => extend(session, before)));
    });
  }

  function draw() {
    const now = serverNow();
    const readyAt = Date.parse(session.readyAt);
    lives.replaceChildren(line(session), h('div.ends.num',
      h('span', `${t('ready')} ${clockTime(readyAt, now)}`), h('span', `${t('ends')} ${clockTime(until(), now)}`)));
    setText(url, session.appUrl || '');
    if (session.appUrl && /^https?:/.test(session.appUrl)) open.href = session.appUrl;
    else open.removeAttribute('href');
    setText(ends, t('endsAt', { t: clockTime(until(), now), z: zone() }));
    ends.title = session.expiresAt;
    setText(plus, t('plusHour', { t: clockTime(Math.min(until() + HOUR, Math.max(until(), latestEnd(session))), now) }));
    note.hidden = !session.note;
    if (session.note) note.replaceChildren(h('b', t('claudeNotes')), ' ', h('span', { dir: 'auto' }, session.note));
    const wrong = troubleOf(session);
    trouble.hidden = !wrong;
    setText(trouble, wrong || '');
    const news = changeOf(session);
    changing.hidden = !news;
    changing.className = `note${news?.how === 'failed' ? ' bad' : news?.how === 'waits' ? ' soon' : ''}`;
    setText(changing, news ? changeWords(session, news, news.how === 'failed' ? paid : 0) : '');
    if (news?.how === 'failed') priceFailure();
    setText(words, session.appType === 'script' ? scriptWords() : t('noPicture'));
    feedback.draw();
    drawPicture();
    tick();
  }

  function scriptWords() {
    const stays = { t: clockTime(until(), serverNow()) };
    return session.ranSeconds === null ? t('scriptEnded', stays) : t('scriptRan', { n: number(session.ranSeconds), ...stays });
  }

  function tick() {
    const left = until() - serverNow();
    remaining.replaceChildren(...durationParts(left).map(([n, unit]) => [String(n), h('small', unit)]).flat());
    const cost = costOf(session);
    const rows = cost && [
      [t('server'), money(cost.server, 4)],
      [t('claudeWriting'), money(cost.claude, 4)],
      cost.share ? [t('overhead', { p: percent(cost.share * 100) }), money(cost.overhead, 4)] : null,
      [t('costSoFar'), money(cost.total, 4), 'sum'],
      cost.expected === null ? null : [t('expected'), money(cost.expected)],
      cost.price === null ? null : [t('price'), money(cost.price)],
    ];
    costs.replaceChildren(h('h2', t('costSoFar')), rows ? pairs(rows) : '');
    document.title = `${duration(left)} · ${session.name}`;
  }

  // The status does not tell what one change has cost: the ledger does.
  async function priceFailure() {
    const failure = session.revisions.at(-1)?.at;
    if (priced === failure) return;
    priced = failure;
    paid = 0;
    try {
      paid = costOfFailure(session, await call(`api/sessions/${session.id}/receipt`));
      if (paid) draw();
    } catch { /* no operator: it is told without its cost */ }
  }

  async function drawPicture() {
    const wanted = `${session.uid}-${session.revision}`;
    if (pictured === wanted) return;
    pictured = wanted;
    try {
      const image = URL.createObjectURL(await blob(`api/sessions/${session.id}/screenshot`));
      figure.replaceChildren(h('img', { src: image, alt: t('picture'), width: 800, height: 450 }));
    } catch { /* there is none (yet), and the words stand there */ }
  }

  draw();
  return {
    element: h('div', top.element, trouble, changing, lives, h('div.duo',
      h('figure.frame', h('div.bar', url,
        button([icon('copy'), h('span.wide', t('copy'))], () => copy(session.appUrl), '.quiet', { 'aria-label': `${t('copy')} ${session.appUrl}` }), open),
      figure, note),
      h('div.side', h('div.stack', h('h2.vh', t('timeLeft')), remaining, ends,
        h('div.acts', plus, button(t('extend'), () => extendDialog(session, extendBy), '', { id: 'extend' })),
        h('div', button(t('endNow'), () => endDialog(session), '.quiet.danger', { id: 'end-now' }))),
      h('div.stack', costs, feedback.element))),
    panel.element),
    update(next) { session = next; top.update(next); panel.update(next); draw(); },
    tick,
    close() { panel.close(); },
    extend: () => extendDialog(session, extendBy),
    extendBy,
  };
}

// Why an app that has run is not reached though it may be well; for these there is a sentence.
const NOT_ITS_FAULT = new Set(['AgentUnreachable', 'OperatorBlind', 'NetworkPath', 'PoweredOff', 'Replacing']);
const REPAIRS = '; Claude repairs the app';

function troubleOf(session) {
  const ready = condition(session, 'Ready');
  if (ready && ready.status !== 'True') {
    const since = t('notAnswering', { t: clockTime(Date.parse(ready.lastTransitionTime), serverNow()) });
    if (NOT_ITS_FAULT.has(ready.reason)) return `${since} ${t(ready.reason)}`;
    const repair = ready.message.includes(REPAIRS) ? ` ${t('repairing')}` : '';
    return `${since}${repair}\n${ready.message.replace(REPAIRS, '')}`;
  }
  const degraded = condition(session, 'Degraded');
  return degraded?.status === 'True' ? t('inPart', { f: degraded.message.replace(/^the page does not work: /, '') }) : null;
}

function askFeedback(current) {
  const element = h('div.feedback', { role: 'group', 'aria-labelledby': 'feedback-title' });
  const answer = (value) => attempt(async () => {
    await change(current(), { feedback: current().feedback === value ? null : value });
    say(t('thanks'));
  });
  const yes = button(t('yes'), () => answer('yes'), '', { id: 'feedback-yes' });
  const no = button(t('no'), () => answer('no'), '', { id: 'feedback-no' });
  element.append(h('h2', { id: 'feedback-title' }, t('asExpected')), h('div.row', yes, no));
  return {
    element,
    draw() {
      yes.setAttribute('aria-pressed', String(current().feedback === 'yes'));
      no.setAttribute('aria-pressed', String(current().feedback === 'no'));
    },
  };
}

// ---- Failed ---------------------------------------------------------------------------------

const LARGER = { light: 'standard', standard: 'complex' };
const ADVICE = {
  ScriptFailed: 'doCrashed', AppCrashed: 'doCrashed', AppNeverAnswered: 'doAgain', GenerationRefused: 'doRefused',
};

function failed(first, { go }) {
  let session = first;
  const top = head(session);
  const lives = h('div.lives');
  const body = h('div.side.one');
  const aside = h('div.side.one');
  function draw() {
    const over = session.state === 'destroyed';
    const stalled = condition(session, 'Stalled');
    const reason = session.terminationReason || stalled?.reason;
    const [title, ...rest] = (stalled?.message || session.message || '').split('\n');
    const known = has(reason || '') ? t(reason) : t(over ? 'failedOther' : 'failedWaits');
    const larger = reason === 'OutOfMemory' && over ? LARGER[session.tier] : null;
    const advice = larger ? t('doOutOfMemory', { m: t(larger).toLowerCase() }) : t(over ? ADVICE[reason] || 'doAgain' : 'doAsk');
    const repaired = session.repairs ? t('repairedInVain', { n: t(session.repairs === 1 ? 'once' : 'twice') }) : '';
    lives.replaceChildren(line(session));
    body.replaceChildren(
      h('div.stack', h('h2.big.say', known), over ? h('p', `${repaired} ${t(session.readyAt ? 'allDestroyed' : 'payNothing')}`.trim()) : null),
      h('div.stack', h('h2', t('firstError')), h('pre.log', { tabindex: 0, dir: 'auto' }, [title, ...rest].join('\n'))),
      h('div.stack', h('h2', t('whatToDo')), h('p', advice),
        h('div.row', button(t('editAgain'), () => { fill({ ...session, tier: larger || session.tier }); go('/new'); }, '.pri'),
          button(t('sameAgain'), () => place({ prompt: session.prompt, appType: session.appType, tier: session.tier, ttl: session.ttl, env: session.env }, go)),
          over ? null : button(t('cancelOrder'), () => endDialog(session)))),
      command(`kubectl spawn logs ${session.name}`));
    const cost = costOf(session);
    aside.replaceChildren(stepList(session), cost ? pairs([[t('cost'), money(cost.total, 4)], [t('price'), money(cost.price ?? 0), 'sum']]) : '');
    document.title = `${t('stateFailed')} · ${session.name}`;
  }
  draw();
  return {
    element: h('div', top.element, lives, h('div.duo', body, aside)),
    update(next) { session = next; top.update(next); draw(); },
  };
}

const stepList = (session) => h('ol.steps', steps(session).map(({ kind, seconds }, i) => h(`li.${kind}`,
  h('span.dot', { 'aria-hidden': 'true' }, kind === 'done' ? icon('ok') : kind === 'fail' ? icon('no') : null),
  h('b', t(STEP_NAMES[i])), h('span.small.soft.num', seconds === null ? '' : `${seconds}\u00a0s`))));

// ---- Ending and ended -----------------------------------------------------------------------

function ending(first) {
  let session = first;
  let serverGone = false;
  const top = head(session);
  const lives = h('div.lives');
  const elapsed = h('p.big');
  const list = h('ol.steps');
  const started = session.endingSince || Math.min(serverNow(), Date.parse(session.expiresAt) || serverNow());
  const left = h('p', { dir: 'auto' });
  const closed = new AbortController();
  const took = [null, null, null]; // seconds, of what was seen to happen here
  let known = [];

  const seconds = () => Math.max(0, serverNow() - started) / 1000;
  const doneNow = () => {
    const isOver = session.state === 'destroyed';
    return [session.appUrl === null, serverGone || isOver, isOver];
  };

  function draw() {
    lives.replaceChildren(line(session));
    const done = doneNow();
    done.forEach((isDone, i) => { if (isDone && known[i] === false) took[i] = seconds(); });
    known = done;
    const next = done.indexOf(false);
    list.replaceChildren(...['addressOff', 'serverDestroyed', 'seenGone'].map((key, i) => h(
      `li.${done[i] ? 'done' : i === next ? 'now' : 'todo'}`,
      h('span.dot', { 'aria-hidden': 'true' }, done[i] ? icon('ok') : null), h('b', t(key)),
      h('span.small.soft.num', took[i] === null ? '' : `${number(took[i], 1)}\u00a0s`))));
    const cleanup = condition(session, 'CleanupComplete');
    setText(left, cleanup?.status === 'False' && serverNow() - started > 10_000 ? cleanup.message : '');
    document.title = `${t('stateEnding')} · ${session.name}`;
    tick();
  }
  function tick() {
    elapsed.replaceChildren(number(seconds(), seconds() < 60 ? 1 : 0), h('small', 's'));
  }

  // A status does not tell when the server was given back: the ledger does.
  look();
  async function look() {
    while (!serverGone && !closed.signal.aborted) {
      try {
        const receipt = await call(`api/sessions/${session.id}/receipt`, { signal: closed.signal });
        const servers = receipt.resources.filter((row) => row.kind === 'Droplet');
        serverGone = servers.length > 0 && servers.every((row) => row.deletionAcceptedAt || row.goneAt);
        if (serverGone) draw();
      } catch { /* no operator: the last moment tells of both */ }
      await new Promise((done) => { setTimeout(done, 1000); });
    }
  }

  draw();
  return {
    element: h('div', top.element, lives, h('div.duo',
      h('div.side.one', h('div', elapsed, h('p.soft.small', t('usuallyUnder'))), list, left), h('div'))),
    update(next) { session = next; top.update(next); draw(); },
    tick,
    close() { closed.abort(); },
    fast: true,
  };
}

function ended(first, { go }) {
  let session = first;
  const top = head(session);
  const lives = h('div.lives');
  const slip = h('section.slip', { 'aria-label': t('receipt') });
  const feedback = askFeedback(() => session);
  let receipt = null;

  function draw() {
    const now = serverNow();
    const readyAt = Date.parse(session.readyAt);
    const over = Date.parse(session.destroyedAt) || Date.parse(session.expiresAt);
    lives.replaceChildren(line(session), Number.isNaN(readyAt) ? '' : h('div.ends.num',
      h('span', `${t('ready')} ${clockTime(readyAt, now)}`), h('span', `${t('stateEnded')} ${clockTime(over, now)}`)));
    slip.replaceChildren(...receiptSlip(session, receipt));
    feedback.draw();
    document.title = `${t('stateEnded')} · ${session.name}`;
  }

  load();
  async function load() {
    try {
      receipt = await call(`api/sessions/${session.id}/receipt`);
      draw();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  draw();
  return {
    element: h('div', top.element, lives, h('div.duo', slip, h('div.side.one.noprint',
      h('div.stack', button(t('editAgain'), () => { fill(session); go('/new'); }, '.pri'),
        button(t('print'), () => print()),
        button(t('downloadJson'), () => save(new Blob([JSON.stringify({ session, receipt }, null, 2)], { type: 'application/json' }), `${session.name}.json`)),
        button([icon('down'), t('downloadZip')], () => attempt(async () => save(await blob(`api/sessions/${session.id}/source`), `${session.name}.zip`))),
        button(t('removeFromList'), () => attempt(async () => {
          await removeFromList(session);
          toast(t('removed', { n: session.name }));
          go('/apps');
        }), '.quiet')),
      session.readyAt ? feedback.element : null))),
    update(next) { session = next; top.update(next); draw(); },
  };
}

function keptUntil(session) {
  const kept = offerOf(session)?.keptSeconds;
  const over = Date.parse(session.destroyedAt);
  return kept === null || kept === undefined || Number.isNaN(over) ? t('sourceStays') : t('sourceKept', { d: day(over + kept * 1000) });
}

function receiptSlip(session, receipt) {
  const cost = costOf(session);
  const onRequest = session.expiresAtAsked === 'now' || session.ttl === '0s';
  const reason = { Expired: onRequest ? 'youEnded' : 'timeOver', Deleted: 'youEnded' }[session.terminationReason];
  const rows = receipt?.resources || [];
  const left = rows.filter((row) => row.presence !== 'Gone');
  const at = (moment) => (moment ? clockSeconds(Date.parse(moment)) : '–');
  const server = rows.filter((row) => row.cost).reduce((sum, row) => sum + Number(row.cost), 0);
  const claude = (receipt?.generations || []).reduce((sum, row) => sum + Number(row.cost), 0);
  return [
    h('div.row.between', h('h2', t('receipt')), h('span', reason ? t(reason) : session.terminationReason || '')),
    h('hr'),
    rows.length ? h('table', h('thead', h('tr', ['resource', 'made', 'deleted', 'gone'].map((key, i) => h(`th${i === 2 ? '.wide' : ''}`, { scope: 'col' }, t(key))))),
      h('tbody', rows.map((row) => h('tr', h('td', has(row.kind) ? t(row.kind) : row.kind), h('td', at(row.createdAt)), h('td.wide', at(row.deletionAcceptedAt)), h('td', at(row.goneAt)))))) : null,
    rows.length ? h('hr') : null,
    isTrue(session, 'CleanupComplete') && !left.length
      ? h('p.gone', icon('ok'), t('nothingLeft'))
      : h('p', t('somethingLeft', { w: left.map((row) => row.name).join(', ') || condition(session, 'CleanupComplete')?.message || '' })),
    h('p.small.soft', keptUntil(session)),
    h('hr'),
    pairs([
      receipt ? [t('server'), money(server, 4)] : null,
      receipt ? [`Claude ${t('tokensInOut', { i: number(session.inputTokens), o: number(session.outputTokens) })}`, money(claude, 4)] : null,
      [t('cost'), session.actualCost === null ? '–' : money(Number(session.actualCost), 4), 'sum'],
      session.estimatedCost === null ? null : [t('estimateWas', { c: money(Number(session.estimatedCost), 4) }), ''],
    ]),
    ...(cost?.price === undefined || cost?.price === null ? [] : [h('hr'), pairs([[t('price'), money(cost.price), 'tot']])]),
  ];
}

// ---- Dialogs --------------------------------------------------------------------------------

export function endDialog(session) {
  dialog(t('endTitle', { n: session.name }), (close) => [h('p', t('endMore')), h('div.row.end',
    button(t('keep'), close, '', { autofocus: true }),
    button(t('endGo'), () => { close(); attempt(() => end(session)); }, '.pri.danger', { id: 'end-app' }))]);
}

const CHOICES = [1, 4, 8, 24];

function extendDialog(session, extendBy) {
  let hours = 4;
  const result = h('div');
  const cap = offerOf(session)?.maxTtlSeconds;
  const until = Date.parse(session.expiresAt);
  const step = () => Math.max(0, Math.min(hours * HOUR, latestEnd(session) - until));
  function draw() {
    const hourly = Number(session.costHourly) || 0;
    result.replaceChildren(pairs([
      [t('newEnd'), clockTime(until + step(), serverNow())],
      ['', t('addsAbout', { c: money(hourly * step() / HOUR) })],
    ]), step() < hours * HOUR ? h('p.hint', t('capped', { d: duration(cap * 1000) })) : '');
  }
  draw();
  dialog(t('extendTitle', { n: session.name }), (close) => [
    h('div.chips', { role: 'radiogroup', 'aria-label': t('extend') }, CHOICES.map((n) => h('label',
      h('input', { type: 'radio', name: 'extend', checked: n === hours, onchange: () => { hours = n; draw(); } }), h('span', `+${n} h`)))),
    result,
    cap ? h('p.hint', t('atMost', { d: duration(cap * 1000) })) : null,
    h('div.row.end', button(t('cancel'), close),
      button(t('extendGo'), () => { close(); if (step() > MINUTE) extendBy(step()); }, '.pri', { id: 'extend-go' }))]);
}

export const pressEnd = () => $('#end-now')?.click();
