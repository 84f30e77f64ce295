"""Searches by words, by photo, or by both: search.py WORDS [PHOTO], with "" for no words.

Needs httpx. SHOP_SEARCH_URL and SHOP_SEARCH_KEY say where the service is and who calls. Leaves with 0; 1
where the service says what is wrong with the search; 3 where it cannot answer now.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx

URL = os.environ.get("SHOP_SEARCH_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("SHOP_SEARCH_KEY", "none")
ATTEMPTS, LONGEST_WAIT_S = 3, 10.0


def search(client: httpx.Client, words: str, photo: str) -> httpx.Response:
    """Ask, and ask again after as long as the service says while it is busy."""
    query = json.dumps({"text": words, "size": 5})
    for attempt in range(ATTEMPTS):
        if photo:
            picture = ("photo", Path(photo).read_bytes(), "application/octet-stream")
            answer = client.post("/search", data={"query": query}, files={"image": picture})
        else:
            answer = client.post("/search", content=query, headers={"Content-Type": "application/json"})
        if answer.status_code not in (429, 503) or attempt == ATTEMPTS - 1:
            break
        wait = answer.headers.get("Retry-After", "1")
        time.sleep(min(float(wait) if wait.isdecimal() else 1.0, LONGEST_WAIT_S))
    return answer


def problem(answer: httpx.Response) -> str:
    """The one line of a problem document (RFC 9457); a proxy in between may send something else."""
    try:
        found: dict[str, Any] = answer.json()
        return f"{found['status']} {found['detail']} (request {found['request_id']})"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}, and no problem document"


def main(words: str = "", photo: str = "") -> int:
    """Search once and print the hits."""
    try:
        # A shop keeps one client for all its searches: it keeps the connections.
        timeout = httpx.Timeout(30, connect=2)
        with httpx.Client(base_url=URL, headers={"X-API-Key": KEY}, timeout=timeout) as client:
            answer = search(client, words, photo)
    except OSError as error:
        print(f"search.py: {error}", file=sys.stderr)
        return 1
    except httpx.TransportError:
        print(f"search.py: no answer from {URL}", file=sys.stderr)
        return 3
    if answer.status_code == 200:
        for hit in answer.json()["hits"]:
            print(f"{hit['rank']}. {hit['id']}  {hit['source']['title']}")
        return 0
    print(f"search.py: {problem(answer)}", file=sys.stderr)
    return 3 if answer.status_code == 429 or answer.status_code >= 500 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
