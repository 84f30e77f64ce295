// Elements are made one by one, and text goes in as text: nothing that a shop or a person wrote becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element; `props` are properties, `data`, `aria` and `on` (listeners), children are nodes or texts. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (name === "aria") for (const [key, text] of Object.entries(value)) made.setAttribute(`aria-${key}`, text);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  made.append(use);
  return made;
}

export const $ = (id) => document.getElementById(id);

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'" };

/** Nodes of a highlight: the service sends escaped text with <em> around words, and only that is read from it. */
export function marked(text) {
  const nodes = [];
  let inside = false;
  for (const part of String(text).split(/(<em>|<\/em>)/)) {
    if (part === "<em>") inside = true;
    else if (part === "</em>") inside = false;
    else if (part) {
      const plain = part.replace(/&(?:amp|lt|gt|quot|#x27);/g, (one) => ENTITIES[one]);
      nodes.push(inside ? el("mark", {}, plain) : document.createTextNode(plain));
    }
  }
  return nodes;
}

/** An address that a page may link to, or an empty text. */
export function webAddress(text) {
  try {
    const url = new URL(String(text));
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : "";
  } catch { return ""; }
}
