import { add, load, remove } from './entries.js';

const form = document.getElementById('form');
const list = document.getElementById('list');

async function attempt(action) {
  const problem = document.getElementById('problem');
  problem.textContent = '';
  try {
    await action();
    show(await load());
  } catch (error) {
    problem.textContent = error.message;
  }
}

function show(entries) {
  list.replaceChildren(...entries.map(row));
  document.getElementById('empty').hidden = entries.length > 0;
}

function row(entry) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  button.textContent = 'Remove';
  button.addEventListener('click', () => attempt(() => remove(entry.id)));
  item.append(entry.text, ' ', button);
  return item;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(async () => {
    await add(form.text.value);
    form.reset();
  });
});

attempt(async () => {});
