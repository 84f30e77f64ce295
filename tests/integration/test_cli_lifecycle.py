"""`index rebuild | compare | swap | rollback` and `ingest --no-swap`, as commands."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.encoders import registry
from tests.support.cli import Cli, refused
from tests.support.encoders import HashEncoder
from tests.support.nodes import call, delete_everything_named

pytestmark = pytest.mark.integration

TITLES = ("Red mug", "Blue mug", "Green lamp", "红色马克杯", "Leather sofa", "Bath towel", "Desk", "Chair")


def rows(count: int = len(TITLES)) -> list[dict[str, Any]]:
    return [
        {"id": f"p{at}", "title": title, "price": at + 1, "shelf": {"aisle": at}}
        for at, title in enumerate(TITLES[:count])
    ]


def write(cli: Cli, *found: dict[str, Any], name: str = "few.jsonl") -> str:
    (cli.home / name).write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return name


@pytest.fixture
def few(bare_cli: Cli, es_url: str, tmp_path: Path) -> Iterator[Cli]:
    """The command line on an index of a few products without pictures."""
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=tmp_path, variables=bare_cli.variables, options=("--index", f"{prefix}few"))
    cli.json("ingest", write(cli, *rows()))
    yield cli
    delete_everything_named(es_url, prefix)


def versions(cli: Cli) -> dict[int, tuple[bool, str | None]]:
    """Number -> whether it serves, and its note."""
    found = cli.json("index", "list")["indices"]
    return {int(row["index"][-4:]): (row["serving"], row["note"]) for row in found}


def prices(cli: Cli) -> dict[str, float]:
    found: dict[str, float] = {}
    for title in TITLES:
        found |= {hit["id"]: hit["source"]["price"] for hit in cli.json("search", title)["hits"]}
    return found


def test_a_version_waits_is_compared_and_swapped_with_what_was_written_since(few: Cli) -> None:
    alias = few.options[-1]
    built = few.here("ingest", "few.jsonl", "--rebuild", "--no-swap")
    assert built.code == 0, built
    assert f"{alias} stays, beside it waits {alias}-v0002" in built.out
    assert versions(few) == {1: (True, None), 2: (False, "waits for `index swap`")}

    write(few, {"id": "p0", "price": 99}, {"id": "p1", "deleted": True}, name="edits.jsonl")
    few.json("ingest", "edits.jsonl", "--update")
    few.json("ingest", write(few, {"id": "new", "title": "Desk lamp", "price": 7}, name="new.jsonl"))
    moved = few.json("index", "swap")
    assert (moved["before"], moved["now"]) == (f"{alias}-v0001", f"{alias}-v0002")
    assert (moved["brought"]["written"], moved["brought"]["deleted"]) == (2, 1)
    found = prices(few)
    assert (found["p0"], found["new"], "p1" in found) == (99, 7, False)
    assert versions(few) == {1: (False, "`index rollback` may go here"), 2: (True, None)}

    few.json("ingest", write(few, {"id": "p2", "price": 55}, name="edits.jsonl"), "--update")
    back = few.here("index", "rollback")
    assert back.code == 0, back
    assert f"{alias} → {alias}-v0001 (was {alias}-v0002)\nbrought over: 1 documents, 0 deletions" in back.out
    found = prices(few)
    assert (found["p0"], found["p2"], "p1" in found, "new" in found) == (99, 55, False, True)


def test_edits_are_left_behind_only_when_that_is_asked_for(few: Cli, es_url: str) -> None:
    alias = few.options[-1]
    few.json("ingest", "few.jsonl", "--rebuild")
    few.json("ingest", write(few, {"id": "p2", "price": 55}, name="edits.jsonl"), "--update")
    # The first version is one whose encoder is not to be had any more.
    call(
        es_url,
        "PUT",
        f"/{alias}-v0001/_mapping",
        {"_meta": _with_encoder(es_url, f"{alias}-v0001", "local:/gone")},
    )
    refused(
        few.here("index", "rollback"),
        2,
        "1 operations on",
        "cannot be brought over",
        "local:/gone",
        "--leave-edits",
    )
    assert versions(few)[2] == (True, None)
    gone = few.here("index", "rollback", "--leave-edits")
    assert (gone.code, gone.err) == (0, f"left behind in {alias}-v0002: 1 operations\n")
    assert call(es_url, "GET", f"/{alias}/_doc/p2")[1]["_source"]["price"] == 3


def _with_encoder(url: str, index: str, spec: str) -> dict[str, Any]:
    _, body = call(url, "GET", f"/{index}/_mapping")
    meta: dict[str, Any] = body[index]["mappings"]["_meta"]
    meta["es_xmodal"]["encoder"]["spec"] = spec
    return meta


def test_rebuild_needs_no_catalogue_and_encodes_nothing_again(few: Cli) -> None:
    alias = few.options[-1]
    (few.home / "few.jsonl").unlink()
    (few.home / "words.txt").write_text("红色马克杯 100000 n\n", encoding="utf-8")
    other = few.with_variables(ES_XMODAL_USER_DICTIONARY="words.txt")
    report = other.json("index", "rebuild", "--no-swap", "--shards", "2")
    assert (report["indexed"], report["encoded_texts"], report["serves"]) == (len(TITLES), 0, False)

    compared = other.json("index", "compare", "--sample", "5", "--rounds", "1")
    assert (compared["old"]["index"], compared["new"]["index"]) == (f"{alias}-v0001", f"{alias}-v0002")
    assert (compared["queries"], compared["sampled"]) == (5, True)
    assert 0 < compared["overlap@10"] <= 1
    assert compared["latency_ms"]["new"]["p95"] > 0
    assert compared["old"]["documents"] == compared["new"]["documents"] == len(TITLES)

    assert other.json("index", "swap", "2")["brought"] is None
    (hit, *_) = other.json("search", "红色马克杯")["hits"]
    assert (hit["id"], hit["source"]["shelf"]) == ("p3", {"aisle": 3})
    refused(few.here("search", "红色马克杯"), 2, "another tokeniser")


def test_a_version_of_another_encoder_is_compared_and_gets_what_was_written_since(
    few: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A store of its own: the one that is shared knows these titles from the run on the other server.
    few = replace(few, variables={**few.variables, "ES_XMODAL_DATA_DIR": str(tmp_path / "store")})
    made = HashEncoder()
    monkeypatch.setitem(registry._LOADERS, "hash", lambda argument, options: made)
    report = few.json("index", "rebuild", "--encoder", "hash", "--no-swap")
    encoded = sum(count for _, count in made.calls)
    assert (report["indexed"], report["encoded_texts"]) == (len(TITLES), encoded)
    assert encoded >= len(TITLES)

    compared = few.json("index", "compare", "--rounds", "1")
    assert [compared[side]["encoder"] for side in ("old", "new")] == ["mini", "hash"]
    assert compared["queries"] == len(TITLES) and 0 < compared["overlap@10"] <= 1
    assert sum(count for _, count in made.calls) > encoded  # each version is asked with its own encoder

    # Written to the one that serves, with its encoder; brought over with the other's.
    few.json("ingest", write(few, {"id": "new", "title": "Tea pot"}, name="new.jsonl"))
    assert few.json("index", "swap")["brought"]["written"] == 1
    assert few.json("search", "Tea pot")["hits"][0]["id"] == "new"  # asked with the index's encoder


def test_compare_with_judgements(few: Cli) -> None:
    few.json("index", "rebuild", "--no-swap")
    queries = ["qid\tmode\tlang\ttext\timage\ttags"]
    queries += [f"q{at}\ttext\ten\t{title}\t\t" for at, title in enumerate(TITLES)]
    (few.home / "q.tsv").write_text("\n".join(queries) + "\n", encoding="utf-8")
    judged = [f"q{at} 0 p{at} 1" for at in range(len(TITLES))]
    (few.home / "qrels.txt").write_text("\n".join(judged) + "\n", encoding="utf-8")
    files = ("--queries", "q.tsv", "--qrels", "qrels.txt")
    same = few.here("index", "compare", *files)
    assert same.code == 0, same
    assert "overlap@10: 1.000 over 8 queries" in same.out
    assert "nDCG@10: +0.0000" in same.out
    assert "no difference beyond chance" in same.out

    # A version that lost most of its products is worse.
    few.json("ingest", write(few, *rows(1), name="one.jsonl"), "--rebuild", "--no-swap")
    worse = few.json("index", "compare", "1", "3", *files, code=1)
    assert worse["worse"] is True
    assert worse["nDCG@10"]["difference"] < -0.5
    assert worse["least_alike"][0]["overlap@10"] < 0.5
    table = few.here("index", "compare", "1", "3", *files)
    assert (table.code, "worse" in table.out) == (1, True)


def test_calls_that_make_no_sense(few: Cli) -> None:
    refused(few.here("ingest", "few.jsonl", "--no-swap"), 2, "--no-swap has no effect without --rebuild")
    refused(few.here("index", "swap"), 2, "no complete version", "--no-swap")
    refused(few.here("index", "compare"), 2, "no complete version")
    refused(few.here("index", "compare", "1"), 2, "name two, or none")
    refused(
        few.here("index", "compare", "--qrels", "few.jsonl"), 2, "--qrels has no effect without --queries"
    )
    other = Cli(home=few.home, variables=few.variables, options=("--index", f"{few.options[-1]}x"))
    refused(other.here("index", "rebuild"), 2, "there is no index", "did you mean")
