'use strict';

const STORE = 'countdown';
const form = document.getElementById('settings');
const nameInput = document.getElementById('name');
const untilInput = document.getElementById('until');
let target = load();

function load() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? 'null');
    if (stored && Number.isFinite(stored.until)) return stored;
  } catch {
    // Damaged or forbidden storage: begin anew.
  }
  return { name: 'the end of the day', until: new Date().setHours(23, 59, 59, 0) };
}

function save() {
  try {
    localStorage.setItem(STORE, JSON.stringify(target));
  } catch {
    // The countdown runs without storage, too.
  }
}

function show() {
  const left = Math.max(0, Math.floor((target.until - Date.now()) / 1000));
  const parts = {
    days: Math.floor(left / 86400),
    hours: Math.floor(left / 3600) % 24,
    minutes: Math.floor(left / 60) % 60,
    seconds: left % 60,
  };
  for (const [id, value] of Object.entries(parts)) {
    document.getElementById(id).textContent = id === 'days' ? value : String(value).padStart(2, '0');
  }
  document.getElementById('label').textContent = `Until ${target.name}`;
  const state = document.getElementById('state');
  const text = left === 0 ? 'The time has come.' : '';
  if (state.textContent !== text) state.textContent = text;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const until = new Date(untilInput.value).getTime();
  if (!Number.isFinite(until)) return;
  target = { name: nameInput.value.trim() || 'the moment', until };
  save();
  show();
});

show();
setInterval(show, 1000);
