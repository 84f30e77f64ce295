"""Queries, judgements and measures, against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from es_xmodal.errors import UsageError
from es_xmodal.evaluation.measures import average, per_query
from es_xmodal.evaluation.queries import JudgedQuery, read_qrels, read_queries
from es_xmodal.evaluation.runner import evaluate, measure
from es_xmodal.evaluation.trec import read_run, trec_lines
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
        (f"{HEADER}q1\ttext\t\tx\t\t\nq1\ttext\t\ty\t\t\n", "line 3: qid q1 is that of line 2"),
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
    for text in ("q1 0 a 2\nq1 a 2\n", "q1 0 a 2\nq1 0 b ²\n", "q1 0 a 2\nq1 0 a 1\n"):
        path.write_text(text, "utf-8")
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
    assert found.values["Success@1"]["q1"] == 0.0
    assert found.values["Success@1_condensed"]["q1"] == 1.0
    assert found.values["nDCG@10"]["q2"] == 0.0
    summary = found.to_json()
    assert summary["nDCG@10"] == pytest.approx(dcg / ideal / 2)
    assert (summary["queries"], summary["empty_queries"]) == (2, 1)
    assert summary["by"]["mode=text,lang=zh"]["queries"] == 1
    assert summary["by"]["tag=t1"]["RR@10"] == pytest.approx(0.5)
    assert list(summary["by"]) == [
        "mode=text",
        "mode=text,lang=en",
        "mode=text,lang=zh",
        "lang=en",
        "lang=zh",
        "tag=t1",
    ]


def test_excluded_products_leave_the_ranking(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text(f"{HEADER}q1\ttext\ten\tmug\t\texclude=a\n", "utf-8")
    found = evaluate(read_queries(path), {"q1": {"b": 1}}, lambda query, size: result("a", "b"))
    assert found.values["RR@10"]["q1"] == 1.0
    assert trec_lines(found.run, "me") == ["q1 Q0 b 1 1 me"]


def test_nothing_found_and_nothing_asked() -> None:
    assert per_query({"q": {"a": 1}}, {"q": {}})["nDCG@10"] == {"q": 0.0}
    assert average({"nDCG@10": {"q": 1.0}}, []) == {}


def test_a_run_keeps_100_hits_and_what_lies_beyond_is_not_measured() -> None:
    queries = [judged("q1"), judged("q2")]
    ids = [f"p{number}" for number in range(150)]
    found = measure(queries, {"q1": {"p99": 1}, "q2": {"p100": 1}}, {"q1": ids, "q2": ids})
    assert found.values["R@100"] == {"q1": 1.0, "q2": 0.0}
    assert found.values["R@10"]["q1"] == 0.0
    assert len(found.run["q1"]) == 100


def test_every_search_asks_for_100_hits_beside_what_is_excluded_and_says_that_it_is_done() -> None:
    asked: list[int] = []
    steps: list[int] = []

    def search(query: JudgedQuery, size: int) -> SearchResult:
        asked.append(size)
        return result("a")

    queries = [judged("q1"), judged("q2", exclude=frozenset({"x", "y"})), judged("no judgement")]
    evaluate(queries, {"q1": {"a": 1}, "q2": {"a": 1}}, search, lambda: steps.append(1))
    assert asked == [100, 102]
    assert len(steps) == 2


def judged(qid: str, exclude: frozenset[str] = frozenset()) -> JudgedQuery:
    return JudgedQuery(
        qid=qid, mode="text", lang="", text=f"words of {qid}", image=None, tags=(), exclude=exclude
    )


def test_a_run_goes_out_and_comes_in(tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    run = {"q1": {"b": 2.0, "a": 1.0}, "q2": {"c": 1.0}}
    lines = trec_lines(run, "two words")
    assert lines[0] == "q1 Q0 b 1 2 two_words"
    path.write_text("\n".join([*lines, ""]))
    assert read_run(path) == {"q1": ["b", "a"], "q2": ["c"]}
    with pytest.raises(UsageError, match="'a b' has white space"):
        trec_lines({"q1": {"a b": 1.0}}, "x")


def test_the_scores_of_a_run_decide_and_then_its_ranks(tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text("\ufeffq1 Q0 low 1 0.5 me\n\nq1\tQ0\ttie2\t9\t7e-1\tme\nq1 0 tie1 2 .7 me\r\n", "utf-8")
    assert read_run(path) == {"q1": ["tie1", "tie2", "low"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no hit"),
        ("q1 Q0 a 1 2 me\nq1 Q0 b 2 1\n", "line 2: 5 columns, not 6"),
        ("q1 Q0 a 1 2 my run\n", "line 1: 7 columns"),
        ("q1 Q0 a 1 2 me\n\nq1 Q0 a 2 1 me\n", "line 3: a is a hit of q1 twice"),
        ("q1 Q0 a one 2 me\n", "line 1: rank 'one'"),
        ("q1 Q0 a 1 two me\n", "score 'two' is not a number"),
        ("q1 Q0 a 1 nan me\n", "line 1: score 'nan' is not a finite number"),
    ],
)
def test_broken_runs(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=says):
        read_run(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_run(tmp_path / "none.txt")
