"""The contract of `ingest` and `index`, as commands."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import SAMPLE, Cli, refused
from tests.support.nodes import call, delete_everything_named

pytestmark = pytest.mark.integration

COUNTS = {
    "read",
    "indexed",
    "updated",
    "unchanged",
    "rejected",
    "without_image",
    "encoded_images",
    "encoded_texts",
    "reused_vectors",
}


def write(cli: Cli, *rows: dict[str, Any], name: str = "few.jsonl") -> str:
    (cli.home / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


@pytest.fixture
def few(bare_cli: Cli, es_url: str, tmp_path: Path) -> Iterator[Cli]:
    """The command line on an index name that is free, in a folder of its own."""
    prefix = f"t{secrets.token_hex(5)}-"
    yield Cli(home=tmp_path, variables=bare_cli.variables, options=("--index", f"{prefix}few"))
    delete_everything_named(es_url, prefix)


def test_ingest_json(sample_cli: Cli) -> None:
    report = json.loads((sample_cli.home / "ingested.json").read_text())
    assert {*COUNTS, "seconds_by_stage", "index", "alias"} <= set(report)
    assert (report["read"], report["indexed"], report["rejected"]) == (120, 120, 0)
    assert report["without_image"] == 40
    # The second server takes them from the store.
    assert report["encoded_images"] + report["reused_vectors"] > 70
    assert all(seconds >= 0 for seconds in report["seconds_by_stage"].values())
    assert report["alias"] == sample_cli.options[-1]
    assert report["index"] == f"{report['alias']}-v0001"
    again = sample_cli.json("ingest", "catalog.jsonl", "--images-root", SAMPLE)
    assert (again["read"], again["unchanged"]) == (120, 120)
    assert (again["encoded_images"], again["encoded_texts"]) == (0, 0)


def test_nothing_is_encoded_twice(few: Cli) -> None:
    catalog = write(few, {"id": "1", "title": "Red mug", "price": 3}, {"id": "2", "title": "Lamp"})
    first = few.json("ingest", catalog)
    assert (first["indexed"], first["unchanged"]) == (2, 0)
    again = few.json("ingest", catalog)
    assert (again["indexed"], again["updated"], again["unchanged"], again["encoded_texts"]) == (0, 0, 2, 0)
    write(few, {"id": "1", "title": "Red mug", "price": 4}, {"id": "2", "title": "Lamp"})
    dearer = few.json("ingest", catalog)
    assert (dearer["updated"], dearer["unchanged"], dearer["encoded_texts"]) == (1, 1, 0)
    (hit,) = few.json("search", "mug", "--filter", "price=4")["hits"]
    assert hit["id"] == "1"


def test_rejects_leave_with_1(few: Cli) -> None:
    catalog = write(
        few, {"id": "1", "title": "Red mug"}, {"id": "2"}, {"id": "3", "title": "x", "images": ["no"]}
    )
    report = few.json("ingest", catalog, "--rejects", "r.jsonl", code=1)
    assert (report["read"], report["indexed"], report["rejected"]) == (3, 2, 1)
    rows = [json.loads(line) for line in (few.home / "r.jsonl").read_text().splitlines()]
    assert [(row["line"], row["stage"]) for row in rows] == [(2, "row"), (3, "picture")]
    told = few.process("ingest", catalog, "--rejects", "r.jsonl")
    assert told.code == 1
    assert told.err.count("\n") == 1
    assert "see r.jsonl" in told.err


def test_python_m_ingest(few: Cli) -> None:
    catalog = write(few, {"id": "1", "title": "Red mug"})
    done = few.process(catalog, "--json", module="es_xmodal.ingest")
    assert (done.code, done.err, done.json["indexed"]) == (0, "", 1)
    bad = few.process("no.jsonl", module="es_xmodal.ingest")
    refused(bad, 2, "es_xmodal.ingest: catalogue no.jsonl does not exist")


def serving(cli: Cli) -> dict[str, bool]:
    return {row["index"]: row["serving"] for row in cli.json("index", "list")["indices"]}


def test_versions(few: Cli, es_url: str) -> None:
    alias = few.options[-1]
    one, two, three = (f"{alias}-v000{number}" for number in (1, 2, 3))
    catalog = write(few, {"id": "1", "title": "Red mug"})
    for _ in range(2):
        few.json("ingest", catalog, "--rebuild")
    assert serving(few) == {one: False, two: True}
    (row, _) = few.json("index", "list")["indices"]
    assert set(row) == {"alias", "index", "serving", "state", "documents", "created", "encoder", "note"}
    assert (row["alias"], row["state"], row["documents"], row["encoder"]) == (alias, "complete", 1, "mini")
    table = few.here("index", "list").out.splitlines()
    assert ["yes" in line for name in (one, two) for line in table if name in line] == [False, True]

    nothing: dict[str, Any] = {"brought": None, "left": 0, "rejects_file": None, "rejects_by_reason": {}}
    assert few.json("index", "rollback") == {"alias": alias, "before": two, "now": one, **nothing}
    assert serving(few) == {one: True, two: False}
    refused(few.here("index", "rollback"), 2, f"there is no complete version of {alias} before {one}")
    assert few.json("index", "swap", "2") == {"alias": alias, "before": one, "now": two, **nothing}
    assert few.here("index", "swap", one).out == f"{alias} → {one} (was {two})\n"
    refused(few.here("index", "swap", "9"), 2, f"{alias} has no version 9", one, two)
    refused(few.here("index", "drop", "1"), 2, "serves as", "swap to another version first")
    assert few.json("index", "drop", two) == {"alias": alias, "deleted": two}
    assert serving(few) == {one: True}
    assert call(es_url, "GET", f"/{two}")[0] == 404

    for number in (2, 3):
        few.json("ingest", catalog, "--rebuild", "--keep", "1")
        assert serving(few) == {f"{alias}-v000{number}": True}
    assert three in serving(few)


def test_check(few: Cli) -> None:
    catalog = write(few, {"id": "1", "title": "Red mug"})
    few.json("ingest", catalog)
    good = few.json("index", "check")
    assert set(good) == {"alias", "findings"}
    assert {row["ok"] for row in good["findings"]} == {True}
    assert {set(row) == {"what", "ok", "detail"} for row in good["findings"]} == {True}
    assert "WRONG" not in few.here("index", "check").out
    (few.home / "words.txt").write_text("红杯子 100 n\n", encoding="utf-8")
    other = few.with_variables(ES_XMODAL_USER_DICTIONARY="words.txt")
    bad = other.json("index", "check", code=1)
    (wrong,) = [row for row in bad["findings"] if not row["ok"]]
    assert "tokeniser" in wrong["what"]
    assert "WRONG" in other.here("index", "check").out
