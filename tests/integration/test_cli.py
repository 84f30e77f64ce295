"""The contract of `search` and `plan`: what is printed, and that every option does something."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from es_xmodal import __version__
from es_xmodal.cli.search import plan as plan_command
from es_xmodal.cli.search import search as search_command
from es_xmodal.local.process import ProcessId
from es_xmodal.local.state import NodeEntry, State, write_state
from tests.support.cli import SAMPLE, Cli, Reply, environment, http_server, send
from tests.support.nodes import call

pytestmark = pytest.mark.integration

PHOTO = SAMPLE / "photos" / "running-shoe.jpg"
TEXT = "green plant in a pot"
MODES: dict[str, tuple[list[str], list[str]]] = {
    "text": ([TEXT], ["lexical", "text", "image"]),
    "image": (["--image", str(PHOTO)], ["image", "visual"]),
    "text+image": (["in white", "--image", str(PHOTO)], ["lexical", "text", "image", "visual"]),
}


def ids(answer: Mapping[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


@pytest.mark.parametrize("mode", MODES)
def test_search_json(sample_cli: Cli, mode: str) -> None:
    args, legs = MODES[mode]
    answer = sample_cli.json("search", *args, "--size", "7")
    assert list(answer) == ["total", "took_ms", "plan", "hits", "facets", "cursor", "warnings"]
    assert set(answer["total"]) == {"value", "relation", "reachable"}
    assert answer["took_ms"] > 0
    assert sorted(answer["plan"].pop("legs")) == sorted(legs)
    assert (answer["plan"]["fusion"], answer["plan"]["requests"]) == ("convex", 2)
    assert (answer["facets"], answer["warnings"]) == ({}, [])
    assert isinstance(answer["cursor"], str)
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5, 6, 7]
    for hit in answer["hits"]:
        assert set(hit) == {"id", "score", "rank", "source", "legs", "highlight", "best_image"}
        assert hit["source"]["id"] == hit["id"]
        assert sorted(hit["legs"]) == sorted(legs)
        for part in hit["legs"].values():
            assert list(part) == ["raw", "normalised", "weight", "contribution"]
            assert part["contribution"] == pytest.approx(part["weight"] * part["normalised"])
        assert sum(part["contribution"] for part in hit["legs"].values()) == pytest.approx(hit["score"])
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_a_hit_is_the_row_of_the_catalogue(sample_cli: Cli) -> None:
    (hit,) = sample_cli.json("search", "leather sofa", "--size", "1")["hits"]
    rows = map(json.loads, (SAMPLE / "catalog.jsonl").read_text(encoding="utf-8").splitlines())
    row = next(row for row in rows if row["id"] == "leather-sofa")
    attributes = {name: [value] for name, value in row.pop("attributes").items()}
    assert hit["source"].pop("attributes") == attributes
    assert hit["source"] == row
    assert hit["best_image"] in row["images"]
    assert "<em>Leather</em>" in hit["highlight"]["title"]
    (zh,) = sample_cli.json("search", "真皮沙发", "--size", "1")["hits"]
    assert zh["id"] == "leather-sofa"
    assert "<em>" in zh["highlight"]["title_zh"]
    assert zh["highlight"]["title_zh"].replace("<em>", "").replace("</em>", "") == row["title_zh"]


def bodies(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All request bodies of `plan --json`; the last one is the page."""
    return [body for request in answer["requests"] for body in request["bodies"]]


def test_plan_json(sample_cli: Cli, es_url: str) -> None:
    answer = sample_cli.json("plan", TEXT, "--image", PHOTO)
    assert {"fusion", "legs", "requests", "warnings"} <= set(answer)
    assert answer["fusion"] == "convex"
    assert [set(leg) for leg in answer["legs"]] == [{"name", "weight"}] * 4
    first, last = answer["requests"]
    assert set(first) == {"index", "endpoint", "params", "bodies"}
    assert (first["endpoint"], last["endpoint"]) == ("_msearch", "_search")
    assert len(first["bodies"]) == len(answer["legs"])
    assert '"script' not in json.dumps(answer)
    # It is what `search` does: the same requests give the same hits in the same order.
    query = "&".join(f"{name}={value}" for name, value in last["params"].items())
    status, found = call(es_url, "POST", f"/{last['index']}/_search?{query}", last["bodies"][0])
    assert status == 200
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ids(
        sample_cli.json("search", TEXT, "--image", PHOTO)
    )


def pasted(es_url: str, text: str) -> list[dict[str, Any]]:
    """Send each request of a text for Kibana's Console, as the Console does."""
    answers = []
    for block in text.strip().split("\n\n"):
        head, _, body = block.partition("\n")
        method, path = head.split(" ", 1)
        kind = "application/x-ndjson" if "_msearch" in path else "application/json"
        status, answer = send(es_url, method, f"/{path}", f"{body}\n".encode(), kind)
        assert status == 200, answer
        answers.append(answer)
    return answers


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_plan_runs_as_pasted(sample_cli: Cli, es_url: str, mode: str, fusion: str) -> None:
    args = [*MODES[mode][0], "--fusion", fusion, "--filter", "price<=500"]
    shown = sample_cli.here("plan", *args)
    assert (shown.code, shown.err) == (0, "")
    *_, last = answers = pasted(es_url, shown.out)
    assert len(answers) == {"convex": 2, "boost": 1}[fusion]
    assert [hit["_id"] for hit in last["hits"]["hits"]] == ids(sample_cli.json("search", *args))
    for answer in answers[0].get("responses", []):
        assert answer["status"] == 200


Differ = Callable[[Any, Any], bool]
# Option -> arguments, and what must be different in `plan --json` (before, after).
OPTIONS: dict[str, tuple[list[str], Differ]] = {
    "images": (["--image", str(PHOTO)], lambda a, b: len(b["legs"]) == len(a["legs"]) + 1),
    "filters": (["--filter", "price<=20"], lambda a, b: json.dumps(b).count('"lte": 20') >= len(b["legs"])),
    "size": (["--size", "3"], lambda a, b: (bodies(a)[-1]["size"], bodies(b)[-1]["size"]) == (10, 3)),
    "fusion": (["--fusion", "boost"], lambda a, b: len(b["requests"]) == 1),
    "weights": (["--weight", "image=0"], lambda a, b: [x["name"] for x in b["legs"]] == ["lexical", "text"]),
    "window": (["--window", "20"], lambda a, b: {body["size"] for body in bodies(b)[:-1]} == {20}),
    "like": (["--like", "leather-sofa"], lambda a, b: len(b["legs"]) == len(a["legs"]) + 1),
    "minus": (["--minus", "cactus"], lambda a, b: bodies(a)[1] != bodies(b)[1]),
    "collapse": (["--collapse"], lambda a, b: bodies(b)[-1]["collapse"]["field"] == "collapse_key"),
    "cutoff": (["--cutoff", "2"], lambda a, b: '"similarity"' in json.dumps(b)),
    "facets": (["--facet", "brand"], lambda a, b: "aggs" in bodies(b)[-1] and "aggs" not in bodies(a)[-1]),
    "sort": (["--sort", "-price"], lambda a, b: "price" in json.dumps(bodies(b)[-1]["sort"])),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_plan_and_hits(sample_cli: Cli, option: str) -> None:
    args, differs = OPTIONS[option]
    before, after = sample_cli.json("plan", TEXT), sample_cli.json("plan", TEXT, *args)
    assert differs(before, after)
    hits_before = sample_cli.json("search", TEXT)
    hits_after = sample_cli.json("search", TEXT, *args)
    keys = ("hits", "plan", "total", "facets")
    assert [hits_before[key] for key in keys] != [hits_after[key] for key in keys]


def test_no_option_is_without_a_test() -> None:
    elsewhere = {
        "text": "test_search_json",
        "cursor": "test_pages_continue",
        "index": "test_the_index_that_is_named",
        "url": "test_which_cluster_is_asked",
        "as_json": "test_search_json, test_plan_runs_as_pasted",
        "keep_like": "test_the_products_of_like_are_left_out_unless_they_are_kept",
        "composition": "test_late_composition_has_a_leg_a_term",
        "own_query": "test_the_shop_s_own_query",
        "profile": "test_cli_profile.py",
        "encoder": "test_cli_encoder.py",
    }
    tested = {*OPTIONS, *elsewhere}
    assert {one.name for one in plan_command.params} == tested
    # explain and chart: test_cli_evaluate.py; hold: below
    assert {one.name for one in search_command.params} == {*tested, "explain", "chart", "hold"}


def test_the_products_of_like_are_left_out_unless_they_are_kept(sample_cli: Cli) -> None:
    assert "leather-sofa" not in ids(sample_cli.json("search", "--like", "leather-sofa"))
    assert ids(sample_cli.json("search", "--like", "leather-sofa", "--keep-like"))[0] == "leather-sofa"


def test_late_composition_has_a_leg_a_term(sample_cli: Cli) -> None:
    early, late = (
        sample_cli.json("plan", TEXT, "--image", PHOTO, "--compose", how)["legs"] for how in ("early", "late")
    )
    assert {leg["name"].split(":")[0] for leg in early} == {leg["name"].split(":")[0] for leg in late}
    assert len(late) > len(early)


def test_the_shop_s_own_query(sample_cli: Cli) -> None:
    (sample_cli.home / "own.json").write_text('{"match_phrase": {"title": "{{query}}"}}')
    words = ["--weight", "text=0", "--weight", "image=0"]
    own = sample_cli.json("search", "leather sofa", *words, "--lexical-query", "own.json")
    assert ids(own) == ["leather-sofa"]
    assert len(ids(sample_cli.json("search", "leather sofa", *words))) > 1


def test_held_pages_continue(sample_cli: Cli) -> None:
    whole = ids(sample_cli.json("search", TEXT, "--size", "6"))
    first = sample_cli.json("search", TEXT, "--size", "3", "--hold")
    second = sample_cli.json("search", TEXT, "--size", "3", "--cursor", first["cursor"])
    assert [*ids(first), *ids(second)] == whole
    unheld = sample_cli.json("search", TEXT, "--size", "3")["cursor"]
    assert sample_cli.here("search", TEXT, "--size", "3", "--hold", "--cursor", unheld).code == 2


def test_filters(sample_cli: Cli) -> None:
    def sources(*filters: str) -> list[dict[str, Any]]:
        args = [part for one in filters for part in ("--filter", one)]
        answer = sample_cli.json("search", "anything for the home", "--size", "1000", *args)
        return [hit["source"] for hit in answer["hits"]]

    everything = sources()
    assert len(everything) == 120
    for typed, holds in (
        ("price=10..20", lambda row: 10 <= row.get("price", 0) <= 20),
        ("brand=alderwick", lambda row: row.get("brand") == "Alderwick"),
        ("images=*", lambda row: bool(row.get("images"))),
        ("attributes.colour=silver", lambda row: "silver" in row.get("attributes", {}).get("colour", [])),
        ("sku=QL-13-08", lambda row: row["id"] == "laptop-13-8"),
        ("available=false", lambda row: row.get("available") is False),
    ):
        expected = {row["id"] for row in everything if holds(row)}
        assert {row["id"] for row in sources(typed)} == expected
        assert expected, typed
    both = sources("price<=100", "category=Plants", "images=*")
    assert {row["id"] for row in both} == {
        row["id"] for row in everything if row["price"] <= 100 and "Plants" in row.get("category", ())
    }


@pytest.mark.parametrize("mode", MODES)
def test_pages_continue(sample_cli: Cli, mode: str) -> None:
    args = MODES[mode][0]
    whole = sample_cli.json("search", *args, "--size", "120")
    found: list[str] = []
    cursor: list[str] = []
    while True:
        page = sample_cli.json("search", *args, "--size", "33", *cursor)
        found += ids(page)
        assert page["hits"][0]["rank"] == len(found) - len(ids(page)) + 1
        if page["cursor"] is None:
            break
        cursor = ["--cursor", page["cursor"]]
    assert found == ids(whole)
    assert len(set(found)) == len(found) == whole["total"]["reachable"]
    assert whole["cursor"] is None
    second = sample_cli.json("plan", *args, "--size", "33", *cursor)
    assert bodies(second)[-1]["from"] == 33 * ((len(found) - 1) // 33)


def test_a_picture_may_come_from_anywhere(sample_cli: Cli, tmp_path: Path) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to(PHOTO)
    named = sample_cli.json("search", "--image", PHOTO)
    data = PHOTO.read_bytes()
    for ref, stdin in (("-", data), (str(link), b""), (os.path.relpath(PHOTO, sample_cli.home), b"")):
        assert ids(sample_cli.json("search", "--image", ref, stdin=stdin)) == ids(named)
    piped = sample_cli.process("search", "--image", "-", "--json", stdin=data)
    assert (piped.code, piped.err) == (0, "")
    assert ids(piped.json) == ids(named)
    two = sample_cli.json("search", "--image", PHOTO, "--image", SAMPLE / "photos/succulent.jpg")
    assert ids(two) != ids(named)


def test_the_table_for_people(sample_cli: Cli) -> None:
    answer = sample_cli.json("search", TEXT, "--size", "4")
    plain = sample_cli.here("search", TEXT, "--size", "4")
    explained = sample_cli.here("search", TEXT, "--size", "4", "--explain")
    assert (plain.code, plain.err, explained.code, explained.err) == (0, "", 0, "")
    for hit in answer["hits"]:
        assert hit["id"] in plain.out
        assert f"{hit['score']:.3f}" in plain.out
        for part in hit["legs"].values():
            if part["raw"] is not None:
                cell = rf"{part['weight']:.3f}\s+{part['contribution']:.6f}"
                assert re.search(cell, explained.out)
                assert not re.search(cell, plain.out)
    assert f"next page: --cursor {answer['cursor']}" in plain.out


def test_a_note_is_on_standard_error(sample_cli: Cli) -> None:
    for command in ("search", "plan"):
        done = sample_cli.here(command, TEXT, "--weight", "visual=1")
        assert done.code == 0
        assert done.err.startswith("note: the weight of visual has no effect")
        assert "note:" not in done.out
    assert len(sample_cli.json("search", TEXT, "--weight", "visual=1")["warnings"]) == 1


def test_the_index_that_is_named(sample_cli: Cli, bare_cli: Cli) -> None:
    index = sample_cli.options[-1]
    assert bare_cli.json("plan", TEXT, "--index", index)["requests"][0]["index"] == index
    paths: list[str] = []
    with http_server(lambda path: paths.append(path) or Reply(401)) as url:  # type: ignore[func-returns-value]
        assert bare_cli.here("search", TEXT, "--url", url).code == 3
        assert bare_cli.here("search", TEXT, "--url", url, "--index", "mugs").code == 3
    assert [path.partition("?")[0] for path in paths] == ["/products", "/mugs"]


def test_which_cluster_is_asked(tmp_path: Path) -> None:
    """`--url` before ES_XMODAL_URL before the running local node."""
    asked: list[str] = []

    def server(name: str) -> Callable[[str], Reply]:
        return lambda path: asked.append(name) or Reply(401)  # type: ignore[func-returns-value]

    cli = Cli(home=tmp_path)
    with (
        http_server(server("option")) as option,
        http_server(server("variable")) as variable,
        http_server(server("node")) as node,
    ):
        me = ProcessId.of(os.getpid())
        entry = NodeEntry(name="node-1", process=me, http_port=1, log="")
        state = State(
            version="9.5.3", url=node, data="", x_pack=False, heap_mib=1, java="", vectors="",
            ready=True, starter=me, nodes=(entry,),
        )  # fmt: skip
        with mock.patch.dict(os.environ, environment(tmp_path)):
            write_state(state)
        for command in (["search", "mug"], ["plan", "mug"], ["index", "list"], ["index", "rollback"]):
            with_variable = cli.with_variables(ES_XMODAL_URL=variable)
            assert with_variable.here(*command, "--url", option).code == 3
            assert with_variable.here(*command).code == 3
            assert cli.here(*command).code == 3
            assert list(dict.fromkeys(asked)) == ["option", "variable", "node"]
            asked.clear()


def test_the_version(bare_cli: Cli) -> None:
    version = bare_cli.process("--version")
    assert (version.code, version.out, version.err) == (0, f"es-xmodal, version {__version__}\n", "")


@pytest.mark.parametrize("how", [["--json"], ["--explain"]], ids=["json", "table"])
def test_a_reader_that_goes_away(sample_cli: Cli, how: list[str]) -> None:
    """As `| head -c 1` does."""
    command = [sys.executable, "-m", "es_xmodal", "search", TEXT, *how, *sample_cli.options]
    env = environment(sample_cli.home, **sample_cli.variables)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")
