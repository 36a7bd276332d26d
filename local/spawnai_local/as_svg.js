// A page as it stands, as an SVG picture: its document, with those rules of its style sheets that
// concern it. The rules of `:root` hold for the picture's own element. Images are those that
// `pictures` gives, in their order; what `unwanted` selects is left out.
({ height, unwanted = '', pictures = [] }) => {
  const concerns = ({ selectorText }) => {
    const plain = selectorText.replace(/::?(before|after|backdrop)/g, '');
    try { return document.querySelector(plain) !== null; } catch { return true; }
  };
  const kept = (rules) => [...rules].flatMap((rule) => {
    if (rule instanceof CSSStyleRule) return concerns(rule) ? [rule.cssText] : [];
    const holds = rule instanceof CSSMediaRule && matchMedia(rule.conditionText).matches;
    return holds ? kept(rule.cssRules) : [];
  });
  const style = [...document.styleSheets].flatMap(({ cssRules }) => kept(cssRules)).join('\n').replace(/[<&]/g, '');
  const body = document.body.cloneNode(true);
  const unseen = ['script,noscript,template,dialog,[role=status],[role=alert]', unwanted].filter(Boolean).join();
  for (const one of body.querySelectorAll(unseen)) one.remove();
  const comments = document.createTreeWalker(body, NodeFilter.SHOW_COMMENT);
  while (comments.nextNode()) comments.currentNode.data = '';
  const inAddress = (svg) => `data:image/svg+xml,${svg.replace(/[%#<>"\n]/g, encodeURIComponent)}`;
  [...body.querySelectorAll('img')].forEach((image, i) => { image.src = inAddress(pictures[i]); });
  const size = `width="${innerWidth}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${innerWidth} ${height}" ${size}>
<style>
${style}
body{min-height:0}
</style>
<foreignObject ${size}>${new XMLSerializer().serializeToString(body)}</foreignObject>
<rect ${size} fill="none" stroke="#8883" stroke-width="2"/>
</svg>
`.replace(/\n\s*\n/g, '\n');
}
