'use strict';

const STORE = 'retro-board';
const COLUMNS = [
  { id: 'well', name: 'Went well', accent: 'var(--well)' },
  { id: 'improve', name: 'To improve', accent: 'var(--improve)' },
  { id: 'next', name: 'Next steps', accent: 'var(--next)' },
];

let cards = load();

function load() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isCard) : [];
  } catch {
    return [];
  }
}

function isCard(card) {
  return (
    card !== null &&
    typeof card === 'object' &&
    typeof card.text === 'string' &&
    Number.isInteger(card.votes) &&
    COLUMNS.some((column) => column.id === card.column)
  );
}

function save() {
  try {
    localStorage.setItem(STORE, JSON.stringify(cards));
  } catch {
    // Storage may be full or switched off; the board goes on without it.
  }
}

function change(action) {
  action();
  save();
  render();
}

function addCard(column, text) {
  change(() => cards.push({ id: Date.now() + Math.random(), column, text, votes: 0 }));
}

function render() {
  for (const column of COLUMNS) {
    const section = document.getElementById(column.id);
    const list = section.querySelector('.cards');
    const own = cards
      .filter((card) => card.column === column.id)
      .sort((left, right) => right.votes - left.votes);
    list.replaceChildren(...own.map(cardElement));
    section.querySelector('.count').textContent = own.length;
    section.querySelector('.empty').hidden = own.length > 0;
  }
  const votes = cards.reduce((sum, card) => sum + card.votes, 0);
  document.getElementById('summary').textContent = `${cards.length} cards, ${votes} votes`;
}

function cardElement(card) {
  const template = document.getElementById('card-template');
  const element = template.content.firstElementChild.cloneNode(true);
  element.querySelector('.text').textContent = card.text;
  const vote = element.querySelector('.vote');
  vote.querySelector('b').textContent = card.votes;
  vote.setAttribute('aria-label', `Vote, ${card.votes} so far`);
  vote.addEventListener('click', () => change(() => (card.votes += 1)));
  element.querySelector('.remove').addEventListener('click', () =>
    change(() => (cards = cards.filter((other) => other !== card))),
  );
  return element;
}

for (const column of COLUMNS) {
  const template = document.getElementById('column-template');
  const section = template.content.firstElementChild.cloneNode(true);
  section.id = column.id;
  section.style.setProperty('--accent', column.accent);
  section.querySelector('.name').textContent = column.name;
  const form = section.querySelector('form');
  const input = form.querySelector('textarea');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text) addCard(column.id, text);
    input.value = '';
    input.focus();
  });
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  document.getElementById('board').append(section);
}

document.getElementById('clear').addEventListener('click', () => {
  if (cards.length === 0 || confirm('Remove every card from this board?')) {
    change(() => (cards = []));
  }
});

render();
