// What the address names: a view, and what a link or a reload should show of it.
function parts() {
  const [path, query = ''] = location.hash.slice(1).split('?');
  return [path || '/new', new URLSearchParams(query)];
}

export const route = () => parts()[0];

export const fromAddress = (name) => parts()[1].get(name) || '';

// Keep that in the address; what is empty goes. Nothing is drawn anew, and Back leads where it did.
export function keepInAddress(values) {
  const [path, query] = parts();
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  const address = `#${path}${text ? `?${text}` : ''}`;
  if (address !== location.hash) history.replaceState(null, '', address);
}
