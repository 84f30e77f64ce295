// Counts beside the results: each value can be chosen, several of one field mean any of them.

import { el } from "./dom.js";
import { label, rangeText } from "./results.js";
import { LONGEST_NAME, LONGEST_VALUE, valuesOf, withValues } from "./state.js";
import { number, t } from "./text.js";

const SHOWN = 8;
const SHOWN_OF_ATTRIBUTE = 5;
const ATTRIBUTES = 6;

function option({ text, count, checked, type, name, change }) {
  return el("li", {}, el("label", { className: "option" },
    el("input", { type, name, checked, on: { change, click: (event) => {
      if (type === "radio" && checked) { event.preventDefault(); change(); } // a chosen range is given up by a click
    } } }),
    el("span", { className: "value", title: text.length > 24 ? text : undefined }, text),
    el("span", { className: "number" }, count === null ? "" : number(count))));
}

/** Options for counted values; `take` gets the values that are chosen from now on. */
function options(name, counted, taken, take) {
  const values = (counted || []).map((one) => ({ text: String(one.value), count: one.count }));
  const there = new Set(values.map((one) => one.text.toLowerCase()));
  const gone = taken.filter((one) => !there.has(one.toLowerCase())).map((text) => ({ text, count: null }));
  return [...gone, ...values].map(({ text, count }) => {
    const same = taken.find((one) => one.toLowerCase() === text.toLowerCase());
    const next = same === undefined ? [...taken, text] : taken.filter((one) => one !== same);
    return option({ text, count, checked: same !== undefined, type: "checkbox", name, change: () => take(next) });
  });
}

const values = (name, facet, state, take) => options(name, facet?.values, state[name], (next) => take({ [name]: next }));

/** Ranges of one currency: a number says nothing where there are several. */
function prices(facets, state, currency, take) {
  const several = (facets.currency?.values || []).length > 1 && state.currency.length !== 1;
  const counted = several ? [] : (facets.price?.values || []).map((one) => ({ range: String(one.value), count: one.count }));
  if (state.price && !counted.some((one) => one.range === state.price)) counted.unshift({ range: state.price, count: null });
  return counted.map(({ range, count }) => option({
    text: rangeText(range, currency), count, checked: range === state.price, type: "radio", name: "price",
    change: () => take({ price: range === state.price ? "" : range }),
  }));
}

/** A choice only where there are several; another currency has other prices. */
function currencies(facet, state, take) {
  if ((facet?.values || []).length < 2 && !state.currency.length) return [];
  return options("currency", facet?.values, state.currency, (next) => take({ currency: next, price: "" }));
}

function group(field, text, made, shown = SHOWN) {
  if (!made.length) return null;
  const chosen = (one) => one.querySelector("input").checked; // is seen, wherever it stands
  const first = made.filter((one, at) => at < shown || chosen(one));
  const rest = made.filter((one) => !first.includes(one));
  const list = el("ul", {}, ...first);
  const parts = [el("legend", {}, text), list];
  if (rest.length) {
    const more = el("button", { type: "button", className: "others", on: { click: () => {
      opened.add(field);
      list.append(...rest);
      more.remove();
      rest[0].querySelector("input").focus();
    } } }, t("other", { n: number(rest.length) }));
    if (opened.has(field)) list.append(...rest);
    else parts.push(more);
  }
  return el("fieldset", { data: { field } }, ...parts);
}

const opened = new Set();

/** The attributes that most products have; those that are chosen stay, with what else could be chosen. */
function attributes(facets, state, take) {
  const counted = facets.attributes?.values || [];
  const taken = state.attributes.map(({ name }) => ({ name, values: facets[`attributes.${name}`]?.values }));
  const others = counted.map((one) => ({ name: String(one.value), values: one.values }))
    .filter(({ name }) => !valuesOf(state.attributes, name).length && name.length <= LONGEST_NAME);
  return [...taken, ...others.slice(0, Math.max(0, ATTRIBUTES - taken.length))].map(({ name, values: found }) => {
    const change = (next) => take({ attributes: withValues(state.attributes, name, next) });
    const short = (found || []).filter((one) => one.value.length <= LONGEST_VALUE);
    const made = options(`attributes.${name}`, short, valuesOf(state.attributes, name), change);
    return group(`attributes.${name}`, label(name), made, SHOWN_OF_ATTRIBUTE);
  });
}

/** What the numbers count. */
function scope(facets, state) {
  const said = Object.values(facets)[0]?.scope;
  if (!said) return null;
  return el("p", { className: "fine scope" }, t(state.fits ? "scope.fits" : `scope.${said}`));
}

/** The groups for an answer; `take` gets a change of the state. */
export function facetGroups(facets, state, currency, take) {
  const groups = [
    group("category", t("category"), values("category", facets.category, state, take)),
    group("currency", t("currency"), currencies(facets.currency, state, take)),
    group("price", t("price"), prices(facets, state, currency, take)),
    group("brand", t("brand"), values("brand", facets.brand, state, take)),
    ...attributes(facets, state, take),
  ].filter(Boolean);
  return groups.length ? [...groups, scope(facets, state)].filter(Boolean) : [];
}
