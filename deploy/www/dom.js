// SPDX-License-Identifier: Apache-2.0
// dom.js - the few things that this page does to its document. Text from outside
// gets into it through setText only, which makes text of it and nothing else.

export const byId = (id) => document.getElementById(id);

// Where it is another one: what did not change is not touched.
export function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

export function setAttribute(element, name, value) {
    if (element.getAttribute(name) !== String(value))
        element.setAttribute(name, value);
}

// element TAG CLASS CHILD...: a child is an element or a text.
export function element(tag, className, ...children) {
    const made = document.createElement(tag);

    if (className)
        made.className = className;
    made.append(...children);
    return made;
}

// A copy of template ID, and in `texts` its elements with data-text, by that name.
export function fromTemplate(id) {
    const root = byId(id).content.firstElementChild.cloneNode(true);
    const texts = {};

    for (const one of root.querySelectorAll("[data-text]"))
        texts[one.dataset.text] = one;
    return {root, texts};
}
