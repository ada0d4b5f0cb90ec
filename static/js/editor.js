// Editing a message in its place. Sending makes a new branch; the old one stays behind the arrows.

import { $, cloneTemplate, isComposing } from "./dom.js";
import { sends } from "./keys.js";

export function openEditor(view, page) {
  const { element, body, message } = view;
  if ($(".message-edit", element)) return;
  const form = cloneTemplate("edit-template");
  const field = $("textarea", form);
  const tools = $(".message-tools", element);

  function close() {
    form.remove();
    body.hidden = tools.hidden = false;
    element.classList.remove("editing");
    $('[data-act="edit"]', tools).focus();
  }

  function send() {
    const text = field.value;
    if (!text.trim()) return;
    close();
    if (text !== message.text) page.act({ type: "edit_message", message: message.id, text });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  form.addEventListener("keydown", (event) => {
    if (isComposing(event)) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (sends(event) && event.target === field) {
      event.preventDefault();
      send();
    }
  });
  $('[data-act="cancel-edit"]', form).addEventListener("click", close);
  field.value = message.text;
  body.hidden = tools.hidden = true;
  element.classList.add("editing");
  body.after(form);
  growWithText(field);
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

/** For browsers without `field-sizing: content`: the field is as tall as its text; CSS sets the most. */
export function growWithText(field) {
  if (CSS.supports("field-sizing", "content")) return;
  const fit = () => {
    field.style.blockSize = "auto";
    field.style.blockSize = `${field.scrollHeight}px`;
  };
  field.addEventListener("input", fit);
  requestAnimationFrame(fit);
}
