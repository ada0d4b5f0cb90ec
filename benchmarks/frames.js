// Writes down the frames and the long tasks of a page, from `from` characters of a reply until a second after its end.
// Runs before all scripts of the page. `begun` and `measured` are promises: of nothing, and of what it found.
((from) => {
  const frames = [];
  const tasks = [];
  let [began, isOver] = [null, false];
  let haveBegun, haveMeasured;
  globalThis.begun = new Promise((resolve) => (haveBegun = resolve));
  globalThis.measured = new Promise((resolve) => (haveMeasured = resolve));

  function start() {
    began = performance.now();
    haveBegun();
    const tick = (now) => {
      frames.push(now);
      if (!isOver) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    new PerformanceObserver((list) => tasks.push(...list.getEntries().filter((entry) => entry.startTime > began).map(({ duration }) => duration))).observe({ type: "longtask" });
  }

  function finish() {
    isOver = true;
    const spans = frames.slice(1).map((now, index) => now - frames[index]);
    haveMeasured({ spans, tasks, seconds: (performance.now() - began) / 1000, characters: document.querySelector(".message.assistant:last-of-type, #reply")?.textContent.length ?? 0 });
  }

  globalThis.measureFor = (milliseconds) => {
    start();
    setTimeout(finish, milliseconds);
  };

  const Native = globalThis.WebSocket;
  globalThis.WebSocket = class extends Native {
    constructor(...all) {
      super(...all);
      this.addEventListener("message", ({ data }) => {
        if (began === null && data.startsWith('{"type":"reply_delta"') && Number(/"start":(\d+)/.exec(data)?.[1]) >= from) start();
        if (began !== null && data.startsWith('{"type":"reply_ended"')) setTimeout(finish, 1000);
      });
    }
  };
})
