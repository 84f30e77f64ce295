"""Queries, judgements and measures, against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from es_xmodal.errors import UsageError
from es_xmodal.evaluation.measures import average, per_query
from es_xmodal.evaluation.queries import read_qrels, read_queries
from es_xmodal.evaluation.runner import evaluate, trec_lines
from es_xmodal.query.fusion import Ledger
from es_xmodal.search.result import Hit, SearchResult, Total

pytestmark = pytest.mark.unit

HEADER = "qid\tmode\tlang\ttext\timage\ttags\n"


def result(*ids: str) -> SearchResult:
    hits = tuple(
        Hit(id=one, rank=rank, score=0.5, ledger=Ledger({}), source={})
        for rank, one in enumerate(ids, start=1)
    )
    total = Total(value=len(ids), at_least=False, reachable=len(ids))
    return SearchResult(hits=hits, total=total, took_ms=1, fusion="convex", legs=(), requests=2)


def test_reading_queries(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text(
        f'{HEADER}q1\tcomposed\tzh\t"红"\ta/b.jpg\tx, y;exclude=p9\nq2\ttext\ten\tmug\t\t\n', "utf-8"
    )
    one, two = read_queries(path)
    assert (one.mode, one.text, one.image, one.tags) == (
        "text+image",
        '"红"',
        tmp_path / "a/b.jpg",
        ("x", "y"),
    )
    assert one.exclude == {"p9"}
    assert (two.image, two.tags, two.exclude) == (None, (), frozenset())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("qid\tmode\n", "lacks lang"),
        (f"{HEADER}q1\tsound\t\tx\t\t\n", "line 2"),
        (f"{HEADER}\ttext\t\tx\t\t\n", "qid"),
    ],
)
def test_broken_queries(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=says):
        read_queries(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_queries(tmp_path / "none.tsv")


def test_reading_qrels(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_text("q1 0 a 2\n\nq1 0 b 1\n")
    assert read_qrels(path) == {"q1": {"a": 2, "b": 1}}
    path.write_text("q1 0 a 2\nq1 a 2\n")
    with pytest.raises(UsageError, match="line 2"):
        read_qrels(path)


def test_measures_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text(f"{HEADER}q1\ttext\ten\tmug\t\tt1\nq2\ttext\tzh\tcup\t\t\nq3\ttext\ten\tx\t\t\n", "utf-8")
    qrels = {"q1": {"a": 2, "b": 1}, "q2": {"c": 2}}
    answers = {"mug": result("z", "a", "b"), "cup": result()}
    found = evaluate(read_queries(path), qrels, lambda query, size: answers[query.text])
    dcg = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert found.values["nDCG@10"]["q1"] == pytest.approx(dcg / ideal)
    assert found.values["nDCG@10_condensed"]["q1"] == pytest.approx(1.0)
    assert found.values["RR@10"]["q1"] == pytest.approx(0.5)
    assert found.values["Judged@10"]["q1"] == pytest.approx(2 / 3)
    assert found.values["nDCG@10"]["q2"] == 0.0
    summary = found.to_json()
    assert summary["nDCG@10"] == pytest.approx(dcg / ideal / 2)
    assert (summary["queries"], summary["empty_queries"]) == (2, 1)
    assert summary["by"]["mode=text,lang=zh"]["queries"] == 1
    assert summary["by"]["tag=t1"]["RR@10"] == pytest.approx(0.5)


def test_excluded_products_leave_the_ranking(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text(f"{HEADER}q1\ttext\ten\tmug\t\texclude=a\n", "utf-8")
    found = evaluate(read_queries(path), {"q1": {"b": 1}}, lambda query, size: result("a", "b"))
    assert found.values["RR@10"]["q1"] == 1.0
    assert trec_lines(found.run, "me") == ["q1 Q0 b 1 1 me"]


def test_nothing_found_and_nothing_asked() -> None:
    assert per_query({"q": {"a": 1}}, {"q": {}})["nDCG@10"] == {"q": 0.0}
    assert average({"nDCG@10": {"q": 1.0}}, []) == {}
