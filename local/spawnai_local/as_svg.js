// The page as it stands, as an SVG picture: its document, with those rules of its style sheet that
// concern it. The rules of `:root` hold for the picture's own element.
() => {
  const concerns = ({ selectorText }) => {
    const plain = selectorText.replace(/::?(before|after|backdrop)/g, '');
    try { return document.querySelector(plain) !== null; } catch { return true; }
  };
  const kept = (rules) => [...rules].flatMap((rule) => {
    if (rule instanceof CSSStyleRule) return concerns(rule) ? [rule.cssText] : [];
    const holds = rule instanceof CSSMediaRule && matchMedia(rule.conditionText).matches;
    return holds ? kept(rule.cssRules) : [];
  });
  const style = kept(document.styleSheets[0].cssRules).join('\n').replace(/[<&]/g, '');
  const body = document.body.cloneNode(true);
  const unseen = 'script,noscript,dialog,#skip,[role=status],[role=alert]';
  for (const one of body.querySelectorAll(unseen)) one.remove();
  const width = innerWidth;
  const height = Math.ceil(document.querySelector('main').getBoundingClientRect().bottom);
  const size = `width="${width}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${size}>
<style>
${style}
body{min-height:0}
</style>
<foreignObject ${size}>${new XMLSerializer().serializeToString(body)}</foreignObject>
</svg>
`;
}
