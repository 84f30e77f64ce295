"""More callers than the service has room for: 200 or 503, nothing else, and afterwards all is as before."""

from __future__ import annotations

import collections
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.cli import Cli
from tests.support.served import Served, serving

pytestmark = pytest.mark.integration

RUNNING, WAITING = 1, 2
CALLERS, EACH = 30, 4
"""Ten times as many callers as there are places, each as fast as it can."""
GROWTH_BYTES = 64 << 20


def storm(served: Served) -> tuple[collections.Counter[int], list[httpx.Response]]:
    """All callers at once; statuses, and the answers that were refusals."""
    start = threading.Barrier(CALLERS)
    seen: collections.Counter[int] = collections.Counter()
    refused: list[httpx.Response] = []

    def call(number: int) -> None:
        with httpx.Client(base_url=served.url, timeout=120) as client:
            start.wait()
            for at in range(EACH):
                answer = client.get("/search", params={"q": f"chair {number} {at}", "size": 3})
                seen[answer.status_code] += 1
                if answer.status_code != 200:
                    refused.append(answer)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    return seen, refused


def gauge(served: Served, name: str) -> float:
    text = httpx.get(f"{served.url}/metrics", timeout=60).text
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_storm_passes(sample_cli: Cli) -> None:
    limits = {"ES_XMODAL_SERVER_RUNNING": str(RUNNING), "ES_XMODAL_SERVER_WAITING": str(WAITING)}
    with serving(sample_cli, **limits) as served:
        before = httpx.get(f"{served.url}/search", params={"q": "leather couch"}, timeout=120).json()
        storm(served)
        warm = served.resident_bytes
        seen, refused = storm(served)
        assert set(seen) == {200, 503}
        assert seen.total() == CALLERS * EACH
        for answer in refused:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:es-xmodal:problem:queue-full"
            assert int(answer.headers["retry-after"]) >= 1
        assert served.process.poll() is None
        after = httpx.get(f"{served.url}/search", params={"q": "leather couch"}, timeout=120)
        assert after.status_code == 200  # at once: no caller of the storm holds a place
        assert after.json()["hits"] == before["hits"]
        assert (gauge(served, "es_xmodal_running"), gauge(served, "es_xmodal_waiting")) == (0, 0)
        assert served.resident_bytes - warm < GROWTH_BYTES
        assert "unexpected" not in served.end()
