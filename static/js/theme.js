// Runs before anything is painted, so that no page flashes in the wrong colours or size. Not a module: modules run later.
(() => {
  const root = document.documentElement;
  const choices = { theme: ["light", "dark"], size: ["large", "larger"], side: ["closed"], send: ["mod"], speech: ["off", "end", "sentences"] };
  const kept = (name) => {
    try {
      return localStorage.getItem(`parley:${name}`);
    } catch {
      return null; // storage may be forbidden
    }
  };
  const apply = () => {
    for (const [name, values] of Object.entries(choices)) {
      const value = kept(name);
      if (values.includes(value)) root.dataset[name] = value;
      else delete root.dataset[name];
    }
  };
  /** What is around the page, the bar of a phone, has the colour of the page. */
  const colour = () => {
    const { theme } = root.dataset;
    for (const meta of document.querySelectorAll('meta[name="theme-color"]')) {
      const scheme = (meta.dataset.scheme ??= meta.media.includes("dark") ? "dark" : "light");
      meta.media = theme ? (theme === scheme ? "all" : "not all") : `(prefers-color-scheme: ${scheme})`;
    }
  };
  apply();
  colour();
  addEventListener("storage", apply);
  new MutationObserver(colour).observe(root, { attributeFilter: ["data-theme"] });
})();
