// The search page: what is asked for lives in the address, and everything shown follows from it.

import { Failure, ask, config as loadConfig, product } from "./api.js";
import { $, el, icon } from "./dom.js";
import { openExplain } from "./explain.js";
import { facetGroups } from "./facets.js";
import { failed, nothingFound, pictureGone, waits } from "./failure.js";
import { picturesIn, prepared } from "./pictures.js";
import { card, chips, countText, remember, skeletons, titleOfId } from "./results.js";
import { BALANCED, UNFILTERED, asks, balances, baseWeights, body, chosen, nothing, read, write } from "./state.js";
import { currentLanguage, keep, kept, number, switchLanguage, t, translate } from "./text.js";

const DEBOUNCE_MS = 120;
const KEPT_ANSWERS = 20;
const THEME = "es-xmodal-theme";

let config = { index: "", pictures: false, max_body_bytes: 25 * 1024 * 1024, max_pictures: 4, page_size: 24 };
let state = nothing();
let pictures = []; // of this search: {key, blob, url}
let pages = []; // answers so far: {answer, asked}
let base = {}; // weights of the legs as the service chose them
let baseOf = ""; // for which search
let failure = null;
let running = null; // the AbortController of the search that runs
let timer = 0; // of the next try
let tries = 0;
const picturesOf = new Map(); // place in the history to its pictures
const answersOf = new Map(); // place in the history to its answers, so that going back shows them at once

// --- the address ------------------------------------------------------------------------------------------

let place = Number(history.state?.place) || Date.now();

function remembered() {
  answersOf.set(place, { pages, base, baseOf, scroll: scrollY });
  while (answersOf.size > KEPT_ANSWERS) answersOf.delete(answersOf.keys().next().value);
}

/** Go on to another search. */
function take(change, { replace = false, wait = 0 } = {}) {
  const next = { ...state, ...change };
  next.pictures = pictures.length;
  if (!replace) { remembered(); place = Date.now() + Math.random(); }
  picturesOf.set(place, pictures);
  state = next;
  history[replace ? "replaceState" : "pushState"]({ place }, "", write(state));
  run(wait);
}

function givePictures(next, change = {}) {
  pictures = next;
  take(change);
}

addEventListener("popstate", (event) => {
  remembered();
  place = Number(event.state?.place) || 0;
  state = read(location.search);
  pictures = picturesOf.get(place) || [];
  const known = answersOf.get(place);
  if (!known?.pages.length) { run(); return; }
  stop();
  ({ pages, base, baseOf } = known);
  failure = null;
  show();
  scrollTo(0, known.scroll);
});

// --- asking -----------------------------------------------------------------------------------------------

const wanted = () => JSON.stringify([state.q.trim(), state.like, state.minus, pictures.map((one) => one.key)]);

function stop() {
  running?.abort();
  running = null;
  clearTimeout(timer);
}

function run(wait = 0) {
  stop();
  tries = 0;
  failure = null;
  showAsked();
  if (!asks(state) || (state.pictures && !pictures.length)) { pages = []; show(); return; }
  timer = setTimeout(search, wait);
}

async function search() {
  const mine = new AbortController();
  running = mine;
  busy(true);
  try {
    if (state.balance !== BALANCED && baseOf !== wanted()) {
      const planned = await ask("/plan", body({ ...state, balance: BALANCED }, { size: 1, facets: false }), pictures, mine.signal);
      base = baseWeights(planned.legs);
      baseOf = wanted();
    }
    const asked = body(state, { size: config.page_size, base });
    const answer = await withoutFacets(asked, mine.signal);
    const legs = answer.hits[0]?.legs;
    if (legs && state.balance === BALANCED) {
      base = baseWeights(Object.entries(legs).map(([name, leg]) => ({ name, weight: leg.weight })));
      baseOf = wanted();
    }
    pages = [{ answer, asked }];
    failure = null;
    tries = 0;
  } catch (error) {
    if (error.name === "AbortError" || running !== mine) return;
    pages = [];
    failure = error instanceof Failure ? error : new Failure("other", { detail: String(error.message || error) });
    tryLater();
  }
  if (running === mine) { running = null; busy(false); show(); }
}

const lacking = new Set(); // fields that this index does not count

/** An index may lack a field that is counted; then there are hits without its counts. */
async function withoutFacets(asked, signal) {
  const facets = asked.facets.filter((one) => !lacking.has(one.replace(/@window$/, "")));
  try {
    return await ask("/search", { ...asked, facets }, pictures, signal);
  } catch (error) {
    if (!(error instanceof Failure) || !error.field.startsWith("facets")) throw error;
    const refused = error.field.slice("facets.".length);
    const known = facets.some((one) => one.replace(/@window$/, "") === refused);
    if (!known) return ask("/search", { ...asked, facets: [] }, pictures, signal);
    lacking.add(refused);
    return withoutFacets(asked, signal);
  }
}

function tryLater() {
  const seconds = waits(failure, tries);
  tries += 1;
  failure.again = seconds;
  if (seconds) timer = setTimeout(search, 1000 * seconds);
}

async function more() {
  const last = pages[pages.length - 1];
  if (!last?.answer.cursor || running) return;
  const mine = new AbortController();
  running = mine;
  $("more").textContent = t("loadingMore");
  $("more").setAttribute("aria-disabled", "true");
  try {
    const asked = { ...last.asked, facets: [], cursor: last.answer.cursor };
    const answer = await ask("/search", asked, pictures, mine.signal);
    const before = $("grid").children.length;
    pages.push({ answer, asked });
    running = null;
    show();
    const first = $("grid").children[before];
    first?.querySelector("a, button")?.focus({ preventScroll: true });
  } catch (error) {
    if (error.name === "AbortError") return;
    running = null;
    $("live").textContent = t(`error.${error.kind || "other"}`);
    showMore();
  }
}

// --- showing ----------------------------------------------------------------------------------------------

function busy(on) {
  $("progress").hidden = !on;
  $("results").setAttribute("aria-busy", String(on));
  $("found").classList.toggle("busy", on && pages.length > 0);
  $("found").classList.toggle("first", on && !pages.length);
  if (!on) return;
  $("landing").hidden = true;
  $("found").hidden = false;
  $("live").textContent = t("searching");
  if (!pages.length) {
    $("message").replaceChildren();
    $("count").textContent = t("searching");
    $("grid").replaceChildren(...skeletons(8));
    $("more").hidden = true;
  }
}

const currency = () => pages.flatMap((page) => page.answer.hits).find((hit) => hit.source.currency)?.source.currency || "";

/** What was asked: the box, the pictures, the slider. */
function showAsked() {
  if (document.activeElement !== $("words") || !state.q) $("words").value = state.q;
  $("sort").value = state.sort;
  $("fits").checked = state.fits;
  $("balance").value = String(state.balance);
  $("balance").setAttribute("aria-valuetext", balanceText());
  $("given").replaceChildren(...pictures.map((one, at) => el("li", {},
    given(one, at),
    el("button", {
      type: "button", aria: { label: t("remove", { what: t("picture", { n: at + 1 }) }) },
      on: { click: () => { givePictures(pictures.filter((other) => other !== one)); $("words").focus(); } },
    }, icon("close")))));
  $("given").hidden = !pictures.length;
  document.title = [state.q, config.index || t("title")].filter(Boolean).join(" · ");
}

function given(one, at) {
  const image = el("img", { src: one.url, alt: t("picture", { n: at + 1 }), width: 36, height: 36 });
  image.addEventListener("error", () => image.replaceWith(icon("warn")), { once: true });
  return image;
}

function balanceText() {
  return state.balance === BALANCED ? t("balanceMid") : t("balanceIs", { words: 100 - state.balance, pictures: state.balance });
}

function showMore() {
  const button = $("more");
  button.hidden = !pages[pages.length - 1]?.answer.cursor;
  button.textContent = t("more");
  button.removeAttribute("aria-disabled");
}

function show() {
  busy(false);
  showAsked();
  const lost = state.pictures > 0 && !pictures.length;
  const landing = !asks(state) && !failure;
  $("landing").hidden = !landing;
  $("found").hidden = landing;
  document.body.classList.toggle("at-landing", landing);
  if (landing) { $("live").textContent = ""; return; }
  const first = pages[0]?.answer;
  const hits = pages.flatMap((page) => page.answer.hits.map((hit) => ({ hit, page })));
  $("message").replaceChildren(...[
    failure ? failed(failure, { again: () => run(), drop: pictures.length ? () => givePictures([]) : null }) : null,
    lost && !failure ? pictureGone() : null,
    first && !hits.length ? nothingFound(waysOut()) : null,
  ].filter(Boolean));
  $("found").classList.toggle("failed", Boolean(failure) || lost);
  fillGrid(hits);
  showMore();
  showSides(first);
  const says = first ? countText(first.total, hits.length, Boolean(pages[pages.length - 1].answer.cursor), first.took_ms) : ["", ""];
  $("count").replaceChildren(el("strong", {}, says[0]), " ", el("span", {}, says[1]));
  $("live").textContent = first ? `${says[0]}. ${t("shown", { n: number(hits.length) })}` : "";
}

/** What a person may do where nothing fits. */
function waysOut() {
  const on = (change) => () => { take(change); $("results").focus({ preventScroll: true }); };
  return [
    state.fits ? ["showAll", on({ fits: false })] : null,
    chosen(state) ? ["unfilter", on(UNFILTERED)] : null,
  ].filter(Boolean);
}

/** Cards that are shown already stay where they are, so that focus and pictures are not lost. */
function fillGrid(hits) {
  const grid = $("grid");
  const same = [...grid.children];
  const fresh = hits.map(({ hit, page }, at) => {
    if (same[at]?.hit === hit && same[at].inLanguage === currentLanguage()) return same[at];
    const made = card(hit, config, {
      like: () => { pictures = []; take({ q: "", like: [hit.id], minus: [], balance: BALANCED }); scrollTo(0, 0); $("results").focus({ preventScroll: true }); },
      notLike: () => take({ minus: [...new Set([...state.minus, hit.id])].slice(-16) }),
      explain: (one, from) => openExplain(one, page.asked, pictures, from.closest(".card").querySelector("img")?.src || ""),
    });
    return Object.assign(made, { hit, inLanguage: currentLanguage() });
  });
  if (fresh.length !== same.length || fresh.some((one, at) => one !== same[at])) grid.replaceChildren(...fresh);
}

/** What an option stands for: two fields may have the same value. */
const optionOf = (input) => JSON.stringify([input.name, input.closest("label").querySelector(".value").textContent]);

function focusedOption() {
  const input = document.activeElement?.closest?.("#facets input");
  return input ? optionOf(input) : "";
}

function showSides(first) {
  const warnings = [...(first?.warnings || []), ...(pictures.length && first ? [t("pictureNotShared")] : [])];
  $("warnings").replaceChildren(...warnings.map((one) => el("p", {}, one)));
  $("warnings").hidden = !warnings.length;
  const made = chips(state, currency(), (change) => { take(change); $("results").focus({ preventScroll: true }); });
  $("chips").replaceChildren(...made);
  $("chips").hidden = !made.length;
  const focused = focusedOption();
  if (first || failure) $("facets").replaceChildren(...facetGroups(first?.facets || {}, state, currency(), (change) => take(change)));
  if (focused) {
    [...$("facets").querySelectorAll("input")].find((one) => optionOf(one) === focused)?.focus({ preventScroll: true });
  }
  const count = chosen(state);
  $("filters-open").lastElementChild.textContent = count ? t("filtersN", { n: count }) : t("filters");
  $("filters-open").hidden = !$("facets").children.length;
  $("balance-box").hidden = !balances(base);
}

/** Products that an address names, and that were not seen yet. */
async function nameProducts() {
  const unknown = [...state.like, ...state.minus].filter((id) => titleOfId(id) === id);
  await Promise.allSettled(unknown.map(async (id) => remember(await product(id))));
  if (unknown.length) showSides(pages[0]?.answer);
}

// --- what a person does -----------------------------------------------------------------------------------

async function addPictures(files) {
  if (!files.length) return;
  try {
    if (pictures.length + files.length > config.max_pictures) throw new Failure("many", { limit: config.max_pictures });
    const ready = [];
    for (const file of files) ready.push(await prepared(file, config.max_body_bytes));
    givePictures([...pictures, ...ready]);
  } catch (error) {
    stop();
    pages = [];
    failure = error instanceof Failure ? error : new Failure("picture");
    show();
  }
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  take({ q: $("words").value.trim() });
});
$("words").addEventListener("search", () => { if (!$("words").value && state.q) take({ q: "" }); });
for (const id of ["file", "camera"]) {
  $(id).addEventListener("change", () => { addPictures([...$(id).files]); $(id).value = ""; });
}
$("sort").addEventListener("change", () => take({ sort: $("sort").value }));
$("fits").addEventListener("change", () => take({ fits: $("fits").checked }));
$("balance").addEventListener("input", () => take({ balance: Number($("balance").value) }, { replace: true, wait: DEBOUNCE_MS }));
$("balance").addEventListener("dblclick", () => take({ balance: BALANCED }, { replace: true }));
$("more").addEventListener("click", more);
$("filters-open").addEventListener("click", () => {
  const open = $("facets").classList.toggle("open");
  $("filters-open").setAttribute("aria-expanded", String(open));
});
addEventListener("paste", (event) => {
  const found = picturesIn(event.clipboardData);
  if (found.length) { event.preventDefault(); addPictures(found); }
});

let dragged = 0; // enters and leaves of elements; the page is left where they cancel out
const draws = (on) => { $("drop").hidden = !on; if (!on) dragged = 0; };
addEventListener("dragenter", (event) => { if (event.dataTransfer?.types.includes("Files")) { dragged += 1; draws(true); } });
addEventListener("dragleave", () => { dragged -= 1; if (dragged <= 0) draws(false); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  draws(false);
  addPictures(picturesIn(event.dataTransfer));
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("words").select(); }
});

// --- language, colours, network ---------------------------------------------------------------------------

const THEMES = ["", "dark", "light"];
let theme = THEMES.includes(kept(THEME)) ? kept(THEME) : "";

function showPreferences() {
  translate(document);
  $("language").textContent = t("language");
  $("language").setAttribute("aria-label", t("languageLabel"));
  $("language").lang = currentLanguage() === "en" ? "zh" : "en";
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const now = t("theme", { now: t(theme || "system") });
  $("theme").setAttribute("aria-label", now);
  $("theme").title = now;
  $("theme").replaceChildren(icon(theme === "light" ? "sun" : "moon"));
  $("index-name").textContent = config.index || t("title");
}

$("language").addEventListener("click", () => { switchLanguage(); showPreferences(); show(); });
$("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  keep(THEME, theme);
  showPreferences();
});

function network() {
  $("offline").hidden = navigator.onLine;
  $("offline").textContent = navigator.onLine ? "" : t("offline");
  if (navigator.onLine && failure?.kind === "offline") run();
}
addEventListener("online", network);
addEventListener("offline", network);

async function begin() {
  history.scrollRestoration = "manual";
  state = read(location.search);
  history.replaceState({ place }, "");
  showPreferences();
  network();
  if (asks(state)) busy(true);
  try {
    config = { ...config, ...(await loadConfig()) };
  } catch (error) {
    failure = error;
    show();
    return;
  }
  $("index-name").textContent = config.index;
  document.body.classList.add("ready");
  run();
  if (!asks(state)) $("words").focus();
  nameProducts();
}

begin();
