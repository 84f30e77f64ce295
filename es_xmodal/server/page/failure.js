// What a person sees instead of results.

import { el, icon } from "./dom.js";
import { t } from "./text.js";

const ICONS = { key: "key", offline: "cloud", down: "cloud", often: "clock", busy: "clock", unready: "clock", slow: "clock", picture: "picture", large: "picture", many: "picture" };
const RETRIED = ["often", "busy", "unready"];
const MOST_RETRIES = 5;

function panel(symbol, title, text, { alert = false, more = [] } = {}) {
  return el("div", { className: `state ${alert ? "bad" : ""}`, role: alert ? "alert" : undefined },
    icon(symbol), el("h2", {}, title), el("p", {}, text), ...more);
}

/** The panel where nothing was found; `ways` are texts and what happens where one is chosen. */
export function nothingFound(ways) {
  const buttons = ways.map(([says, run]) => el("button", { type: "button", className: "primary", on: { click: run } }, t(says)));
  return panel("none", t("none"), t("noneText"), { more: buttons.length ? [el("p", { className: "ways-out" }, ...buttons)] : [] });
}

export function pictureGone() {
  return panel("picture", t("pictureGone"), t("pictureGoneText"));
}

/** The panel for a failure; `again` tries again, `drop` takes the pictures away. */
export function failed(failure, { again, drop }) {
  const kind = failure.kind || "other";
  const more = [];
  // A search that is not tried again by itself any more does not say that it is.
  const text = RETRIED.includes(kind) && !failure.again ? t("error.slowText")
    : t(`error.${kind}Text`, { s: failure.again, limit: failure.limit });
  const told = failure.detail && !["key", "often", "busy"].includes(kind);
  if (told) more.push(el("p", { className: "fine detail" }, failure.detail));
  if (failure.id) more.push(el("p", { className: "fine" }, t("request", { id: failure.id })));
  const [says, run] = drop && ["picture", "large"].includes(kind) ? ["dropPicture", drop]
    : kind === "key" ? ["reload", () => location.reload()] : ["again", again];
  more.push(el("button", { type: "button", className: "primary", on: { click: run } }, t(says)));
  return panel(ICONS[kind] || "warn", t(`error.${kind}`), text, { alert: true, more });
}

/** Seconds until the page tries again by itself; 0: it does not. */
export function waits(failure, tries = 0) {
  if (!RETRIED.includes(failure.kind) || tries >= MOST_RETRIES) return 0;
  return Math.min(60, Math.max(1, failure.seconds) * (tries + 1));
}
