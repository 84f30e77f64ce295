// What is asked for, and its place in the address. Pictures are never part of an address.

export const BALANCED = 50;
const LISTS = ["like", "minus", "brand", "category"];
const SORTS = ["price", "-price"];
const MOST = 16;

export function nothing() {
  return { q: "", like: [], minus: [], brand: [], category: [], price: "", sort: "", balance: BALANCED, pictures: 0 };
}

export function read(search) {
  const given = new URLSearchParams(search);
  const state = nothing();
  state.q = (given.get("q") || "").slice(0, 2000);
  for (const name of LISTS) state[name] = [...new Set(given.getAll(name).filter(Boolean))].slice(0, MOST);
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
  if (state.price) out.set("price", state.price);
  if (state.sort) out.set("sort", state.sort);
  if (state.balance !== BALANCED) out.set("balance", String(state.balance));
  if (state.pictures) out.set("pictures", String(state.pictures));
  const text = out.toString();
  return text ? `?${text}` : "/";
}

export function asks(state) {
  return Boolean(state.q.trim() || state.like.length || state.pictures);
}

export function chosen(state) {
  return state.brand.length + state.category.length + (state.price ? 1 : 0);
}

const escaped = (value) => (value === "*" ? "\\*" : value.replace(/\\/g, "\\\\").replace(/\|/g, "\\|"));

function filters(state) {
  const found = ["brand", "category"].filter((name) => state[name].length)
    .map((name) => `${name}=${state[name].map(escaped).join("|")}`);
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

/** The body of a search. */
export function body(state, { size, cursor, facets = true, base = {} }) {
  const asked = { text: state.q.trim(), size };
  if (state.like.length) asked.like = state.like;
  if (state.minus.length) asked.minus = state.minus.map((id) => `id:${id}`);
  const kept = filters(state);
  if (kept.length) asked.filters = kept;
  if (facets) asked.facets = ["category", "brand", "price"];
  if (state.sort) asked.sort = [state.sort];
  const wanted = weights(base, state.balance);
  if (Object.keys(wanted).length) asked.weights = wanted;
  if (cursor) asked.cursor = cursor;
  return asked;
}
