'use strict';

module.exports = {
  title: 'Notes API',
  one: 'note',
  many: 'notes',
  examples: [
    { title: 'Welcome', text: 'Notes are kept in memory for as long as this server lives.' },
    { title: 'Search', text: 'GET /notes?search=memory finds the first note.' },
  ],
  read(body, current) {
    const title = String(body.title ?? current.title ?? '').trim();
    const text = String(body.text ?? current.text ?? '');
    if (!title || title.length > 200) return { error: 'title must have 1 to 200 characters.' };
    if (text.length > 20000) return { error: 'text may have at most 20000 characters.' };
    return { fields: { title, text } };
  },
};
