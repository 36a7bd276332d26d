'use strict';

const express = require('express');
const resource = require('./resource');

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '64kb' }));

const items = new Map();
let nextId = 1;

function add(fields) {
  const item = { id: nextId++, ...fields, createdAt: new Date().toISOString() };
  items.set(item.id, item);
  return item;
}

function find(request, response) {
  const item = items.get(Number(request.params.id));
  if (!item) response.status(404).json({ error: `No ${resource.one} has id ${request.params.id}.` });
  return item;
}

for (const example of resource.examples) add(example);

const base = `/${resource.many}`;

app.get('/', (request, response) => {
  response.json({
    name: resource.title,
    routes: [
      `GET ${base}`,
      `GET ${base}/random`,
      `GET ${base}/:id`,
      `POST ${base}`,
      `PATCH ${base}/:id`,
      `DELETE ${base}/:id`,
    ],
    count: items.size,
  });
});

app.get(base, (request, response) => {
  const wanted = String(request.query.search ?? '').toLowerCase();
  const found = [...items.values()].filter((item) =>
    JSON.stringify(item).toLowerCase().includes(wanted),
  );
  response.json({ count: found.length, [resource.many]: found });
});

app.get(`${base}/random`, (request, response) => {
  const all = [...items.values()];
  if (all.length === 0) return response.status(404).json({ error: `There are no ${resource.many}.` });
  response.json(all[Math.floor(Math.random() * all.length)]);
});

app.get(`${base}/:id`, (request, response) => {
  const item = find(request, response);
  if (item) response.json(item);
});

app.post(base, (request, response) => {
  const { error, fields } = resource.read(request.body ?? {}, {});
  if (error) return response.status(422).json({ error });
  const item = add(fields);
  console.log(`${resource.one} ${item.id} was added`);
  response.status(201).location(`${base}/${item.id}`).json(item);
});

app.patch(`${base}/:id`, (request, response) => {
  const item = find(request, response);
  if (!item) return;
  const { error, fields } = resource.read(request.body ?? {}, item);
  if (error) return response.status(422).json({ error });
  Object.assign(item, fields);
  response.json(item);
});

app.delete(`${base}/:id`, (request, response) => {
  const item = find(request, response);
  if (!item) return;
  items.delete(item.id);
  response.status(204).end();
});

app.use((request, response) => {
  response.status(404).json({ error: `There is nothing at ${request.method} ${request.path}.` });
});

app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  const status = error.status >= 400 && error.status < 500 ? error.status : 500;
  if (status === 500) console.error(error);
  response.status(status).json({ error: status === 500 ? 'Something went wrong.' : error.message });
});

const port = Number(process.env.PORT) || 3000;
const server = app.listen(port, () => console.log(`${resource.title} listens on port ${port}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
