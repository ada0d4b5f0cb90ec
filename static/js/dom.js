// A few words for the DOM, so that components read like what they do.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** A copy of what is in `<template id=…>`. */
export function cloneTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Gives an element that the server rendered lean what only the template has; both have the same order. */
export function completeFrom(id, element) {
  let before = element.firstElementChild;
  for (const part of [...cloneTemplate(id).children]) {
    const kind = part.classList[0];
    const own = [...element.children].find((child) => child.classList.contains(kind));
    if (own && own.childElementCount === 0 && part.childElementCount > 0 && !own.textContent.trim()) own.replaceWith(part);
    else if (!own) element.insertBefore(part, before);
    before = (own?.isConnected ? own : part).nextElementSibling;
  }
  return element;
}

/** A data island: `<script type="application/json" id=…>`. */
export function readJson(id) {
  const element = document.getElementById(id);
  return element && JSON.parse(element.textContent);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Calls `actions[name](element, event)` for clicks on `[data-act=name]` within `root`. */
export function onAct(root, actions) {
  root.addEventListener("click", (event) => {
    const element = event.target.closest("[data-act]");
    if (element && root.contains(element)) actions[element.dataset.act]?.(element, event);
  });
}

/** Whether an input method is still composing: Enter then belongs to it (some browsers only say 229). */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

export const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
