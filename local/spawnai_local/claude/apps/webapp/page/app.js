'use strict';

const STORE = 'entries';
const list = document.getElementById('entries');
const input = document.getElementById('entry');
let entries = load();

function load() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '[]');
    return Array.isArray(stored) ? stored.filter((entry) => typeof entry === 'string') : [];
  } catch {
    return [];
  }
}

function update(next) {
  entries = next;
  try {
    localStorage.setItem(STORE, JSON.stringify(entries));
  } catch {
    // The page works without storage, too.
  }
  render();
}

function render() {
  list.replaceChildren(
    ...entries.map((entry, index) => {
      const item = document.createElement('li');
      const text = document.createElement('span');
      text.textContent = entry;
      const remove = document.createElement('button');
      remove.type = 'button';
      remove.textContent = 'Remove';
      remove.addEventListener('click', () => update(entries.filter((_, at) => at !== index)));
      item.append(text, remove);
      return item;
    }),
  );
  document.getElementById('empty').hidden = entries.length > 0;
}

document.getElementById('add').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text) update([...entries, text]);
  input.value = '';
  input.focus();
});

render();
