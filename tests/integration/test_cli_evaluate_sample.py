"""The contract of `evaluate` and `demo`."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from PIL import Image

from es_xmodal.cli import demo
from tests.support.cli import SAMPLE, Cli

pytestmark = pytest.mark.integration

NAMES = ("nDCG@10", "R@10", "R@100", "RR@10", "Success@1")
MEASURES = {*NAMES, *(f"{name}_condensed" for name in NAMES), "Judged@10"}
SUMMARY = {*MEASURES, "queries", "empty_queries", "by"}


@pytest.fixture(scope="module")
def some_queries(sample_cli: Cli) -> list[str | Path]:
    """Every fourth query of the sample: all modes, some with `exclude=`."""
    header, *lines = (SAMPLE / "queries.tsv").read_text(encoding="utf-8").splitlines()
    pictured = [line.replace("\tphotos/", f"\t{SAMPLE}/photos/") for line in lines[::4]]
    path = sample_cli.home / "queries.tsv"
    path.write_text("\n".join([header, *pictured, ""]), encoding="utf-8")
    return ["evaluate", "--queries", path, "--qrels", SAMPLE / "qrels.txt"]


def queries_of(arguments: list[str | Path]) -> list[dict[str, str]]:
    header, *lines = Path(arguments[2]).read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_evaluate_json(sample_cli: Cli, some_queries: list[str | Path]) -> None:
    answer = sample_cli.json(*some_queries, "--per-query")
    assert list(answer) == ["default"]
    summary = answer["default"]
    assert set(summary) == {*SUMMARY, "per_query"}
    asked = queries_of(some_queries)
    assert (summary["queries"], summary["empty_queries"]) == (len(asked), 0)
    assert {f"mode={mode}" for mode in ("text", "image", "text+image")} <= set(summary["by"])
    assert sum(summary["by"][f"mode={m}"]["queries"] for m in ("text", "image", "text+image")) == len(asked)
    for name in MEASURES:
        values = summary["per_query"][name]
        assert set(values) == {one["qid"] for one in asked}
        assert summary[name] == pytest.approx(math.fsum(values.values()) / len(values))
    assert summary["nDCG@10"] > 0.5
    assert "per_query" not in sample_cli.json(*some_queries)["default"]


def test_a_run_has_a_hundred_hits_a_query(
    sample_cli: Cli, some_queries: list[str | Path], tmp_path: Path
) -> None:
    run = tmp_path / "run.txt"
    done = sample_cli.here(*some_queries, "--run-out", run)
    assert done.code == 0
    assert all(name in done.out for name in ("nDCG@10", "Judged@10", "default", "mode=image"))
    lines = [line.split(" ") for line in run.read_text(encoding="utf-8").splitlines()]
    assert all(len(line) == 6 and (line[1], line[5]) == ("Q0", "default") for line in lines)
    asked = {one["qid"]: one for one in queries_of(some_queries)}
    found = {qid: list(group) for qid, group in itertools.groupby(lines, key=lambda line: line[0])}
    assert set(found) == set(asked)
    for qid, ranking in found.items():
        # 120 products; only 80 have a picture, and only they are near a picture.
        assert len(ranking) >= (79 if asked[qid]["mode"] == "image" else 100)
        assert [int(line[3]) for line in ranking] == list(range(1, len(ranking) + 1))
        scores = [float(line[4]) for line in ranking]
        assert scores == sorted(set(scores), reverse=True)
        products = [line[2] for line in ranking]
        assert len(set(products)) == len(products)
        excluded = [
            tag.removeprefix("exclude=") for tag in asked[qid]["tags"].split(";") if "exclude=" in tag
        ]
        assert not set(excluded) & set(products)


def test_configurations(sample_cli: Cli, some_queries: list[str | Path], tmp_path: Path) -> None:
    """Each knob reaches the search: alone by words, alone by option, alone by file."""
    configs = {
        "all of it": {},
        "words": {"weights": {"text": 0, "image": 0, "visual": 0.001}},
        "boost": {"fusion": "boost"},
        "narrow": {"window": 10},
    }
    path = tmp_path / "configs.json"
    path.write_text(json.dumps(configs))
    run = tmp_path / "run.txt"
    answer = sample_cli.json(*some_queries, "--configs", path, "--run-out", run)
    assert list(answer) == list(configs)
    assert answer["all of it"] == sample_cli.json(*some_queries)["default"]
    assert run.read_text().splitlines()[0].endswith(" all_of_it")
    for name, options in (
        ("words", ["--weight", "text=0", "--weight", "image=0", "--weight", "visual=0.001"]),
        ("boost", ["--fusion", "boost"]),
    ):
        alone = sample_cli.json(*some_queries, *options)["default"]
        assert [alone[measure] for measure in MEASURES] == [answer[name][measure] for measure in MEASURES]
        assert answer[name] != answer["all of it"]
    narrow = run.with_name("run-narrow.txt").read_text().splitlines()
    assert 0 < len(narrow) < len(run.read_text().splitlines())


def test_a_query_without_hits_is_said(sample_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "queries.tsv").write_text(
        "qid\tmode\tlang\ttext\timage\ttags\nq1\ttext\ten\tzzzzz\t\t\nq2\ttext\ten\tsofa\t\t\n"
    )
    (tmp_path / "qrels.txt").write_text("q1 0 none 1\nq2 0 leather-sofa 1\n")
    files: list[str | Path] = ["--queries", tmp_path / "queries.tsv", "--qrels", tmp_path / "qrels.txt"]
    words = ["--weight", "text=0", "--weight", "image=0"]
    answer: dict[str, Any] = sample_cli.json("evaluate", *files, *words, code=1)
    assert answer["default"]["empty_queries"] == 1
    assert answer["default"]["R@10"] == 0.5


def test_demo(bare_cli: Cli, sample_cli: Cli) -> None:
    index = f"{sample_cli.options[-1]}-demo"
    with mock.patch.object(demo, "INDEX", index):
        done = bare_cli.here("demo", "--url", bare_cli.variables["ES_XMODAL_URL"], "--out", "sheet.png")
        again = bare_cli.here("demo", "--url", bare_cli.variables["ES_XMODAL_URL"], "--out", "sheet.png")
    assert (done.code, done.err, again.code) == (0, "", 0)
    for title, text, _, photo in demo.SEARCHES:
        assert f"\n{title}: " in done.out
        assert text in done.out
        assert (photo or "") in done.out
    assert done.out.count("best picture") == len(demo.SEARCHES)
    assert "leather-sofa" in done.out
    with Image.open(bare_cli.home / "sheet.png") as sheet:
        assert min(sheet.size) > 500
        assert len(sheet.convert("RGB").resize((64, 64)).getcolors(5000) or []) > 500
