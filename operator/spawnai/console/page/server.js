// The console's API. The token is kept in this module's memory, and nowhere else.

let token = null;
let clockOffset = 0;

export const setToken = (text) => { token = text; };
export const hasToken = () => token !== null;

// The server's time: a reader's wrong clock must not show a wrong countdown.
export const serverNow = () => Date.now() + clockOffset;

function learnTime(answer, sentAt) {
  const date = Date.parse(answer.headers.get('Date') || '');
  if (Number.isNaN(date)) return;
  // The header has whole seconds, so half a second is added; small differences are noise.
  const offset = date + 500 - (sentAt + Date.now()) / 2;
  if (Math.abs(offset - clockOffset) > 1500) clockOffset = offset;
}

export class Refusal extends Error {
  constructor(status, body) {
    super(body?.error || `HTTP ${status}`);
    this.status = status;
    this.reason = body?.reason || '';
    this.fields = body?.fields || [];
  }
}

const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

async function fetchFrom(path, { method = 'GET', body, signal } = {}) {
  const sentAt = Date.now();
  const answer = await fetch(path, {
    method,
    signal,
    cache: 'no-store',
    headers: { ...authorization(), ...(body && { 'Content-Type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  learnTime(answer, sentAt);
  if (answer.ok) return answer;
  let told = null;
  try { told = await answer.json(); } catch { /* a proxy's own page */ }
  throw new Refusal(answer.status, told);
}

const LONGEST_CALL = 20_000;

// The JSON answer. Throws Refusal with what the server said; any other error means no answer.
export async function call(path, options = {}) {
  const answer = await fetchFrom(path, { signal: AbortSignal.timeout(LONGEST_CALL), ...options });
  return answer.status === 204 ? null : answer.json();
}

export const blob = async (path) => (await fetchFrom(path, { signal: AbortSignal.timeout(60_000) })).blob();

// Lines of a text stream, until it ends. `signal` ends it from here; `onOpen` hears that it began.
export async function* lines(path, signal, onOpen = () => {}) {
  const answer = await fetchFrom(path, { signal });
  onOpen();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  while (true) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

const base64url = (text) => btoa(text).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

// One WebSocket that comes back by itself and goes on where it was.
export class Stream {
  constructor(namespace, { onMessage, onState }) {
    this.namespace = namespace;
    this.onMessage = onMessage;
    this.onState = onState;
    this.since = null;
    this.tries = 0;
    this.ended = false;
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    const query = new URLSearchParams({ namespace: this.namespace });
    if (this.since !== null) query.set('since', this.since);
    const url = new URL(`api/watch?${query}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    const protocols = ['spawnai.v1'];
    if (token) protocols.push(`base64url.bearer.authorization.k8s.io.${base64url(token)}`);
    const socket = new WebSocket(url, protocols);
    this.socket = socket;
    let refusal = null;
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === 'error') {
        refusal = new Refusal(message.status, message);
        return;
      }
      this.tries = 0;
      if (message.type === 'trouble') this.onState('trouble', message.message);
      else this.onState('open');
      if (message.sequence !== undefined) this.since = later(this.since, message.sequence);
      this.onMessage(message);
    };
    socket.onclose = () => {
      if (this.ended || this.socket !== socket) return;
      if (refusal && (refusal.status === 401 || refusal.status === 403)) {
        this.ended = true;
        this.onState('refused', refusal);
        return;
      }
      this.onState('closed');
      const wait = Math.min(30_000, 1000 * 2 ** this.tries) * (0.5 + Math.random() / 2);
      this.tries += 1;
      this.timer = setTimeout(() => this.open(), wait);
    };
  }

  // Try now, not when the back-off is over.
  hurry() {
    if (!this.ended && this.socket.readyState === WebSocket.CLOSED) {
      this.tries = 0;
      this.open();
    }
  }

  close() {
    this.ended = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}

const later = (known, sequence) => (known === null || BigInt(sequence) > BigInt(known) ? sequence : known);
