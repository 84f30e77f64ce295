"""An ingest that dies in the middle, as a real process on a real cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import IndexBusyError
from es_xmodal.index.versions import list_versions
from es_xmodal.settings import load_settings
from tests.support.ingesting import counts, documents, ingest_catalog, shop_rows, write_rows

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
MANY = 60


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


def start(url: str, catalog: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.ingesting", url, str(catalog), name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


def wait_for_documents(
    client: Elasticsearch, index: str, at_least: int, child: subprocess.Popen[bytes]
) -> None:
    """Until the index that is being built holds some documents."""
    while True:
        assert child.poll() is None, "the ingest ended before it could be killed"
        if client.indices.exists(index=index):
            client.indices.refresh(index=index)
            if client.count(index=index).body["count"] >= at_least:
                return
        time.sleep(0.02)


@pytest.mark.parametrize("stop_at", [1, 25])
def test_killed_and_run_again_is_as_if_never_killed(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path, stop_at: int
) -> None:
    name, undisturbed = f"{index_prefix}killed", f"{index_prefix}calm"
    rows = shop_rows(tmp_path, MANY)
    old = write_rows(tmp_path / "old", [{"id": "old", "title": "Old"}])
    ingest_catalog(es_url, old, name)
    catalog = write_rows(tmp_path, rows)
    child = start(es_url, catalog, name)
    try:
        wait_for_documents(client, f"{name}-v0002", stop_at, child)
        with pytest.raises(IndexBusyError, match=str(child.pid)):
            ingest_catalog(es_url, catalog, name, rebuild=True)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert set(documents(client, name)) == {"old"}, "the old index serves on"
    states = [(one.number, one.state, one.serving) for one in list_versions(client, name)]
    assert states == [(1, "complete", True), (2, "abandoned", False)]
    report = ingest_catalog(es_url, catalog, name, rebuild=True)
    assert counts(report) == (MANY, 0, 0, 0)
    assert report.counts["reused_vectors"] > 0, "what was encoded before the kill is in the store"
    assert [one.number for one in list_versions(client, name)] == [1, 3]
    ingest_catalog(es_url, catalog, undisturbed)
    assert documents(client, name) == documents(client, undisturbed)


def test_ctrl_c_leaves_at_once_and_nothing_behind_that_is_in_the_way(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}stopped"
    catalog = write_rows(tmp_path, shop_rows(tmp_path, MANY))
    child = start(es_url, catalog, name)
    try:
        wait_for_documents(client, f"{name}-v0001", 5, child)
        child.send_signal(signal.SIGINT)
        assert child.wait() != 0
    finally:
        child.kill()
        child.wait()
    assert not client.indices.exists_alias(name=name)
    assert counts(ingest_catalog(es_url, catalog, name)) == (MANY, 0, 0, 0)
