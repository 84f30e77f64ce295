"""Pages that hold: a walk on a point in time, while documents are indexed, changed and deleted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.cluster.client import connect
from es_xmodal.errors import QueryError
from es_xmodal.query.cursor import read_cursor
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.model import Query
from es_xmodal.search.engine import Searcher
from es_xmodal.search.result import SearchResult
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.nodes import call
from tests.support.shops import ingest_shop, searcher, write_shop

pytestmark = pytest.mark.integration

ROWS = [{"id": f"p{number:03d}", "title": f"mug {number % 7} {number % 11}"} for number in range(700)]
QUERY = Query(text="mug 3", window=600, size=3, hold=True)
REACH = 500


@pytest.fixture
def name(es_url: str, index_prefix: str, tmp_path: Path) -> str:
    ingest_shop(es_url, write_shop(tmp_path, ROWS), f"{index_prefix}hold", shards=2)
    return f"{index_prefix}hold"


def asked(**changes: Any) -> Query:
    fields = {"text": QUERY.text, "window": QUERY.window, "size": QUERY.size, "hold": True}
    return Query(**{**fields, **changes})


def ids(*pages: SearchResult) -> list[str]:
    return [hit.id for page in pages for hit in page.hits]


def open_points(url: str, index: str) -> int:
    _, stats = call(url, "GET", f"/{index}/_stats/search")
    return int(stats["_all"]["total"]["search"]["open_contexts"])


@contextmanager
def writer(url: str, index: str) -> Iterator[list[int]]:
    """Index, change and delete in a thread, each batch visible at once; yields the batches done so far."""
    stop, done = threading.Event(), [0]
    client = connect(load_settings(url=url))
    vector = HashEncoder().encode_texts([QUERY.text])["text"][0].tolist()

    def document(title: str, product: str) -> dict[str, Any]:
        tokens = {"title": title.replace(" ", "\x1f")}
        return {"id": product, "title": title, "tokens": tokens, "text_vector": vector}

    def write() -> None:
        for turn in range(400):
            if stop.is_set():
                return
            new, changed, gone = f"n{turn:03d}", f"p{(turn * 13) % 700:03d}", f"p{(turn * 17) % 700:03d}"
            lines: list[dict[str, Any]] = [
                {"index": {"_id": new}},
                document("mug 3", new),
                {"index": {"_id": changed}},
                document("sofa 8" if turn % 2 else "mug 3", changed),
                {"delete": {"_id": gone}},
            ]
            client.bulk(index=index, operations=lines, refresh=True)
            done[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
        client.close()


def walk(shop: Searcher, first: SearchResult, size: int) -> list[str]:
    seen, cursor = ids(first), first.cursor
    while len(seen) < REACH:
        assert cursor is not None, f"the walk ends at {len(seen)}"
        page = shop.search(asked(size=size), cursor=cursor)
        assert [hit.rank for hit in page.hits] == list(range(len(seen) + 1, len(seen) + 1 + len(page.hits)))
        assert page.total == first.total
        seen += ids(page)
        cursor = page.cursor
    return seen[:REACH]


def test_a_walk_while_documents_are_written(es_url: str, name: str) -> None:
    with searcher(es_url, name) as shop:
        before = ids(shop.search(asked(size=REACH, hold=False)))
        first = shop.search(QUERY)
        assert first.total.reachable > REACH
        with writer(es_url, name) as done:
            walks = []
            for size in (7, 10, 50):
                so_far = done[0]
                walks.append(walk(shop, first, size))
                while done[0] == so_far:  # each walk has been written into
                    assert threading.active_count() > 1, "the writer has ended"
                    time.sleep(0.01)
            now = shop.search(asked(size=REACH, hold=False))
        assert len(set(before)) == REACH
        assert walks == [before, before, before]
        assert ids(now) != before, "the writer has changed nothing that is searched, so nothing is proved"


def test_the_point_in_time_is_closed_after_the_last_page(es_url: str, name: str) -> None:
    opened = open_points(es_url, name)
    with searcher(es_url, name) as shop:
        first = shop.search(asked(size=400))
        assert open_points(es_url, name) > opened
        last = shop.search(asked(size=400), cursor=first.cursor)
        assert last.cursor is None
        assert len(set(ids(first, last))) == first.total.reachable == last.total.reachable
        assert open_points(es_url, name) == opened
        assert shop.search(asked(size=1000)).cursor is None
        with pytest.raises(QueryError, match="did you mean price"):
            shop.search(asked(filters=(parse_filter("prize=3"),)))  # the page fails, so nothing stays open
        assert open_points(es_url, name) == opened
        with pytest.raises(QueryError, match="no longer kept") as caught:
            shop.search(asked(size=400), cursor=first.cursor)
        assert caught.value.field == "cursor"


def test_a_held_walk_goes_on_after_a_swap(es_url: str, name: str, tmp_path: Path) -> None:
    with searcher(es_url, name) as shop:
        first = shop.search(QUERY)
        expected = ids(shop.search(asked(size=50, hold=False)))
        rows = [{"id": "new", "title": "mug 3"}]
        ingest_shop(es_url, write_shop(tmp_path, rows), name, rebuild=True, keep=2)
        assert ids(shop.search(Query(text="mug 3"))) == ["new"]
        assert ids(first, shop.search(asked(size=47), cursor=first.cursor)) == expected
    index = read_cursor(first.cursor or "").held
    assert index is not None
    call(es_url, "DELETE", f"/{index.index}")
    for known in (True, False):
        with searcher(es_url, name) as shop:
            if known:
                shop.search(Query(text="mug 3"))
            with pytest.raises(QueryError, match="no longer kept"):
                shop.search(QUERY, cursor=first.cursor)


def test_the_index_is_deleted_under_a_searcher_that_knows_it(es_url: str, name: str) -> None:
    with searcher(es_url, name) as shop:
        first = shop.search(QUERY)
        held = read_cursor(first.cursor or "").held
        assert held is not None
        call(es_url, "DELETE", f"/{held.index}")
        with pytest.raises(QueryError, match="no longer kept"):
            shop.search(QUERY, cursor=first.cursor)


def test_what_is_like_a_product_is_read_where_the_pages_are(es_url: str, name: str) -> None:
    """The product's vector changes between two pages; the walk is still that of the first page."""
    like = {"text": "", "like": ("p003",), "window": 100}
    with searcher(es_url, name) as shop:
        first = shop.search(asked(**like))
        expected = ids(shop.search(asked(**like, size=23, hold=False)))
        other = HashEncoder().encode_texts(["another"])["text"][0].tolist()
        call(es_url, "POST", f"/{name}/_update/p003?refresh=true", {"doc": {"text_vector": other}})
        assert ids(first, shop.search(asked(**like, size=20), cursor=first.cursor)) == expected


def test_what_cannot_be_held(es_url: str, name: str) -> None:
    with searcher(es_url, name) as shop:
        free = shop.search(asked(hold=False))
        with pytest.raises(QueryError, match="was not held") as caught:
            shop.search(QUERY, cursor=free.cursor)
        assert caught.value.field == "cursor"
        with pytest.raises(QueryError, match="as it is now") as caught:
            shop.plan(QUERY)
        assert caught.value.field == "hold"
        held = shop.search(QUERY)
        with pytest.raises(QueryError, match="another query"):
            shop.search(asked(text="mug 4"), cursor=held.cursor)
        assert ids(shop.search(asked(hold=False, size=5), cursor=held.cursor)), "the cursor says it all"
    json.dumps(held.to_json())
