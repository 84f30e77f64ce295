"""`ingest` with edits, as a command."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, refused
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(bare_cli: Cli, es_url: str, tmp_path: Path) -> Iterator[Cli]:
    """Four products in an index of their own."""
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=tmp_path, variables=bare_cli.variables, options=("--index", f"{prefix}edits"))
    write(cli, *({"id": f"p{n}", "title": f"Mug {n}", "price": n} for n in range(4)), name="all.jsonl")
    cli.json("ingest", "all.jsonl")
    yield cli
    delete_everything_named(es_url, prefix)


def write(cli: Cli, *rows: dict[str, Any], name: str = "some.jsonl") -> str:
    (cli.home / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def test_update(shop: Cli) -> None:
    edits = write(shop, {"id": "p1", "price": 99}, {"id": "p2", "deleted": True})
    report = shop.json("ingest", edits, "--update")
    assert (report["read"], report["updated"], report["deleted"]) == (2, 1, 1)
    assert (report["encoded_texts"], report["encoded_images"], report["reused_vectors"]) == (0, 0, 0)
    assert [hit["id"] for hit in shop.json("search", "mug", "--filter", "price=99")["hits"]] == ["p1"]


def test_delete_missing(shop: Cli) -> None:
    one = write(shop, {"id": "p1", "title": "Mug 1", "price": 1})
    report = shop.json("ingest", one, "--delete-missing", code=1)
    assert (report["deleted_missing"], report["unchanged"]) == (0, 1)
    assert "3 would go" in report["not_deleted"]
    told = shop.process("ingest", one, "--delete-missing")
    assert told.code == 1
    assert told.err.startswith("--delete-missing: nothing was deleted")
    assert told.err.count("\n") == 1
    report = shop.json("ingest", one, "--delete-missing", "--delete-limit", "75")
    assert (report["deleted_missing"], report["not_deleted"]) == (3, None)


def test_version_field(shop: Cli) -> None:
    rows = write(shop, {"id": "p1", "title": "New", "at": 7})
    assert shop.json("ingest", rows, "--version-field", "at")["updated"] == 1
    write(shop, {"id": "p1", "title": "Old", "at": 6})
    report = shop.json("ingest", rows, "--version-field", "at")
    assert (report["outdated"], report["rejected"]) == (1, 0)


def test_retry(shop: Cli) -> None:
    rows = write(shop, {"id": "new", "title": "New", "images": ["new.png"]})
    assert shop.json("ingest", rows, "--rejects", "r.jsonl", code=1)["rejects_file"] == "r.jsonl"
    assert shop.json("ingest", "r.jsonl", "--retry", code=1)["rejects_file"] == "r.jsonl"
    write(
        shop,
        {**json.loads((shop.home / "r.jsonl").read_text()), "row": {"id": "new", "title": "New"}},
        name="r.jsonl",
    )
    assert shop.json("ingest", "r.jsonl", "--retry")["updated"] == 1
    assert not (shop.home / "r.jsonl").exists()
    refused(shop.process("ingest", "r.jsonl", "--retry"), 2, "r.jsonl cannot be read", "nothing was rejected")
    refused(shop.process("ingest", rows, "--retry"), 2, "no file of rejects")


def test_what_makes_no_sense(shop: Cli) -> None:
    told = shop.process("ingest", "all.jsonl", "--update", "--version-field", "price")
    refused(told, 2, "--update and --version-field", "external versions")
    refused(shop.process("ingest", "all.jsonl", "--delete-limit", "5"), 2, "no effect")
    refused(shop.process("ingest", "all.jsonl", "--rebuild", "--delete-missing"), 2, "do not go together")
