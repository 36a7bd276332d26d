// The form for a new app, with its estimate beside it.
import { $, h, pairs, say } from './dom.js';
import { estimate } from './money.js';
import { serverNow } from './server.js';
import { order, send, world } from './sessions.js';
import { shelf } from './shelf.js';
import { told } from './told.js';
import { HOUR, clockTime, duration, has, money, number, percent, t } from './words.js';

const LONGEST = 2000;
const TYPES = ['webapp', 'fullstack', 'api', 'script'];
const TIERS = ['light', 'standard', 'complex'];
const DEFAULT_HOURS = { light: 2, standard: 24, complex: 72 };
const CHOICES = [1, 2, 8, 24, 72];

export const draft = { prompt: '', appType: 'webapp', tier: 'light', hours: null, error: null, keys: '' };

const tierOf = (name) => world.offer?.tiers.find((one) => one.tier === name);
const defaultHours = (tier) => tierOf(tier)?.ttlSeconds / 3600 || DEFAULT_HOURS[tier];
const longestHours = () => (world.offer?.maxTtlSeconds || 72 * 3600) / 3600;

export function fill(session) {
  Object.assign(draft, { prompt: session.prompt, appType: session.appType, tier: session.tier || 'light', hours: null, error: null, keys: keysOf(session.env) });
}

// Hours until 18:00 of the reader's day; null where that is over or nearly so.
function untilEvening() {
  const hours = (new Date(serverNow()).setHours(18, 0, 0, 0) - serverNow()) / HOUR;
  return hours > 0.5 ? hours : null;
}

// `NAME=secret/key`, one a line, as the API takes it; null where a line is something else.
function variables(text) {
  const found = text.split('\n').map((line) => line.trim()).filter(Boolean)
    .map((line) => /^([A-Z][A-Z0-9_]*)\s*=\s*([a-z0-9.-]+)\/([\w.-]+)$/.exec(line));
  return found.every(Boolean) ? found.map(([, name, secret, key]) => ({ name, secretRef: { name: secret, key } })) : null;
}

const keysOf = (env) => (env || []).map(({ name, secretRef }) => `${name}=${secretRef.name}/${secretRef.key}`).join('\n');

const asTtl = (hours) => `${Math.max(1, Math.round(hours * 60))}m`;

export function view({ go, render }) {
  draft.hours ??= defaultHours(draft.tier);
  const slip = h('aside.sticky');
  const sum = h('p.narrow.num');
  const count = h('p.hint.num', { id: 'prompt-count' });
  const area = h('textarea', {
    id: 'prompt', dir: 'auto', rows: 6, placeholder: t('promptExample'), required: true,
    'aria-describedby': 'prompt-hint prompt-count',
    oninput: () => { draft.prompt = area.value; draft.error = null; paint(); },
    onkeydown: (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); }
    },
  });
  area.value = draft.prompt;

  const evening = untilEvening();
  const hours = [...new Set([...CHOICES, defaultHours(draft.tier)])]
    .filter((choice) => choice <= longestHours()).sort((a, b) => a - b);
  if (evening !== null && evening <= longestHours()) hours.push(evening);
  if (!hours.includes(draft.hours)) draft.hours = hours.includes(defaultHours(draft.tier)) ? defaultHours(draft.tier) : hours[0];

  const keysWrong = h('p.err', { id: 'keys-wrong' });
  const keysArea = h('textarea', {
    id: 'keys', rows: 2, spellcheck: false, placeholder: 'OPENWEATHER_KEY=weather/openweather',
    'aria-describedby': 'keys-hint keys-wrong',
    oninput: () => { draft.keys = keysArea.value; keysWrong.textContent = ''; },
  });
  keysArea.value = draft.keys;
  // A web page is files that everyone may read: it has no keys.
  const keysField = h('details.field', { open: Boolean(draft.keys), hidden: draft.appType === 'webapp' },
    h('summary', t('keys')), h('label.vh', { for: 'keys' }, t('keys')), keysArea,
    h('p.hint', { id: 'keys-hint' }, t('keysHint')), keysWrong);

  const radio = (name, value, checked, onpick, ...content) => h('label',
    h('input', { type: 'radio', name, value, checked, onchange: onpick }), ...content);
  const kinds = h('div.pick', TYPES.filter(offered).map((type) => radio('type', type, draft.appType === type, () => {
    draft.appType = type;
    keysField.hidden = type === 'webapp';
    if (type !== 'webapp' && draft.tier === 'light') pickTier('standard');
    paint();
  }, h('b', t(type)), h('small', t(`${type}More`)))));
  const machines = h('div.pick.three', TIERS.map((tier) => radio('tier', tier, draft.tier === tier, () => pickTier(tier),
    h('b', t(tier)), h('small.num', machine(tier)))));
  const lives = h('div.chips', hours.map((choice) => radio('hours', choice, draft.hours === choice, () => {
    draft.hours = choice;
    paint();
  }, h('span', choice === evening ? t('until', { t: '18:00' }) : duration(choice * HOUR)))));

  function pickTier(tier) {
    draft.tier = tier;
    draft.hours = null;
    const focused = document.activeElement?.name === 'tier' ? 'tier' : 'type';
    render();
    $(`input[name=${focused}]:checked`)?.focus();
  }

  function paint() {
    const left = LONGEST - [...area.value].length;
    const wrong = draft.error || (left < 0 ? t('charactersOver', { n: number(-left) }) : null);
    count.textContent = wrong || (left < 400 ? t('charactersLeft', { n: number(left) }) : '');
    count.className = wrong ? 'err num' : 'hint num';
    area.setAttribute('aria-invalid', String(Boolean(wrong)));
    const ends = clockTime(serverNow() + draft.hours * HOUR, serverNow());
    const expected = estimate(draft.appType, draft.tier, draft.hours * HOUR);
    sum.textContent = expected
      ? `${t('cost')} ${money(expected.total)} · ${t('ends')} ${ends}` : `${t('ends')} ${ends}`;
    slip.replaceChildren(...estimateSlip(expected, ends));
  }

  function submit() {
    const prompt = area.value.trim();
    if (!prompt) {
      draft.error = t('blank');
      paint();
      say(t('blank'), { loudly: true });
      area.focus();
      return;
    }
    if ([...prompt].length > LONGEST) { area.focus(); return; }
    if (world.me && !world.me.may.order) return;
    const env = draft.appType === 'webapp' ? [] : variables(draft.keys);
    if (env === null) {
      keysWrong.textContent = t('keysWrong');
      say(t('keysWrong'), { loudly: true });
      keysArea.focus();
      return;
    }
    place({ prompt, appType: draft.appType, tier: draft.tier, ttl: asTtl(draft.hours), env }, go);
    Object.assign(draft, { prompt: '', error: null, keys: '' });
  }

  const refused = world.me && !world.me.may.order;
  const form = h('form', { novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    h('div.stack', h('h1', t('orderTitle')), h('p.soft', t('orderLead'))),
    h('div.field', h('label.vh', { for: 'prompt' }, t('orderTitle')), area,
      h('p.hint', { id: 'prompt-hint' }, t('promptHint')), count),
    h('fieldset', h('legend', t('kind')), kinds),
    h('fieldset', h('legend', t('machine')), machines),
    h('fieldset', h('legend', t('howLong')), lives, h('p.hint', t('howLongHint'))),
    keysField,
    h('div.row.go', sum,
      h('button.pri', { type: 'submit', 'aria-disabled': refused ? 'true' : null }, t('create'), h('kbd', { 'aria-hidden': 'true' }, 'Ctrl ↵')),
      refused ? h('span.err', t('cannotOrder')) : null));
  paint();
  const shelves = h('div', shelf());
  const root = h('div', shelves, h('div.order', form, slip));
  const drawnFor = world.offer?.className;

  // What is offered arrives after the form: it is drawn again then, with the text as it stands.
  function update() {
    if (world.offer?.className === drawnFor) { paint(); return; }
    const { selectionStart, selectionEnd } = area;
    render();
    $('#prompt')?.setSelectionRange(selectionStart, selectionEnd);
  }
  return {
    element: root,
    update,
    focus: area,
    drawShelf() { shelves.replaceChildren(...[shelf()].filter(Boolean)); },
  };
}

// Which kinds the installed API knows; all until it has said.
const offered = (type) => !world.offer?.appTypes.length || world.offer.appTypes.some((one) => one.appType === type);

function machine(tier) {
  const known = tierOf(tier);
  if (!known) return '';
  return known.hourly ? `${known.sizes[0]} · ${money(Number(known.hourly), 4)}/h` : known.sizes[0];
}

function estimateSlip(expected, ends) {
  const { offer } = world;
  const times = [
    expected?.ready ? [t('ready'), t('usually', { a: expected.ready[0], b: expected.ready[1] })] : null,
    [t('ends'), ends],
    ...(offer?.budgets || []).map((one) => [
      `${t('budget')} ${one.name}`, t('budgetLeft', { c: money(Number(one.left)), d: money(Number(one.limit)) }),
    ]),
  ];
  const costs = expected ? [
    [`${t('server')} ${duration(draft.hours * HOUR)} × ${money(expected.hourly, 5)}`, money(expected.server, 3)],
    [t('claudeWriting'), money(expected.claude, 3)],
    expected.share ? [t('overhead', { p: percent(expected.share * 100) }), money(expected.overhead, 3)] : null,
    [t('cost'), money(expected.total), 'sum'],
  ] : null;
  const price = expected?.price;
  return [
    h('div.slip', { role: 'group', 'aria-label': t('estimate') }, h('h2', t('estimate')), h('hr'),
      costs ? pairs(costs) : h('p', t('noEstimate')), h('hr'),
      price ? [pairs([[t('price'), money(price), 'tot']]), h('hr')] : null,
      pairs(times)),
    h('p.small.soft', whatItWaitsFor(offer)),
  ];
}

// Whether the order would begin at once, as the operator saw it within the last minute.
function whatItWaitsFor(offer) {
  const waits = tierOf(draft.tier)?.waitsFor;
  if (waits?.reason === 'Budget') return t('willWaitForMoney', { m: told(waits.message) });
  if (!offer?.appsLimit) return waits ? t('willWaitFor', { m: told(waits.message) }) : '';
  const counts = { n: offer.appsInUse, m: offer.appsLimit };
  if (offer.appsInUse >= offer.appsLimit) return t('willWait', counts);
  return waits ? t('willWaitFor', { m: told(waits.message) }) : t('inUse', counts);
}

// Show the order at once and send it; a refusal brings the text back to the form.
export async function place(wanted, go) {
  const session = order(wanted);
  go(`/s/${session.name}`);
  try {
    await send(session);
  } catch (error) {
    const field = error.fields?.[0];
    Object.assign(draft, { prompt: wanted.prompt, appType: wanted.appType, tier: wanted.tier, hours: null, keys: keysOf(wanted.env) });
    draft.error = field && has(field.field) ? `${t(field.field)}: ${field.message}` : error.message;
    say(draft.error, { loudly: true });
    go('/new');
    $('#prompt')?.focus();
  }
}
