"""`evaluate` and `search --explain` on a real cluster, as a person calls them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from es_xmodal.cli.explain_chart import COLOURS, WIDTH
from es_xmodal.evaluation.trec import read_run
from tests.support.cli import Cli
from tests.support.nodes import delete_everything_named
from tests.support.shops import write_shop

pytestmark = pytest.mark.integration

QUERIES = (
    "qid\tmode\tlang\ttext\timage\ttags\n"
    "q1\ttext\ten\tmug\t\tmany\n"
    "q2\ttext\tzh\t台灯\t\t\n"
    "q3\timage\t\t\timages/sofa-0.png\texclude=mug-red\n"
    "q4\ttext+image\ten\tleather\timages/sofa-0.png\t\n"
)
QRELS = "q1 0 mug-red 2\nq1 0 mug-blue 2\nq2 0 lamp 1\nq3 0 sofa 1\nq4 0 sofa 1\n"
CONFIGS: dict[str, Any] = {
    "default": {},
    "no words": {"weights": {"lexical": 0, "text": 0}},
    "own query": {"lexical_query": {"match": {"title": "{{query}}"}}, "window": 20},
}
RUN = "q1 Q0 mug-red 1 3 them\nq1 Q0 towel 2 2 them\nq3 Q0 mug-red 1 2 them\nq3 Q0 sofa 2 1 them\n"


@pytest.fixture(scope="module")
def shop(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    home = tmp_path_factory.mktemp("evaluate")
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=home, options=("--index", f"{prefix}shop"), variables={"ES_XMODAL_URL": es_url})
    write_shop(home)
    files = {"queries.tsv": QUERIES, "qrels.txt": QRELS, "configs.json": json.dumps(CONFIGS), "run.txt": RUN}
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8")
    assert cli.here("ingest", "catalog.jsonl").code == 0
    yield cli
    delete_everything_named(es_url, prefix)


def evaluate(*options: str) -> list[str]:
    return ["evaluate", "--queries", "queries.tsv", "--qrels", "qrels.txt", *options]


def test_configurations_and_a_run_side_by_side(shop: Cli) -> None:
    options = ("--configs", "configs.json", "--run", "theirs=run.txt", "--worst", "1", "--per-query")
    found = shop.json(*evaluate(*options), code=1)  # the run answers two of four queries
    assert list(found) == ["default", "no words", "own query", "theirs"]
    for measures in found.values():
        assert measures["queries"] == 4
        for name in ("nDCG@10", "R@10", "R@100", "RR@10", "Success@1"):
            assert 0 <= measures[name] <= measures[f"{name}_condensed"] <= 1
        assert 0 < measures["Judged@10"] <= 1
    theirs = found["theirs"]
    assert theirs["empty_queries"] == 2
    assert theirs["per_query"]["R@10"] == {"q1": 0.5, "q2": 0.0, "q3": 1.0, "q4": 0.0}
    assert theirs["per_query"]["RR@10"]["q3"] == 1.0, "what the query excludes is left out of a run too"
    best = found["default"]
    assert best["empty_queries"] == 0
    assert best["per_query"]["Success@1"]["q3"] == 1.0
    assert best["by"]["mode=text,lang=zh"]["queries"] == 1
    assert best["by"]["tag=many"]["nDCG@10"] == best["per_query"]["nDCG@10"]["q1"]
    against = theirs["against"]["R@10"]
    assert against["difference"] == pytest.approx(theirs["R@10"] - best["R@10"])
    assert against["worse"] == 3
    assert against["low"] <= against["difference"] <= against["high"]
    assert against["p"] <= against["p_holm"] <= 1
    assert theirs["worst"][0]["difference"] == -1.0
    assert "against" not in best
    own = found["own query"]["per_query"]["nDCG@10"]
    assert own["q3"] == best["per_query"]["nDCG@10"]["q3"], "a photo has no words for the shop's own query"


def test_the_table(shop: Cli) -> None:
    options = ("--configs", "configs.json", "--by", "tag,mode", "--worst", "2")
    done = shop.here(*evaluate(*options))
    assert done.code == 0, done
    assert done.err == "", "no bar where standard error is no terminal"
    for part in ("mode=text+image", "tag=many", "against default", "Success@1", "corrected by Holm for 2"):
        assert part in done.out
    assert "lang=" not in done.out


def test_runs_go_out_and_come_back_the_same(shop: Cli) -> None:
    first = shop.json(*evaluate("--configs", "configs.json", "--run-out", "out.trec"))
    names = ["out.trec", "out-no_words.trec", "out-own_query.trec"]
    assert {path.name for path in shop.home.glob("out*")} == set(names)
    run = read_run(shop.home / names[0])
    assert list(run) == ["q1", "q2", "q3", "q4"]
    assert len(run["q1"]) == 6, "all that there is, since a run holds 100 hits"
    assert "mug-red" not in run["q3"]
    again = shop.json(*evaluate("--run", f"saved={names[0]}", "--run-out", "one.trec"))
    assert (shop.home / "one.trec").read_text() == (shop.home / names[0]).read_text()
    for name in ("nDCG@10", "Judged@10", "Success@1"):
        assert again["saved"][name] == again["default"][name] == first["default"][name]
    assert again["saved"]["against"]["nDCG@10"]["p"] == 1.0


def test_explained_hits_add_up(shop: Cli) -> None:
    options = ("--image", "images/sofa-0.png", "--filter", "price>=10", "--size", "3")
    plain = shop.json("search", "red mug", *options)
    found = shop.json("search", "red mug", *options, "--explain")
    ranks: dict[str, list[int]] = {}
    for hit, other in zip(found["hits"], plain["hits"], strict=True):
        why = hit.pop("explain")
        assert set(hit) == set(other), "the contract's keys are as without it"
        assert hit["id"] == other["id"]
        assert sum(leg["contribution"] for leg in why["legs"].values()) == pytest.approx(
            hit["score"], abs=1e-6
        )
        for name, leg in why["legs"].items():
            rank = leg.pop("rank")
            assert leg == hit["legs"][name]
            if rank is not None:
                ranks.setdefault(name, []).append(rank)
        assert why["filters"] == {"price": hit["source"]["price"]}
        assert why["best_image"] == hit["best_image"]
    assert all(len(set(places)) == len(places) for places in ranks.values()), "no two products share a place"
    assert 1 in ranks["visual"]
    mug = next(hit for hit in shop.json("search", "red mug", "--explain")["hits"] if hit["id"] == "mug-red")
    assert mug["explain"]["matched"] == {"title": ["Red", "mug"]}
    assert mug["explain"]["legs"]["lexical"]["rank"] == 1


def test_one_round_trip_has_no_ranks_in_the_legs(shop: Cli) -> None:
    found = shop.json("search", "red mug", "--fusion", "boost", "--explain")
    assert {leg["rank"] for hit in found["hits"] for leg in hit["explain"]["legs"].values()} == {None}


@pytest.mark.parametrize("name", ["chart.png", "chart.svg"])
def test_the_chart(shop: Cli, name: str) -> None:
    done = shop.here("search", "red mug", "--image", "images/sofa-0.png", "--explain-chart", name)
    assert done.code == 0, done
    path = Path(shop.home / name)
    if name.endswith("svg"):
        assert "Red ceramic mug" in path.read_text("utf-8")
        return
    with Image.open(path) as chart:
        colours = {colour for _, colour in chart.convert("RGB").getcolors(1 << 20) or []}
        assert chart.width == WIDTH
    assert {COLOURS[leg] for leg in ("lexical", "text", "image", "visual")} <= colours


def test_a_chart_of_another_kind_is_refused_before_the_search(shop: Cli) -> None:
    done = shop.here("search", "mug", "--explain-chart", "chart.gif")
    assert done.code == 2
    assert "neither .png nor .svg" in done.err
    assert done.out == ""
