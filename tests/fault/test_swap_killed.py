"""A rebuild that is killed while it holds the writers of the serving version back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.index.check import check_index
from es_xmodal.index.closing import is_blocked
from es_xmodal.index.versions import list_versions
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.ingesting import documents, ingest_catalog, shop_rows, write_rows

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.mark.parametrize("how", ["a writer", "index check", "a rebuild"])
def test_writers_are_let_in_again(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path, how: str
) -> None:
    name = f"{index_prefix}shop"
    rows = {row["id"]: row for row in shop_rows(tmp_path, 12)}
    catalog = write_rows(tmp_path, list(rows.values()))
    ingest_catalog(es_url, catalog, name)
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.following", es_url, str(catalog), name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"held back\n"
        findings = {one.what: one.detail for one in check_index(client, name, encoder=None, text=None)}
        assert "wait" in findings["writers"], "who lives is left alone"
        assert is_blocked(client, f"{name}-v0001")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert set(documents(client, name)) == set(rows), "the old version serves on"

    other = HashEncoder(fingerprint="hash-2")
    if how == "index check":
        findings = {one.what: one.detail for one in check_index(client, name, encoder=None, text=None)}
        assert "let in again" in findings["writers"]
        assert not is_blocked(client, f"{name}-v0001")
    if how != "a rebuild":
        edits = write_rows(tmp_path, [{"id": "p3", "price": 333}], name="edits.jsonl")
        assert ingest_catalog(es_url, edits, name, update=True).counts["updated"] == 1
        rows["p3"]["price"] = 333
        assert not is_blocked(client, f"{name}-v0001")
    report = ingest_catalog(es_url, catalog, name, rebuild=True, encoder=other)
    assert report.index is not None
    assert [one.index for one in list_versions(client, name) if one.serving] == [report.index]
    assert not is_blocked(client, f"{name}-v0001")
    fresh = write_rows(tmp_path, list(rows.values()), name="fresh.jsonl")
    ingest_catalog(es_url, fresh, f"{name}-fresh", encoder=other)
    found = documents(client, name)
    if how != "a rebuild":
        # The edit came before this build: its rows are newer.
        found["p3"] |= {key: documents(client, f"{name}-fresh")["p3"][key] for key in ("price", "row_hash")}
    assert found == documents(client, f"{name}-fresh")
