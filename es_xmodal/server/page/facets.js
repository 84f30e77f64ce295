// Counts beside the results: each value can be chosen, several of one field mean any of them.

import { el } from "./dom.js";
import { rangeText } from "./results.js";
import { number, t } from "./text.js";

const SHOWN = 8;

function option({ text, count, checked, type, name, change }) {
  return el("li", {}, el("label", { className: "option" },
    el("input", { type, name, checked, on: { change, click: (event) => {
      if (type === "radio" && checked) { event.preventDefault(); change(); } // a chosen range is given up by a click
    } } }),
    el("span", { className: "value" }, text),
    el("span", { className: "number" }, count === null ? "" : number(count))));
}

function values(name, facet, state, take) {
  const counted = (facet?.values || []).map((one) => ({ text: String(one.value), count: one.count }));
  const there = new Set(counted.map((one) => one.text.toLowerCase()));
  const gone = state[name].filter((one) => !there.has(one.toLowerCase())).map((text) => ({ text, count: null }));
  return [...gone, ...counted].map(({ text, count }) => {
    const same = state[name].find((one) => one.toLowerCase() === text.toLowerCase());
    const next = same === undefined ? [...state[name], text] : state[name].filter((one) => one !== same);
    return option({ text, count, checked: same !== undefined, type: "checkbox", name, change: () => take({ [name]: next }) });
  });
}

function prices(facet, state, currency, take) {
  const counted = (facet?.values || []).map((one) => ({ range: String(one.value), count: one.count }));
  if (state.price && !counted.some((one) => one.range === state.price)) counted.unshift({ range: state.price, count: null });
  return counted.map(({ range, count }) => option({
    text: rangeText(range, currency), count, checked: range === state.price, type: "radio", name: "price",
    change: () => take({ price: range === state.price ? "" : range }),
  }));
}

function group(name, options, opened) {
  if (!options.length) return null;
  const first = options.slice(0, SHOWN);
  const rest = options.slice(SHOWN);
  const list = el("ul", {}, ...first);
  const parts = [el("legend", {}, t(name)), list];
  if (rest.length) {
    const more = el("button", { type: "button", className: "others", on: { click: () => {
      opened.add(name);
      list.append(...rest);
      more.remove();
      rest[0].querySelector("input").focus();
    } } }, t("other", { n: number(rest.length) }));
    if (opened.has(name)) list.append(...rest);
    else parts.push(more);
  }
  return el("fieldset", { data: { field: name } }, ...parts);
}

const opened = new Set();

/** The groups for an answer; `take` gets a change of the state. */
export function facetGroups(facets, state, currency, take) {
  return [
    group("category", values("category", facets.category, state, take), opened),
    group("price", prices(facets.price, state, currency, take), opened),
    group("brand", values("brand", facets.brand, state, take), opened),
  ].filter(Boolean);
}
