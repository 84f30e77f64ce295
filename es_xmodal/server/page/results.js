// The grid of products, and the chips of what was chosen.

import { el, icon, marked, webAddress } from "./dom.js";
import { UNFILTERED, ends, withValues } from "./state.js";
import { currentLanguage, money, number, t } from "./text.js";

const titles = new Map(); // products that were seen, for chips that name them

/** A product's title in the language of the page. */
export function titleOf(source) {
  return String((currentLanguage() === "zh" && source.title_zh) || source.title || source.title_zh || source.id || "");
}

export function titleOfId(id) { return titles.get(id) || id; }
export function remember(source) { titles.set(String(source.id), titleOf(source)); }

/** An attribute's name as a heading: some are names of columns, such as screen_size. */
export function label(name) {
  const text = /^\w+$/.test(name) ? name.replace(/_+/g, " ").trim() || name : name;
  return text[0].toUpperCase() + text.slice(1);
}

const FRAME = /#t=(\d+(?:\.\d+)?)$/;
const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi)$/i;
const SHOWN_AT_S = 1; // of a video of which no frame matched; many begin in black

const refOf = (image) => String(typeof image === "object" && image ? image.ref ?? "" : image);

/** Where the picture of a hit is shown from: the one that matched, else the first; and which one it is. */
function pictureOf(hit, config) {
  const refs = (hit.source.images || []).map(refOf);
  const whole = refs.indexOf(hit.best_image); // a file may be named like a frame
  const seconds = whole < 0 ? FRAME.exec(hit.best_image || "")?.[1] : undefined;
  const at = Math.max(0, seconds === undefined ? whole : refs.indexOf(hit.best_image.replace(FRAME, "")));
  const shown = { at, all: refs.length, matched: Boolean(hit.best_image), seconds, src: "", set: "" };
  const ref = refs[at];
  if (!ref) return shown;
  if (webAddress(ref)) shown.src = webAddress(ref);
  else if (config.pictures) {
    const time = seconds ?? (VIDEO.test(ref) ? SHOWN_AT_S : "");
    const path = `/products/${encodeURIComponent(hit.id)}/images/${at}?${time === "" ? "" : `t=${time}&`}side=`;
    shown.src = `${path}320`;
    shown.set = `${path}320 1x, ${path}640 2x`;
  } else if (/^data:image\/(png|jpeg|webp|gif);/i.test(ref)) shown.src = ref;
  return shown;
}

function placeholder() {
  return el("div", { className: "no-picture" }, icon("picture"), el("span", { className: "away" }, t("noPicture")));
}

function picture(hit, config) {
  const shown = pictureOf(hit, config);
  const frame = el("div", { className: "picture" });
  if (!shown.src) { frame.append(placeholder()); return frame; }
  const image = el("img", { alt: "", loading: "lazy", decoding: "async", width: 320, height: 320 });
  image.addEventListener("error", () => image.replaceWith(placeholder()), { once: true });
  image.addEventListener("load", () => { // a picture that is nearly square fills its frame, others are shown whole
    const ratio = image.naturalWidth / image.naturalHeight;
    image.classList.toggle("fill", ratio > 0.7 && ratio < 1.5);
  }, { once: true });
  if (shown.set) image.srcset = shown.set;
  image.src = shown.src;
  frame.append(image);
  const [short, says] = badge(shown);
  if (short) {
    frame.append(el("span", { className: "badge", title: says },
      el("span", { aria: { hidden: "true" } }, short), el("span", { className: "away" }, says)));
  }
  return frame;
}

/** Which of the pictures, or which moment of a video, matched: in short and in words. */
function badge({ at, all, matched, seconds }) {
  if (seconds !== undefined) {
    const whole = Math.floor(Number(seconds));
    const time = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    return [`▶ ${time}`, t("matchedFrame", { time })];
  }
  return matched && all > 1 ? [`${at + 1} / ${all}`, t("matchedPicture", { n: at + 1, all })] : ["", ""];
}

function marks(hit, name) {
  const zh = `${name}_zh`;
  const order = currentLanguage() === "zh" ? [zh, name] : [name, zh];
  for (const field of order) if (hit.source[field]) return hit.highlight[field] ? marked(hit.highlight[field]) : [];
  return [];
}

/** Some words around the first mark, where the title has none. */
function snippet(nodes) {
  const at = nodes.findIndex((one) => one.nodeName === "MARK");
  if (at < 0) return null;
  const kept = nodes.slice(Math.max(0, at - 1), at + 8);
  const before = at > 0 ? kept[0] : null;
  if (before && before.textContent.length > 36) before.textContent = `…${before.textContent.slice(-30).replace(/^\S*\s/, "")}`;
  return el("p", { className: "snippet" }, ...kept);
}

/** One product. `does` has like, notLike and explain. */
export function card(hit, config, does) {
  remember(hit.source);
  const title = titleOf(hit.source);
  const titleMarks = marks(hit, "title");
  const address = webAddress(hit.source.url);
  const text = titleMarks.length ? titleMarks : [title];
  const heading = el("h2", { className: "title", lang: /[\u4e00-\u9fff]/.test(title) ? "zh" : "en" },
    address ? el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, ...text) : el("span", {}, ...text));
  const brand = hit.highlight.brand ? marked(hit.highlight.brand) : [hit.source.brand || ""];
  const price = typeof hit.source.price === "number" ? money(hit.source.price, hit.source.currency) : "";
  const act = (name, says, run) => el("button", {
    type: "button", title: t(name), aria: { label: t(says, { title }) }, on: { click: run },
  }, icon({ like: "like", notLike: "minus", why: "bars" }[name]));
  const some = titleMarks.length ? null : snippet(marks(hit, "description"));
  return el("li", { className: "card", data: { id: hit.id } },
    picture(hit, config),
    el("div", { className: "text" },
      el("p", { className: "maker" }, ...brand),
      heading, some,
      el("p", { className: "price" }, price || null,
        hit.source.available === false ? el("span", { className: "absent" }, t("unavailable")) : null)),
    el("div", { className: "acts" },
      act("like", "likeOf", () => does.like(hit)),
      act("notLike", "notLikeOf", () => does.notLike(hit)),
      act("why", "whyOf", (event) => does.explain(hit, event.currentTarget))));
}

/** Grey cards while the first answer is on its way. */
export function skeletons(count) {
  return Array.from({ length: count }, () => el("li", { className: "card skeleton", aria: { hidden: "true" } },
    el("div", { className: "picture" }), el("div", { className: "text" }, el("p", {}), el("p", {}))));
}

/** How many there are; a lower bound is one only while there is more to show. */
export function countText(total, shown, more, ms) {
  const value = more ? total.value : shown;
  const key = value === 1 ? "countOne" : more && total.relation === "gte" ? "countAtLeast" : "count";
  return [t(key, { n: number(value) }), t("took", { ms: number(Math.round(ms)) })];
}

/** How a range of prices is said. */
export function rangeText(range, currency) {
  const [low, high] = ends(range).map((end) => (end === "" ? "" : money(Number(end), currency)));
  if (low && high) return t("between", { low, high });
  return low ? t("from", { low }) : t("below", { high });
}

/** Chips of what was chosen; `take` gets a change of the state. */
export function chips(state, currency, take) {
  const chip = (text, change, kind = "") => el("li", {}, el("button", {
    type: "button", className: `chip ${kind}`, aria: { label: t("remove", { what: text }) }, on: { click: () => take(change) },
  }, el("span", {}, text), icon("close")));
  const without = (name, value) => ({ [name]: state[name].filter((one) => one !== value) });
  const found = [
    ...state.like.map((id) => chip(t("likeChip", { title: titleOfId(id) }), without("like", id), "liked")),
    ...state.minus.map((id) => chip(t("notLikeChip", { title: titleOfId(id) }), without("minus", id), "unliked")),
    ...["category", "brand", "currency"].flatMap((name) => state[name].map((value) => chip(value, without(name, value)))),
    ...state.attributes.flatMap(({ name, values }) => values.map((value) => chip(t("attributeChip", { name: label(name), value }),
      { attributes: withValues(state.attributes, name, values.filter((one) => one !== value)) }))),
  ];
  if (state.price) found.push(chip(rangeText(state.price, currency), { price: "" }));
  if (found.length > 1) {
    found.push(el("li", {}, el("button", { type: "button", className: "clear", on: {
      click: () => take({ like: state.q || state.pictures ? [] : state.like, minus: [], ...UNFILTERED }),
    } }, t("clear"))));
  }
  return found;
}
