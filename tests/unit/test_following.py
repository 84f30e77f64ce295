"""What versions know of each other, sets of ids, and how alike two rankings are; no server."""

from __future__ import annotations

import json

import numpy as np
import pytest

from es_xmodal.evaluation.queries import JudgedQuery
from es_xmodal.evaluation.shadow import Answers, overlap, shadow
from es_xmodal.index.builder import forget, new_builder
from es_xmodal.index.closing import LEASE_S
from es_xmodal.index.following import MOST_APART, Follows, Marks
from es_xmodal.index.idsets import NONE, contains, hash_ids, minus, union
from es_xmodal.index.meta import Closed
from es_xmodal.index.versions import Version, notes
from es_xmodal.ingest.door import is_closed
from es_xmodal.query.fusion import Ledger
from es_xmodal.search.result import Hit

pytestmark = pytest.mark.unit

MARKS = Marks(index="shop-v0001", uuid="u1", numbers=(7, 0, 12))


def test_sets_of_ids() -> None:
    some, other = hash_ids(["a", "b", "b", "ü"]), hash_ids(["b", "c"])
    assert len(some) == 3
    assert contains(some, ["ü", "c", "a"]) == [True, False, True]
    assert contains(NONE, ["a"]) == [False]
    assert contains(minus(some, other), ["a", "b"]) == [True, False]
    assert contains(union(some, other), ["a", "c", "d"]) == [True, True, False]
    assert len(minus(some, some)) == 0


def test_what_a_version_follows_survives_the_way_through_json() -> None:
    apart = hash_ids(["new", "newer"])
    follows = Follows(marks=MARKS, begun=MARKS, apart=apart, lacking=NONE)
    again = Follows.from_json(json.loads(json.dumps(follows.to_json())))
    assert (again.marks, again.begun) == (MARKS, MARKS)
    assert again.apart is not None
    assert again.lacking is not None
    assert again.apart.tolist() == apart.tolist()
    assert again.lacking.tolist() == []


def test_too_many_ids_are_not_kept_and_that_is_known() -> None:
    many = np.arange(MOST_APART + 1, dtype=np.uint64)
    follows = Follows(marks=MARKS, begun=MARKS, apart=many, lacking=many[:-1])
    again = Follows.from_json(follows.to_json())
    assert again.apart is None
    assert again.lacking is not None
    assert len(again.lacking) == MOST_APART


def test_who_holds_writers_back_survives_the_way_through_json() -> None:
    builder = new_builder()
    closed = Closed(builder=builder, lease=12.5, lifts=False)
    assert Closed.from_json(json.loads(json.dumps(closed.to_json()))) == closed
    forget(builder.run_id)
    assert LEASE_S < 900, "writers wait for less long than a build is believed to live"


@pytest.mark.parametrize(
    ("status", "kind", "reason", "closed"),
    [
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];", True),
        (404, "index_not_found_exception", "no such index [shop-v0001-edits]", True),
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/12/index read-only / allow delete];", False),
        (403, "security_exception", "action is unauthorized", False),
        (404, "document_missing_exception", "document missing", False),
        (200, None, None, False),
    ],
)
def test_which_refusal_means_a_swap(status: int, kind: str | None, reason: str | None, closed: bool) -> None:
    error = {"error": {"type": kind, "reason": reason}} if kind else {}
    assert is_closed({"status": status, **error}) is closed


def test_notes_of_foreign_versions_are_none() -> None:
    foreign = Version(index="shop", number=None, serving=True, meta=None)
    assert notes([foreign]) == [None]


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ("abcd", "abcd", 1.0),
        ("abcd", "dcba", 1.0),
        ("abcd", "abxy", 0.5),
        ("ab", "abcd", 0.5),
        ("", "", 1.0),
        ("", "a", 0.0),
        ("abcdefghijk", "kbcdefghija", 0.9),
    ],
)
def test_overlap(first: str, second: str, share: float) -> None:
    assert overlap(first, second) == share


def test_latency_of_nothing_and_of_one() -> None:
    assert Answers(rankings={}, seconds=[]).latency_ms() == {"p50": None, "p95": None}
    assert Answers(rankings={}, seconds=[0.5]).latency_ms() == {"p50": 500.0, "p95": 500.0}


class Results:
    """As much of a search result as is looked at."""

    def __init__(self, ids: str) -> None:
        ledger = Ledger.__new__(Ledger)
        self.hits = tuple(
            Hit(id=one, rank=at, score=1.0, ledger=ledger, source={}) for at, one in enumerate(ids, 1)
        )


def query(qid: str, *, exclude: str = "") -> JudgedQuery:
    return JudgedQuery(
        qid=qid, mode="text", lang="", text=qid, image=None, tags=(), exclude=frozenset(exclude)
    )


def test_shadow_asks_both_alike_in_turns() -> None:
    asked: list[tuple[str, str, int]] = []

    def side(name: str, answers: dict[str, str]):  # type: ignore[no-untyped-def]
        def search(one: JudgedQuery, size: int) -> Results:
            asked.append((name, one.qid, size))
            return Results(answers[one.qid])

        return search

    found = shadow(
        [query("q1"), query("q2", exclude="x")],
        side("old", {"q1": "abc", "q2": "xde"}),
        side("new", {"q1": "abz", "q2": ""}),
        qrels={"q1": {"c": 1}, "q2": {"d": 1}},
        rounds=2,
    )
    assert [name for name, _, size in asked if size == 10] == [
        *("old", "new", "new", "old"),
        *("new", "old", "old", "new"),
    ]
    assert found.old.rankings == {"q1": ["a", "b", "c"], "q2": ["d", "e"]}
    assert (found.old.empty, found.new.empty) == ([], ["q2"])
    assert found.least_alike(5) == [("q2", 0.0), ("q1", pytest.approx(2 / 3))]
    assert len(found.new.seconds) == 4
    told = found.to_json(worst=1)
    assert [one["qid"] for one in told["least_alike"]] == ["q2"]
    assert told["nDCG@10"]["difference"] == pytest.approx(-0.75)
    assert not found.is_worse, "two queries are too few to tell"


def test_without_judgements_nobody_says_which_is_better() -> None:
    def search(one: JudgedQuery, size: int) -> Results:
        return Results("ab")

    found = shadow([query("q1")], search, search, rounds=1)  # type: ignore[arg-type]
    assert found.difference is None
    assert not found.is_worse
    assert "nDCG@10" not in found.to_json(worst=5)
