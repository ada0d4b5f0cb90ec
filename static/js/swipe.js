// A finger over the page of a phone: from the left edge inward it opens the list of conversations, back over it closes it.

const EDGE = 40; // pixels from the edge in which it begins
const FAR = 60; // pixels that it goes at least

/** `open`, `close` or null for a finger that went from one point to another; a point is `{x, y}`. Pure. */
export function swipeOf(from, to, isOpen) {
  const across = to.x - from.x;
  if (Math.abs(across) < FAR || Math.abs(to.y - from.y) > Math.abs(across) / 2) return null;
  if (isOpen) return across < 0 ? "close" : null;
  return across > 0 && from.x <= EDGE ? "open" : null;
}

/** Watches fingers and keeps none of them from scrolling: what scrolls sideways by itself, code or a table, is left to do so. */
export function bindSwipes({ isOpen, open, close }) {
  let from = null;
  addEventListener("touchstart", ({ touches, target }) => {
    from = touches.length === 1 && !scrollsSideways(target) ? pointOf(touches[0]) : null;
  }, { passive: true });
  addEventListener("touchcancel", () => (from = null), { passive: true });
  addEventListener("touchend", ({ changedTouches, touches }) => {
    const isFree = from && !touches.length && getSelection().isCollapsed && !document.querySelector("dialog[open]");
    const swipe = isFree && swipeOf(from, pointOf(changedTouches[0]), isOpen());
    from = null;
    if (swipe === "open") open();
    if (swipe === "close") close();
  }, { passive: true });
}

const pointOf = ({ clientX, clientY }) => ({ x: clientX, y: clientY });

function scrollsSideways(element) {
  for (let each = element; each instanceof Element && each !== document.body; each = each.parentElement) {
    const mayScroll = each.scrollWidth > each.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(each).overflowX);
    if (mayScroll || each.matches("input, textarea, .code")) return true;
  }
  return false;
}
