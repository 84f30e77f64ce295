"""What the index holds: asked by id, or walked once; without a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import ClusterAnswerError
from es_xmodal.ingest import known_documents
from es_xmodal.ingest.known import EDITED, mark, mark_of_hit
from es_xmodal.ingest.known_documents import KnownDocuments
from es_xmodal.ingest.known_table import KnownTable
from es_xmodal.ingest.named_ids import NamedIds

pytestmark = pytest.mark.unit

HASH = "0123456789abcdef0123456789abcdef"
HASHES = st.text("0123456789abcdef", min_size=32, max_size=32)
FIELDS = st.fixed_dictionaries(
    {"row_hash": st.one_of(HASHES, st.sampled_from([EDITED, "", "x" * 32, "0" * 31]))},
    optional={
        "price": st.floats(allow_nan=False, allow_infinity=False),
        "currency": st.text(max_size=3),
        "available": st.booleans(),
    },
)


def as_hit(id_: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": [id_], **{name: [value] for name, value in values.items()}}


def table_of(fields: Sequence[Mapping[str, Any]], *, expected: int | None = None) -> KnownTable:
    table = KnownTable(len(fields) if expected is None else expected)
    for start in range(0, len(fields), 7):
        table.add(fields[start : start + 7])
    table.close()
    return table


@given(st.dictionaries(st.text(max_size=8), FIELDS, max_size=40), st.integers(0, 50))
def test_the_table_says_what_a_hit_says(documents: dict[str, dict[str, Any]], expected: int) -> None:
    table = table_of([as_hit(id_, one) for id_, one in documents.items()], expected=expected)
    assert len(table) == len(documents)
    found = table.find([*documents, "\ud800 not there"])
    assert found.keys() == documents.keys()
    for id_, values in documents.items():
        assert found[id_] == mark_of_hit({"fields": as_hit(id_, values)}) == mark(values["row_hash"], values)
        assert found[id_] != mark(values["row_hash"], {**values, "price": 12.5e9})
        assert found[id_] != mark(values["row_hash"], {**values, "currency": "four"})
        assert found[id_] != mark("f" * 31, values)


@given(
    st.lists(st.text("abc", max_size=2), max_size=30),
    st.sets(st.text("abc", max_size=2), max_size=12),
    st.integers(0, 30),
)
def test_ids_are_a_set_whenever_the_index_is_walked(items: list[str], there: set[str], walked: int) -> None:
    known = KnownDocuments(None, "shop-v0001", len(there))  # type: ignore[arg-type]
    ids, expected = NamedIds(), set[str]()
    ids.holds = known
    for nth, item in enumerate(items):
        if nth == walked:
            known._table = table_of([as_hit(id_, {"row_hash": HASH}) for id_ in sorted(there)])
        assert ids.add(item) == (item not in expected)
        expected.add(item)
    early = set(items[:walked])
    assert len(ids._others) == len(early | (expected - there))  # the others cost a bit


def test_a_document_takes_what_the_page_says() -> None:
    count = 20_000
    table = table_of([as_hit(str(n), {"row_hash": HASH, "price": 1.0}) for n in range(count)])
    held = [value for part in table._parts for value in vars(part).values()]
    assert sum(one.nbytes for one in held if isinstance(one, np.ndarray)) == 16 * count
    assert sum(len(one) for one in held if isinstance(one, bytearray)) <= count // 8 + len(table._parts)


class Index:
    """Answers like an index: by id, and page after page of a point in time."""

    def __init__(self, count: int) -> None:
        self.hits = {f"p{n}": as_hit(f"p{n}", {"row_hash": HASH, "price": float(n)}) for n in range(count)}
        self.asked: list[int] = []
        self.pages = 0
        self.closed = threading.Event()
        self.before_page: Callable[[], None] = lambda: None

    def search(self, client: Any, index: str | None, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        if "pit" not in body:
            ids = body["query"]["ids"]["values"]
            self.asked.append(len(ids))
            return {"hits": {"hits": [{"_id": i, "fields": self.hits[i]} for i in ids if i in self.hits]}}
        self.before_page()
        self.pages += 1
        start = body["search_after"][0] if "search_after" in body else 0
        found = list(self.hits.values())[start : start + 10]
        hits = [{"fields": one, "sort": [start + nth + 1]} for nth, one in enumerate(found)]
        return {"hits": {"hits": hits}} if hits else {}  # filter_path leaves nothing of an empty page

    def known(self, monkeypatch: pytest.MonkeyPatch) -> KnownDocuments:
        monkeypatch.setattr(known_documents, "search", self.search)
        monkeypatch.setattr(known_documents, "open_point", lambda *_, **__: "point")
        monkeypatch.setattr(known_documents, "close_point", lambda *_: self.closed.set())
        return KnownDocuments(None, "shop-v0001", len(self.hits))  # type: ignore[arg-type]


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def test_the_whole_index_is_walked_once_a_part_of_it_was_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(640)
    known = index.known(monkeypatch)
    ids = [f"p{n}" for n in range(9)]
    first = known.of(ids)
    assert (index.asked, index.pages) == ([9], 0)
    known.of(["p9", "new"])
    until(lambda: known.walked)
    asked = len(index.asked)
    assert index.closed.wait(10)
    assert known.of(ids) == first
    assert known.of(["new"]) == {}
    assert (len(index.asked), index.pages) == (asked, 65)
    known.close()


def test_few_rows_of_a_large_index_and_an_index_beyond_the_bound_are_asked_by_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large, larger = Index(6_400), Index(10)
    assert large.known(monkeypatch).of(["p1"]).keys() == {"p1"}
    monkeypatch.setattr(known_documents, "MAX_DOCUMENTS", 9)
    known = larger.known(monkeypatch)
    for _ in range(20):
        assert known.of(["p1"]) == {"p1": mark(HASH, {"price": 1.0})}
    assert (large.pages, larger.pages, larger.asked) == (0, 0, [1] * 20)


def test_a_walk_that_fails_leaves_the_asking_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(10)
    tried = threading.Event()

    def fail() -> None:
        tried.set()
        raise ClusterAnswerError("No search context found")

    index.before_page = fail
    known = index.known(monkeypatch)
    assert known.of(["p1"])
    assert tried.wait(10)
    assert index.closed.wait(10)
    assert known.of(["p2"]) == {"p2": mark(HASH, {"price": 2.0})}
    assert not known.walked


def test_closing_ends_a_walk_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(100)
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert go_on.wait(10)

    index.before_page = wait
    known = index.known(monkeypatch)
    known.of(["p1", "p2"])
    assert inside.wait(10)
    threading.Timer(0.05, go_on.set).start()
    known.close()
    assert index.closed.wait(10)
    assert not known.walked
    assert index.pages == 1
