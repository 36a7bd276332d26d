'use strict';

module.exports = {
  title: 'Todo API',
  one: 'todo',
  many: 'todos',
  examples: [
    { title: 'Read the list of routes at /', done: true },
    { title: 'Add a todo with POST /todos', done: false },
    { title: 'Mark it done with PATCH /todos/2', done: false },
  ],
  read(body, current) {
    const title = String(body.title ?? current.title ?? '').trim();
    const done = body.done ?? current.done ?? false;
    if (!title || title.length > 200) return { error: 'title must have 1 to 200 characters.' };
    if (typeof done !== 'boolean') return { error: 'done must be true or false.' };
    return { fields: { title, done } };
  },
};
