'use strict';

module.exports = {
  title: 'Quote API',
  one: 'quote',
  many: 'quotes',
  examples: [
    { text: 'Well begun is half done.', author: 'Proverb' },
    { text: 'Measure twice, cut once.', author: 'Proverb' },
    { text: 'Many hands make light work.', author: 'Proverb' },
  ],
  read(body, current) {
    const text = String(body.text ?? current.text ?? '').trim();
    const author = String(body.author ?? current.author ?? 'Unknown').trim();
    if (!text || text.length > 500) return { error: 'text must have 1 to 500 characters.' };
    if (!author || author.length > 100) return { error: 'author must have 1 to 100 characters.' };
    return { fields: { text, author } };
  },
};
