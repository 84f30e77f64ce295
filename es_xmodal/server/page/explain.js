// The drawer that says why a product stands where it stands.

import { ask } from "./api.js";
import { $, el, icon } from "./dom.js";
import { titleOf } from "./results.js";
import { has, number, t } from "./text.js";

const legName = (leg) => {
  const [kind, term] = leg.split(":");
  return (has(`leg.${kind}`) ? t(`leg.${kind}`) : kind) + (term ? ` · ${term}` : "");
};
const fieldName = (field) => {
  const bare = field.replace(/_zh$/, "");
  return has(`field.${bare}`) ? t(`field.${bare}`) : field;
};
const short = (value) => (value === null || value === undefined ? "–" : number(Math.round(value * 1000) / 1000));

function bars(hit, ranks) {
  const legs = Object.entries(hit.legs).sort((one, two) => two[1].contribution - one[1].contribution);
  const whole = legs.reduce((sum, [, leg]) => sum + Math.max(0, leg.contribution), 0) || 1;
  return el("ul", { className: "bars" }, ...legs.map(([name, leg]) => {
    const share = Math.round((100 * Math.max(0, leg.contribution)) / whole);
    const bar = el("span", { className: "meter", aria: { hidden: "true" } }, el("span", {}));
    bar.firstChild.style.width = `${share}%`;
    const rank = ranks?.[name]?.rank;
    return el("li", { data: { leg: name } },
      el("div", { className: "meter-head" }, el("span", {}, legName(name)),
        el("span", { className: "share", title: t("share", { share }) }, `${share} %`)),
      bar,
      el("p", { className: "fine" }, t("raw", { raw: short(leg.raw), weight: short(leg.weight) }),
        rank ? ` · ${t("legRank", { rank })}` : ""));
  }));
}

function matched(told) {
  const words = Object.entries(told?.matched || {});
  const met = Object.entries(told?.filters || {});
  const parts = [];
  if (words.length) {
    parts.push(el("h3", {}, t("matchedWords")), el("dl", {}, ...words.flatMap(([field, list]) => [
      el("dt", {}, fieldName(field)), el("dd", {}, ...list.flatMap((one) => [el("mark", {}, one), " "]))])));
  }
  if (met.length) {
    parts.push(el("h3", {}, t("meets")), el("dl", {}, ...met.flatMap(([field, value]) => [
      el("dt", {}, fieldName(field)), el("dd", {}, [value].flat().join(" › "))])));
  }
  return parts;
}

async function copy(text, says, shown) {
  try {
    await navigator.clipboard.writeText(text);
    says.textContent = t("copied");
  } catch { // not allowed, or no https: the text is selected instead
    getSelection().selectAllChildren(shown);
    says.textContent = t("copyFailed");
  }
}

function requests(console) {
  const shown = el("pre", { tabIndex: 0, role: "region", aria: { label: t("requests") } }, console);
  const button = el("button", { type: "button", className: "copy" }, icon("copy"), el("span", {}, t("copy")));
  const says = el("span", { className: "fine said", role: "status" });
  button.addEventListener("click", () => copy(console, says, shown));
  return el("section", { className: "requests" },
    el("div", { className: "requests-head" }, el("h3", {}, t("requests")), says, button),
    el("p", { className: "fine" }, t("requestsText")), shown);
}

/** Open the drawer: the bars at once, words and requests when they are here. */
export async function openExplain(hit, asked, pictures, src) {
  const drawer = $("explain");
  const stop = new AbortController();
  const close = el("button", { type: "button", className: "quiet", aria: { label: t("close") }, on: { click: () => drawer.close() } }, icon("close"));
  const barsAt = el("div", {}, bars(hit));
  const wordsAt = el("div", { className: "matched" });
  const requestsAt = el("div", { className: "waiting", aria: { busy: "true" } });
  drawer.replaceChildren(
    el("div", { className: "drawer-head" }, el("h2", { id: "explain-title" }, t("explainTitle")), close),
    el("div", { className: "drawer-body" },
      el("div", { className: "drawer-product" }, src ? el("img", { src, alt: "", width: 64, height: 64 }) : null,
        el("div", {}, el("p", { className: "title" }, titleOf(hit.source)),
          el("p", { className: "fine" }, `${t("rank", { rank: number(hit.rank) })} · ${t("score", { score: short(hit.score) })}`))),
      barsAt, wordsAt, requestsAt));
  drawer.onclose = () => stop.abort();
  drawer.onclick = (event) => { if (event.target === drawer) drawer.close(); };
  drawer.showModal();
  const told = ask("/explain", { ...asked, facets: [] }, pictures, stop.signal).then((answer) => {
    const same = answer.hits.find((one) => one.id === hit.id)?.explain;
    if (!same) return;
    barsAt.replaceChildren(bars(hit, same.legs));
    wordsAt.replaceChildren(...matched(same));
  });
  const planned = ask("/plan", asked, pictures, stop.signal).then((answer) => requestsAt.replaceChildren(requests(answer.console)));
  for (const one of await Promise.allSettled([told, planned])) {
    if (one.status === "rejected" && one.reason.name !== "AbortError") {
      requestsAt.append(el("p", { className: "fine", role: "alert" }, one.reason.detail || t(`error.${one.reason.kind || "other"}`)));
    }
  }
  requestsAt.classList.remove("waiting");
  requestsAt.removeAttribute("aria-busy");
}
