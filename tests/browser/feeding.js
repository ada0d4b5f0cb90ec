// Feeds texts to the scripts of the page as a stream would, and compares. Runs in the page: see test_streaming_text.py.
async ({ cases, long, cuts, links }) => {
  const { Blocks } = await import("/static/js/blocks.js");
  const { BlocksView, elementsOf, equip, grammar } = await import("/static/js/blocks-view.js");

  if (links) grammar.validateLink = () => true;
  let state = 7;
  const below = (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };

  function piecesOf(text) {
    if (cuts === 1) return [...text];
    const pieces = [];
    for (let at = 0; at < text.length; ) pieces.push(text.slice(at, (at += 1 + below(cuts))));
    return pieces;
  }

  /** As it stands on the page, but for what is left of a block which was open: an empty class, that of a long one, seams in its texts. */
  function shown(element) {
    for (const each of element.querySelectorAll(".long")) each.classList.remove("long");
    for (const each of element.querySelectorAll('[class=""]')) each.removeAttribute("class");
    element.normalize();
    return element;
  }

  function atOnce(text) {
    const element = document.createElement("div");
    element.append(...elementsOf(grammar.render(text)));
    for (const child of [...element.children]) equip(child);
    return shown(element);
  }

  return cases.map(({ text, hidden = [] }) => {
    const element = document.createElement("div");
    const blocks = long === null ? new Blocks(grammar) : new Blocks(grammar, long);
    const view = new BlocksView(element, blocks);
    const raw = [];
    let fed = "";
    for (const piece of piecesOf(text)) {
      fed += piece;
      view.show(fed, false);
      const visible = element.textContent;
      for (const mark of hidden) if (visible.includes(mark)) raw.push([fed, mark]);
    }
    view.show(fed, true);
    const [found, wanted] = [shown(element), atOnce(text)];
    const same = found.isEqualNode(wanted);
    return { same, late: blocks.lateDefinitions, raw, ...(!same && { text, found: found.innerHTML, wanted: wanted.innerHTML }) };
  });
}
