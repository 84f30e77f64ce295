"""Paired tests: against scipy's own, and where scipy has no answer against numbers worked out by hand."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from scipy import stats

from es_xmodal.cli.evaluation_options import check_options, groups_shown, read_runs, run_paths
from es_xmodal.cli.evaluation_report import Report, show
from es_xmodal.errors import UsageError
from es_xmodal.evaluation.compare import compare, holm, paired, worst
from es_xmodal.evaluation.queries import JudgedQuery
from es_xmodal.evaluation.runner import Evaluation, measure

pytestmark = pytest.mark.unit

QIDS = ("q1", "q2", "q3", "q4")
QRELS = {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}, "q4": {"d": 1}}


def queries() -> list[JudgedQuery]:
    languages = {"q1": "en", "q2": "en", "q3": "zh", "q4": "zh"}
    return [
        JudgedQuery(
            qid=qid,
            mode="text",
            lang=languages[qid],
            text=f"words of {qid}",
            image=None,
            tags=("odd",) if qid in ("q1", "q3") else (),
            exclude=frozenset(),
        )
        for qid in QIDS
    ]


def report() -> Report:
    """`good` has every product first; `bad` loses half of q1 and all of q3; `lost` finds nothing."""
    good = {"q1": ["a"], "q2": ["b"], "q3": ["c"], "q4": ["d"]}
    bad = {**good, "q1": ["x", "a"], "q3": ["x"]}
    runs = {"good": good, "bad": bad, "lost": {}}
    done = {name: measure(queries(), QRELS, run) for name, run in runs.items()}
    return Report(done=done, queries={one.qid: one for one in queries()})


@pytest.mark.parametrize("count", [2, 5, 200])
def test_the_paired_test_is_that_of_scipy(count: int) -> None:
    dice = random.Random(count)
    first = [dice.random() for _ in range(count)]
    other = [min(1.0, one + dice.gauss(0.05, 0.2)) for one in first]
    found = paired(first, other)
    expected = stats.ttest_rel(other, first)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(float(expected.pvalue), rel=1e-9)
    assert found.low == pytest.approx(interval.low)
    assert found.high == pytest.approx(interval.high)
    assert found.difference == pytest.approx(math.fsum(other) / count - math.fsum(first) / count)
    assert found.better + found.worse == found.queries == count


def test_by_hand() -> None:
    # gains .1, .2, .3: mean .2, standard error .1 / sqrt(3), t = 2 sqrt(3) with two degrees of freedom,
    # whose distribution has a closed form: p = 1 - t / sqrt(t * t + 2).
    found = paired([0.1, 0.1, 0.1], [0.2, 0.3, 0.4])
    t = 2 * math.sqrt(3)
    assert found.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert found.difference == pytest.approx(0.2)
    assert found.high is not None
    assert found.high - 0.2 == pytest.approx(4.30265 * 0.1 / math.sqrt(3), rel=1e-5)
    assert (found.better, found.worse) == (3, 0)


@pytest.mark.parametrize(
    ("first", "other", "p", "interval"),
    [
        ([0.5, 0.5, 0.1], [0.5, 0.5, 0.1], 1.0, (0.0, 0.0)),
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], 0.25, (0.1, 0.1)),  # two of the eight ways to flip three signs
        ([0.5], [0.9], 1.0, (None, None)),
    ],
)
def test_where_t_has_no_value(
    first: list[float], other: list[float], p: float, interval: tuple[float | None, float | None]
) -> None:
    found = paired(first, other)
    assert found.p == p
    assert found.low == pytest.approx(interval[0])
    assert found.high == pytest.approx(interval[1])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_several_configurations_are_compared_with_the_first() -> None:
    done = report().done
    found = compare(done["good"], {"bad": done["bad"], "lost": done["lost"]}, QIDS)
    one = found["bad"]["RR@10"]
    assert one.difference == pytest.approx(-(0.5 + 1) / 4)
    assert (one.better, one.worse, one.queries) == (0, 2, 4)
    lost = found["lost"]["RR@10"]
    assert lost.difference == -1.0
    assert lost.p == 2**-3
    assert lost.p_holm == pytest.approx(2 * lost.p)
    assert one.p_holm == pytest.approx(max(one.p, lost.p_holm))


def test_the_biggest_losses_come_first() -> None:
    first, other = {"a": 1.0, "b": 0.5, "c": 0.2, "d": 0.9}, {"a": 0.9, "b": 0.0, "c": 0.4, "d": 0.9}
    assert worst(other, first, 10) == [("b", -0.5), ("a", pytest.approx(-0.1))]
    assert worst(other, first, 1) == [("b", -0.5)]
    assert worst(other, None, 2) == [("b", 0.0), ("c", 0.4)]


def test_json() -> None:
    found = report().to_json(per_query=False, worst_count=None)
    assert list(found) == ["good", "bad", "lost"]
    assert found["good"]["nDCG@10"] == 1.0
    assert "against" not in found["good"]
    assert found["bad"]["against"]["first"] == "good"
    assert found["bad"]["against"]["Success@1"]["difference"] == -0.5
    assert found["bad"]["by"]["tag=odd"]["against"]["Success@1"]["difference"] == -1.0
    assert found["bad"]["by"]["lang=en"]["against"]["RR@10"]["difference"] == -0.25
    assert found["lost"]["empty_queries"] == 4
    assert "worst" not in found["bad"]
    assert "per_query" not in found["bad"]
    more = report().to_json(per_query=True, worst_count=1)
    assert more["bad"]["per_query"]["RR@10"] == {"q1": 0.5, "q2": 1.0, "q3": 0.0, "q4": 1.0}
    assert more["bad"]["worst"] == [
        {
            "qid": "q3",
            "mode": "text",
            "text": "words of q3",
            "image": None,
            "nDCG@10": 0.0,
            "first": 1.0,
            "difference": -1.0,
        }
    ]


@pytest.mark.parametrize(
    ("by", "there", "absent"),
    [
        ("mode", ["  mode=text "], ["lang=", "tag="]),
        ("lang", ["  lang=en ", "  lang=zh "], ["mode=", "tag="]),
        ("tag", ["  tag=odd "], ["mode=", "lang="]),
        ("mode,lang", ["  mode=text ", "  mode=text,lang=en "], ["tag=", "  lang="]),
    ],
)
def test_tables(by: str, there: list[str], absent: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    show(report(), by=groups_shown(by), worst_count=1)
    text = capsys.readouterr().out
    for part in there:
        assert text.count(part) == 5, "three configurations and two comparisons"
    for part in absent:
        assert part not in text
    assert "corrected by Holm for 2 comparisons in each measure, not for" in text
    assert "biggest losses of bad in nDCG@10" in text
    assert "words of q3" in text
    assert "lowest" not in text


def test_one_configuration_alone(capsys: pytest.CaptureFixture[str]) -> None:
    both = report()
    show(Report(done={"bad": both.done["bad"]}, queries=both.queries), by=["mode"], worst_count=2)
    text = capsys.readouterr().out
    assert "against" not in text
    assert "lowest nDCG@10 of bad" in text
    assert text.index("words of q3") < text.index("words of q1")


def test_values_are_not_those_of_other_queries() -> None:
    values = {"nDCG@10": {"q1": 1.0, "q2": 0.0}}
    lower = {"nDCG@10": {"q2": 0.0, "q1": 0.5}}
    first = Evaluation(run={"q1": {}, "q2": {}}, values=values, empty=(), groups={})
    other = Evaluation(run={"q1": {}, "q2": {}}, values=lower, empty=(), groups={})
    assert compare(first, {"x": other}, ["q1"])["x"]["nDCG@10"].difference == -0.5


def test_paths_of_runs() -> None:
    out = Path("folder/run.txt")
    assert run_paths(out, ["any name"]) == {"any name": out}
    assert run_paths(out, ["first", "a b", "../c"]) == {
        "first": out,
        "a b": Path("folder/run-a_b.txt"),
        "../c": Path("folder/run-.._c.txt"),
    }
    with pytest.raises(UsageError, match=r"'a b' and 'a/b' would both go to run-a_b\.txt"):
        run_paths(out, ["first", "a b", "a/b"])


def test_options(tmp_path: Path) -> None:
    path = tmp_path / "a=b.txt"
    path.write_text("q1 Q0 a 1 2 me\n")
    assert read_runs([f"theirs={path}"], taken=["default"]) == {"theirs": {"q1": ["a"]}}
    for given, says in (
        ([str(path.name)], "cannot be read"),
        (["theirs"], "write --run NAME=FILE"),
        ([f"={path}"], "write --run NAME=FILE"),
        ([f"default={path}"], "of that name already"),
        ([f"x={path}", f"x={path}"], "of that name already"),
    ):
        with pytest.raises(UsageError, match=says):
            read_runs(given, taken=["default"])
    assert groups_shown(None) == {"mode", "lang"}
    with pytest.raises(UsageError, match="'price' is none of mode, lang, tag"):
        groups_shown("mode,price")
    options = {"fusion": None, "weights": (), "per_query": False, "run_out": None}
    with pytest.raises(UsageError, match="--by does not go with --json"):
        check_options(None, {**options, "by": "tag", "as_json": True})
    check_options(None, {**options, "by": "tag", "as_json": False})
