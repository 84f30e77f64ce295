"""The development catalogues, awkward on purpose or not, and the commands around them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cli.index import index as index_command
from es_xmodal.cli.ingest import ingest as ingest_command
from es_xmodal.cli.main import run
from es_xmodal.cluster.client import connect
from es_xmodal.encoders import registry
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.ingesting import DATA, counts, documents, ingest_catalog, rejects, shop_rows, write_rows
from tests.support.nodes import require

pytestmark = pytest.mark.integration


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


def bundle(name: str) -> Path:
    folder = DATA / name
    require(folder, f"development data {name} is not beside the checkout")
    return folder


def test_grocery(es_url: str, index_prefix: str, tmp_path: Path) -> None:
    catalog = bundle("grocery") / "catalog.jsonl"
    report = ingest_catalog(es_url, catalog, f"{index_prefix}grocery", home=tmp_path)
    assert counts(report) == (81, 0, 0, 0)
    encoder = HashEncoder()
    again = ingest_catalog(es_url, catalog, f"{index_prefix}grocery", home=tmp_path, encoder=encoder)
    assert counts(again) == (0, 0, 81, 0)
    assert encoder.calls == []


def expected_rows(column: str) -> list[dict[str, str]]:
    with (bundle("awkward") / "expected.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 43
    return [{"row": row["row"], "id": row["id"], "kind": row["kind"], "is": row[column]} for row in rows]


@pytest.mark.parametrize(("file", "column"), [("catalog.jsonl", "expected"), ("catalog.csv", "expected_csv")])
def test_awkward(
    client: Elasticsearch, es_url: str, index_prefix: str, tmp_path: Path, file: str, column: str
) -> None:
    name = f"{index_prefix}awkward"
    report = ingest_catalog(es_url, bundle("awkward") / file, name, home=tmp_path)
    found = documents(client, name)
    refused = {
        line["line"] for line in rejects(tmp_path / "rejects.jsonl") if line["stage"] in ("read", "row")
    }
    wrong = []
    for row in expected_rows(column):
        document = found.get(row["id"])
        if int(row["row"]) in refused or document is None:
            outcome = "rejected"
        else:
            seen = any("joint" in image for image in document.get("images", ()))
            outcome = "indexed" if seen else "indexed without image"
        # Rows that never had a picture are fine as they are.
        if outcome != row["is"] and row["kind"] == "must":
            wrong.append((row, outcome))
    assert wrong == []
    assert report.counts["read"] == 43
    assert report.counts["indexed"] == len(found)
    assert not report.clean


@pytest.mark.parametrize("file", ["utf8_bom.csv", "gb18030.csv", "utf16le_bom.csv", "invalid_utf8.csv"])
def test_awkward_encodings(
    client: Elasticsearch, es_url: str, index_prefix: str, tmp_path: Path, file: str
) -> None:
    folder = bundle("awkward")
    name = f"{index_prefix}encodings"
    ingest_catalog(es_url, folder / "encodings/utf8_bom.csv", name, home=tmp_path)
    plain = {id_: one["title"] for id_, one in documents(client, name).items()}
    assert len(plain) == 3
    ingest_catalog(es_url, folder / "encodings" / file, name, home=tmp_path, rebuild=True)
    titles = {id_: one["title"] for id_, one in documents(client, name).items()}
    if file == "invalid_utf8.csv":
        first, second, third = plain
        assert titles[first] == plain[first]
        assert titles[third] == plain[third]
        assert second not in titles or "\N{REPLACEMENT CHARACTER}" in titles[second]
    else:
        assert titles == plain


@pytest.fixture
def with_hash_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setitem(registry._LOADERS, "mini", lambda argument, options: HashEncoder())
    monkeypatch.setenv("ES_XMODAL_DATA_DIR", str(tmp_path_factory.mktemp("data")))


@pytest.mark.usefixtures("with_hash_encoder")
def test_the_command(
    es_url: str,
    index_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "elsewhere"
    work.mkdir()
    monkeypatch.chdir(work)
    rows = shop_rows(tmp_path, 6)
    for row in rows:
        row["name"] = row.pop("title")
    rows[2]["images"] = ["images/\x1b[2Jnone.png"]
    catalog = write_rows(tmp_path, rows)
    name = f"{index_prefix}cmd"
    where = ["--index", name, "--url", es_url]

    def call(*args: str) -> tuple[int, dict[str, Any]]:
        code = run(ingest_command, [str(catalog), *where, "--json", *args])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}

    code, answer = call()
    assert code == 1, "without --map no row has a title"
    assert (answer["rejected"], answer["index"], answer["alias"]) == (6, None, name)
    assert len(rejects(work / "catalog.rejects.jsonl")) == 6
    code, answer = call("--map", "title=name", "--rebuild", "--shards", "2", "--replicas", "0")
    assert code == 1
    keys = {"read", "indexed", "updated", "unchanged", "rejected", "without_image", "encoded_images"}
    assert keys | {"encoded_texts", "reused_vectors", "seconds_by_stage", "index", "alias"} <= set(answer)
    assert (answer["indexed"], answer["without_image"], answer["alias"]) == (6, 1, name)
    assert answer["rejects_file"] == "catalog.rejects.jsonl"
    assert [line["id"] for line in rejects(work / "catalog.rejects.jsonl")] == ["p2"]
    other = tmp_path / "other.jsonl"
    code, answer = call("--map", "title=name", "--images-root", str(work), "--rejects", str(other))
    assert code == 1
    assert answer["updated"] == 5, "below another root there are no pictures"
    assert len(rejects(other)) == 6

    assert run(ingest_command, [str(catalog), *where, "--map", "title=name"]) == 1
    shown = capsys.readouterr()
    assert "5  updated" in shown.out
    assert "\x1b[2J" not in shown.out + shown.err
    assert run(ingest_command, [str(catalog), *where, "--map", "title"]) == 2
    assert run(ingest_command, [str(tmp_path / "none.jsonl"), *where]) == 2
    assert run(ingest_command, [str(catalog), "--index", name, "--url", "http://127.0.0.1:9"]) == 3
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3


@pytest.mark.usefixtures("with_hash_encoder")
def test_the_index_commands(
    es_url: str, index_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{index_prefix}life"
    catalog = write_rows(tmp_path, shop_rows(tmp_path, 4))
    for _ in range(2):
        ingest_catalog(es_url, catalog, name, rebuild=True)

    def call(*args: str) -> tuple[int, Any]:
        code = run(index_command, [*args, "--index", name, "--url", es_url, "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else None

    code, answer = call("list")
    assert code == 0
    assert [(one["index"], one["serving"]) for one in answer["indices"]] == [
        (f"{name}-v0001", False),
        (f"{name}-v0002", True),
    ]
    assert run(index_command, ["list", "--url", es_url]) == 0
    assert name in capsys.readouterr().out
    code, answer = call("check")
    assert code == 0, answer
    code, answer = call("rollback")
    assert (answer["before"], answer["now"], answer["left"]) == (f"{name}-v0002", f"{name}-v0001", 0)
    assert call("rollback")[0] == 2
    assert call("swap", "2")[1]["now"] == f"{name}-v0002"
    assert call("drop", "2")[0] == 2, "it serves"
    assert call("drop", f"{name}-v0001")[1]["deleted"] == f"{name}-v0001"
    assert call("swap", "1")[0] == 2
