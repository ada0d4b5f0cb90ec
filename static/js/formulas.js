// Draws the maths that maths.js has found. KaTeX and its styles are loaded when the first formula needs them.

let katex;

export async function drawFormulas(root) {
  const formulas = [...root.querySelectorAll(".maths[data-tex]:not(.drawn)"), ...(root.matches(".maths[data-tex]:not(.drawn)") ? [root] : [])];
  if (formulas.length === 0) return;
  katex ??= Promise.all([import("katex"), loadStyles()]).then(([module]) => module.default);
  const { render } = await katex.catch(() => ({}));
  for (const formula of formulas) if (render) draw(render, formula);
}

function draw(render, formula) {
  const { tex } = formula.dataset;
  formula.classList.add("drawn");
  try {
    render(tex, formula, { displayMode: formula.classList.contains("display"), throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 500 });
  } catch {
    formula.classList.remove("drawn"); // wrong TeX is shown as it was written
    formula.removeAttribute("data-tex");
    formula.textContent = tex;
  }
}

function loadStyles() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = document.documentElement.dataset.katex;
  return new Promise((resolve, reject) => {
    link.onload = resolve;
    link.onerror = reject;
    document.head.append(link);
  });
}
