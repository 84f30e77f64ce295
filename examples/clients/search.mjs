// Searches by words, by photo, or by both: node search.mjs WORDS [PHOTO], with "" for no words.
// Needs Node 18 or later and nothing else. SHOP_SEARCH_URL and SHOP_SEARCH_KEY say where the service is and who
// calls. Leaves with 0; 1 where the service says what is wrong with the search; 3 where it cannot answer now.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.SHOP_SEARCH_URL ?? "http://127.0.0.1:8000";
const headers = { "X-API-Key": process.env.SHOP_SEARCH_KEY ?? "none" };
const ATTEMPTS = 3;
const LONGEST_WAIT_S = 10;

// JSON, or a form with the same JSON beside the picture. fetch writes the form's header by itself.
function request(words, picture) {
  const query = JSON.stringify({ text: words, size: 5 });
  if (!picture) return { body: query, headers: { ...headers, "Content-Type": "application/json" } };
  const form = new FormData();
  form.append("query", query);
  form.append("image", new Blob([picture]), "photo");
  return { body: form, headers };
}

// Asks, and asks again after as long as the service says while it is busy.
async function search(words, picture) {
  for (let attempt = 1; ; attempt++) {
    const signal = AbortSignal.timeout(30_000);
    const answer = await fetch(`${url}/search`, { method: "POST", ...request(words, picture), signal });
    if (![429, 503].includes(answer.status) || attempt === ATTEMPTS) return answer;
    await answer.arrayBuffer(); // read to the end, so that the connection can be used again
    const wait = Number(answer.headers.get("Retry-After") ?? 1);
    await sleep(1000 * Math.min(Number.isFinite(wait) ? wait : 1, LONGEST_WAIT_S));
  }
}

// The one line of a problem document (RFC 9457); a proxy in between may send something else.
async function problem(answer) {
  const found = await answer.json().catch(() => null);
  if (!found?.detail) return `${answer.status}, and no problem document`;
  return `${found.status} ${found.detail} (request ${found.request_id})`;
}

async function main(words = "", photo = "") {
  let picture, answer;
  try {
    if (photo) picture = await readFile(photo);
  } catch (error) {
    console.error(`search.mjs: ${error.message}`);
    return 1;
  }
  try {
    answer = await search(words, picture);
  } catch {
    console.error(`search.mjs: no answer from ${url}`);
    return 3;
  }
  if (answer.ok) {
    for (const hit of (await answer.json()).hits) console.log(`${hit.rank}. ${hit.id}  ${hit.source.title}`);
    return 0;
  }
  console.error(`search.mjs: ${await problem(answer)}`);
  return answer.status === 429 || answer.status >= 500 ? 3 : 1;
}

process.exitCode = await main(...process.argv.slice(2));
