// A few words for the DOM, so that components read like what they do.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** A copy of what is in `<template id=…>`. */
export function cloneTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
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
