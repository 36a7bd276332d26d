import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import express from 'express';

const folder = process.env.DATA_DIR ?? path.join(import.meta.dirname, 'data');
mkdirSync(folder, { recursive: true });
const database = new DatabaseSync(path.join(folder, 'list.db'), { timeout: 5000 });
database.exec('CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, text TEXT NOT NULL)');

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '16kb' }));
app.use(express.static(path.join(import.meta.dirname, 'public')));

app.get('/api/entries', (request, response) => {
  response.json(database.prepare('SELECT id, text FROM entries ORDER BY id').all());
});

app.post('/api/entries', (request, response) => {
  const text = String(request.body?.text ?? '').trim().slice(0, 200);
  if (!text) return response.status(422).json({ error: 'text is missing' });
  const { lastInsertRowid } = database.prepare('INSERT INTO entries (text) VALUES (?)').run(text);
  response.status(201).json({ id: Number(lastInsertRowid), text });
});

app.delete('/api/entries/:id', (request, response) => {
  const { changes } = database.prepare('DELETE FROM entries WHERE id = ?').run(request.params.id);
  response.status(changes ? 204 : 404).end();
});

app.use((request, response) => response.status(404).json({ error: 'There is nothing here.' }));

app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  const status = error.status >= 400 && error.status < 500 ? error.status : 500;
  if (status === 500) console.error(error);
  response.status(status).json({ error: status === 500 ? 'Something went wrong.' : error.message });
});

const server = app.listen(process.env.PORT ?? 3000, () => console.log('The shared list listens'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
