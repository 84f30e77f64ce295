// What is asked for, and its place in the address. Pictures are never part of an address.

export const BALANCED = 50;
const LISTS = ["like", "minus", "brand", "category", "currency"];
const CHOSEN = ["category", "brand", "currency"];
const ATTRIBUTE = "attributes.";
const SORTS = ["price", "-price"];
const MOST = 16;
const MOST_ATTRIBUTES = 8; // of which values are chosen; a search counts at most 16 facets
export const LONGEST_NAME = 180;
export const LONGEST_VALUE = 250;
// Spreads above what unrelated pairs score; docs/ranking.md says what these were measured to leave out.
const FITS_WORDS = 1;
const FITS_PICTURES = 2;

export function nothing() {
  return {
    q: "", like: [], minus: [], brand: [], category: [], currency: [], price: "", sort: "", balance: BALANCED, pictures: 0,
    attributes: [], fits: false,
  };
}

/** An attribute is the same in upper and lower case. */
const same = (one, other) => one.toLowerCase() === other.toLowerCase();

/** The values that are chosen of an attribute. */
export function valuesOf(attributes, name) {
  return attributes.find((one) => same(one.name, name))?.values || [];
}

/** The attributes with other values of one of them; none takes it out. */
export function withValues(attributes, name, values) {
  const rest = attributes.filter((one) => !same(one.name, name));
  return values.length ? [...rest, { name, values }] : rest;
}

const line = (text) => text.replace(/[\u0000-\u001f\u007f]+/g, " ").trim();

function readAttributes(given) {
  let found = [];
  for (const [key, value] of given) {
    const name = key.startsWith(ATTRIBUTE) ? line(key.slice(ATTRIBUTE.length)) : "";
    if (!name || !line(value) || name.length > LONGEST_NAME || value.length > LONGEST_VALUE) continue;
    const values = [...new Set([...valuesOf(found, name), line(value)])].slice(0, MOST);
    if (values.length > 1 || found.length < MOST_ATTRIBUTES) found = withValues(found, name, values);
  }
  return found;
}

export function read(search) {
  const given = new URLSearchParams(search);
  const state = nothing();
  state.q = (given.get("q") || "").slice(0, 2000);
  for (const name of LISTS) state[name] = [...new Set(given.getAll(name).filter(Boolean))].slice(0, MOST);
  state.attributes = readAttributes(given);
  state.fits = given.get("fits") === "1";
  const price = given.get("price") || "";
  state.price = /^-?[\d.]*\.\.-?[\d.]*$/.test(price) && price !== ".." ? price : "";
  const sort = given.get("sort") || "";
  state.sort = SORTS.includes(sort) ? sort : "";
  const balance = Number(given.get("balance") ?? BALANCED);
  state.balance = Number.isFinite(balance) ? Math.min(100, Math.max(0, Math.round(balance))) : BALANCED;
  state.pictures = Math.min(MOST, Math.max(0, Number.parseInt(given.get("pictures") || "0", 10) || 0));
  return state;
}

export function write(state) {
  const out = new URLSearchParams();
  if (state.q) out.set("q", state.q);
  for (const name of LISTS) for (const value of state[name]) out.append(name, value);
  for (const { name, values } of state.attributes) for (const value of values) out.append(ATTRIBUTE + name, value);
  if (state.price) out.set("price", state.price);
  if (state.fits) out.set("fits", "1");
  if (state.sort) out.set("sort", state.sort);
  if (state.balance !== BALANCED) out.set("balance", String(state.balance));
  if (state.pictures) out.set("pictures", String(state.pictures));
  const text = out.toString();
  return text ? `?${text}` : "/";
}

export function asks(state) {
  return Boolean(state.q.trim() || state.like.length || state.pictures);
}

/** How many values are chosen. */
export function chosen(state) {
  const lists = [...CHOSEN.map((name) => state[name]), ...state.attributes.map((one) => one.values)];
  return lists.reduce((sum, values) => sum + values.length, state.price ? 1 : 0);
}

/** A change of the state that takes every filter away. */
export const UNFILTERED = { brand: [], category: [], currency: [], attributes: [], price: "" };

const escapedName = (name) => name.replace(/[=<>!\\]/g, "\\$&");
const escaped = (value) => (value === "*" ? "\\*" : value.replace(/\\/g, "\\\\").replace(/\|/g, "\\|"));

function filters(state) {
  const lists = CHOSEN.map((name) => ({ name, values: state[name] }));
  const named = state.attributes.map(({ name, values }) => ({ name: ATTRIBUTE + escapedName(name), values }));
  const found = [...lists, ...named].filter(({ values }) => values.length)
    .map(({ name, values }) => `${name}=${values.map(escaped).join("|")}`);
  const [low, high] = ends(state.price);
  if (low !== "") found.push(`price>=${low}`);
  if (high !== "") found.push(`price<${high}`);
  return found;
}

/** Both ends of a range as texts; an end that is open is empty. The upper one is not part of it. */
export function ends(range) {
  const at = range.indexOf("..");
  return at < 0 ? ["", ""] : [range.slice(0, at), range.slice(at + 2)];
}

const WORDS = ["lexical", "text"];
const PICTURES = ["image", "visual", "ocr", "fused"];
const kind = (leg) => leg.split(":")[0];

/** Weight of each kind of leg, from legs with weights. */
export function baseWeights(legs) {
  const base = {};
  for (const { name, weight } of legs) base[kind(name)] = (base[kind(name)] || 0) + weight;
  return base;
}

/** Whether there is anything to balance. */
export function balances(base) {
  return WORDS.some((leg) => leg in base) && PICTURES.some((leg) => leg in base);
}

/** The weights that the slider means; none where it stands in the middle. */
export function weights(base, balance) {
  if (balance === BALANCED || !balances(base)) return {};
  const words = Math.min(1, (100 - balance) / BALANCED);
  const pictures = Math.min(1, balance / BALANCED);
  const found = {};
  for (const [leg, weight] of Object.entries(base)) {
    if (WORDS.includes(leg)) found[leg] = weight * words;
    if (PICTURES.includes(leg)) found[leg] = weight * pictures;
  }
  return found;
}

/** What is counted beside the hits: with a cut-off the hits themselves. */
function facetsOf(state) {
  const names = ["category", "brand", "price", "currency", "attributes", ...state.attributes.map(({ name }) => ATTRIBUTE + name)];
  return names.map((name) => (state.fits ? `${name}@window` : name));
}

/** The body of a search. */
export function body(state, { size, cursor, facets = true, base = {} }) {
  const asked = { text: state.q.trim(), size };
  if (state.like.length) asked.like = state.like;
  if (state.minus.length) asked.minus = state.minus.map((id) => `id:${id}`);
  const kept = filters(state);
  if (kept.length) asked.filters = kept;
  if (facets) asked.facets = facetsOf(state);
  if (state.fits) asked.cutoff = state.pictures || state.like.length ? FITS_PICTURES : FITS_WORDS;
  if (state.sort) asked.sort = [state.sort];
  const wanted = weights(base, state.balance);
  if (Object.keys(wanted).length) asked.weights = wanted;
  if (cursor) asked.cursor = cursor;
  return asked;
}
