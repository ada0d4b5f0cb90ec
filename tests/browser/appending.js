// Lets three blocks become giants, and tells which of their parts were touched when they were. Runs in the page.
async () => {
  const { BlocksView } = await import("/static/js/blocks-view.js");
  const item = (number) => `- item **${number}** of a list that is long\n`;
  const row = (number) => `| row ${number} | \`${number * number}\` | and some more words |\n`;
  const word = (number) => `sentence **${number}** of a paragraph without an end. `;
  const grow = async (head, piece, inside) => {
    const element = document.createElement("div");
    const view = new BlocksView(element);
    let [text, touched] = [head, new Set()];
    const watch = (records) => records.forEach(({ target, addedNodes, removedNodes }) => {
      for (const node of [target, ...addedNodes, ...removedNodes]) touched.add(node.nodeType === 3 ? node.parentNode : node);
    });
    const observer = new MutationObserver(watch);
    for (let number = 0; number < 600; number++) {
      if (number === 500) observer.observe(element, { childList: true, subtree: true, characterData: true });
      view.show((text += piece(number)), false);
    }
    watch(observer.takeRecords());
    const kept = [...element.querySelectorAll(inside)];
    return { count: kept.length, early: kept.slice(0, 400).filter((node) => touched.has(node)).length, touched: touched.size };
  };
  return [await grow("", item, "li"), await grow("| a | b | c |\n|---|---|---|\n", row, "tr"), await grow("", word, "strong")];
}
