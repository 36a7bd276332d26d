async function ask(path, options) {
  const response = await fetch(`/api/entries${path}`, options);
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return response.status === 204 ? null : response.json();
}

export const load = () => ask('');

export const remove = (id) => ask(`/${id}`, { method: 'DELETE' });

export const add = (text) =>
  ask('', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text }),
  });
