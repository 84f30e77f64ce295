"""Edits that are killed in the middle, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.settings import load_settings
from tests.support.ingesting import documents, ingest_catalog, shop_rows, write_rows

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
MANY = 120


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


def operations(client: Elasticsearch, name: str) -> int:
    """Documents that were written or deleted so far."""
    answer = client.indices.stats(index=name, metric="indexing").body["_all"]["primaries"]["indexing"]
    return int(answer["index_total"]) + int(answer["delete_total"])


@pytest.mark.parametrize("how", ["delete_missing", "update"])
def test_killed_edits_run_again(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path, how: str
) -> None:
    rows: list[dict[str, Any]] = shop_rows(tmp_path, 1) * MANY
    rows = [{**row, "id": f"p{number}"} for number, row in enumerate(rows)]
    names = [f"{index_prefix}killed", f"{index_prefix}calm"]
    for name in names:
        ingest_catalog(es_url, write_rows(tmp_path, rows), name)
    changed = (
        rows[: MANY // 4]
        if how == "delete_missing"
        else [
            {"id": row["id"], "price": 9} if at % 3 else {"id": row["id"], "title": "New"}
            for at, row in enumerate(rows)
        ]
    )
    options = {"delete_missing": True, "delete_limit": 100.0} if how == "delete_missing" else {"update": True}
    edits = write_rows(tmp_path, changed, name="edits.jsonl")
    before = operations(client, names[0])
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.editing", es_url, str(edits), names[0], how],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        while operations(client, names[0]) < before + 20:
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    half = documents(client, names[0])
    report = ingest_catalog(es_url, edits, names[0], **options)
    assert report.clean
    ingest_catalog(es_url, edits, names[1], **options)
    assert documents(client, names[0]) == documents(client, names[1]) != half
