// Elements, made without markup: text that strangers wrote reaches the page as text nodes only.
import { t } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';

export const $ = (selector) => document.querySelector(selector);

// h('p.small.soft', {id: 'x', onclick: f, '--f': .5}, 'text', child, [children])
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  if (props && (props.nodeType || typeof props !== 'object' || Array.isArray(props))) {
    children.unshift(props);
    props = null;
  }
  for (const [key, value] of Object.entries(props || {})) {
    if (value == null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key.startsWith('--')) element.style.setProperty(key, value);
    else element.setAttribute(key, value === true && !key.startsWith('aria-') ? '' : value);
  }
  element.append(...children.flat(4).filter((child) => child != null && child !== false));
  return element;
}

export function svg(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const icon = (name) => svg('svg', { class: 'i', 'aria-hidden': 'true' }, svg('use', { href: `#i-${name}` }));

export const button = (label, onclick, classes = '', props = {}) => h(`button${classes}`, { type: 'button', onclick, ...props }, label);

// Rows of [term, value, class]; rows that are null are left out.
export const pairs = (rows, classes = '') => h(`dl.kv${classes}`, rows.filter(Boolean).map(([term, value, kind]) => {
  const extra = kind ? `.${kind}` : '';
  return [h(`dt${extra}`, term), h(`dd${extra}`, value)];
}));

// Replace text only where it differs, so that a reader's selection stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const command = (text) => h('div.cmd', h('code', { tabindex: 0 }, text),
  button(icon('copy'), () => copy(text), '.quiet', { 'aria-label': `${t('copy')}: ${text}` }));

export function say(text, { loudly = false } = {}) {
  const region = $(loudly ? '#shout' : '#say');
  region.textContent = '';
  // A region that is set to the same text twice says it only once.
  requestAnimationFrame(() => { region.textContent = text; });
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t('copied'));
  } catch {
    toast(text);
  }
}

export function toast(text, undo) {
  $('.toast')?.remove();
  const element = h('section.toast', { 'aria-label': t('notices') }, h('span', text),
    undo && button(t('undo'), () => { element.remove(); undo(); }, '.undo'),
    button(icon('no'), () => element.remove(), '', { 'aria-label': t('close') }));
  document.body.append(element);
  say(text);
  setTimeout(() => element.remove(), 8000);
}

export function dialog(title, content) {
  const opener = document.activeElement;
  const element = h('dialog', {
    'aria-labelledby': 'dialog-title',
    onclose: () => {
      element.remove();
      if (opener?.isConnected) opener.focus();
    },
  });
  element.append(h('div', h('h2', { id: 'dialog-title' }, title), content(() => element.close())));
  document.body.append(element);
  element.showModal();
  return element;
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
