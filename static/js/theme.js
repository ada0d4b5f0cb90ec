// Runs before anything is painted, so that no page flashes in the wrong colours. Not a module: modules run later.
(() => {
  const root = document.documentElement;
  const apply = () => {
    const kept = (key) => {
      try {
        return localStorage.getItem(key);
      } catch {
        return null; // storage may be forbidden
      }
    };
    const theme = kept("parley:theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    if (kept("parley:side") === "closed") root.dataset.side = "closed";
    else delete root.dataset.side;
  };
  apply();
  addEventListener("storage", apply);
})();
