"""What a second ingest knows of the index, by walking it; and what the vector store keeps for the cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.ingest import known_documents
from es_xmodal.ingest.known import EDITED, mark
from es_xmodal.ingest.known_documents import KnownDocuments
from es_xmodal.settings import load_settings
from es_xmodal.store.vectors import VectorStore, vector_key
from tests.support.cli import Cli
from tests.support.encoders import HashEncoder
from tests.support.ingesting import counts, ingest_catalog, write_rows

pytestmark = pytest.mark.integration

MANY = 300
VECTOR = np.ones(8, np.float32)


@pytest.fixture
def name(index_prefix: str) -> str:
    return f"{index_prefix}shop"


def key_of(encoder: str, number: int) -> bytes:
    return vector_key(fingerprint=encoder, space="text", kind="text", content=str(number))


def rows_of(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"id": f"p{n} ü", "title": f"mug {n}", "price": n + 0.1, "currency": "EUR", "available": n % 2 == 0}
        for n in range(count)
    ]
    for n in range(0, count, 7):
        del rows[n]["price"], rows[n]["currency"], rows[n]["available"]
    return rows


def walked(client: Elasticsearch, index: str, documents: int) -> KnownDocuments:
    known = KnownDocuments(client, index, documents)
    while not known.walked:
        known.of(["nobody"])
        time.sleep(0.01)
    return known


def test_a_walk_tells_what_asking_by_id_tells(
    es_url: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_documents, "PAGE", 40)
    catalog = write_rows(tmp_path, rows_of(MANY))
    first = ingest_catalog(es_url, catalog, name, shards=3)
    assert first.index and first.counts["indexed"] == MANY
    edits: list[dict[str, Any]] = [{"id": "p5 ü", "url": "https://shop.test/5"}, {"id": "p6 ü", "price": 7}]
    edit = write_rows(tmp_path, edits, name="e.jsonl")
    ingest_catalog(es_url, edit, name, update=True)
    client = connect(load_settings(url=es_url))
    try:
        ids = [f"p{n} ü" for n in range(MANY + 3)]
        expected = KnownDocuments(client, first.index, MANY)._ask(ids)
        known = walked(client, first.index, MANY)
        found = known.of(ids)
        known.close()
        kept = client.get(index=first.index, id="p6 ü")["_source"]["row_hash"]
    finally:
        client.close()
    assert found == expected and len(found) == MANY
    also = {"currency": "EUR"}
    assert found["p5 ü"] == mark(EDITED, {"price": 5.1, "available": False, **also})
    assert found["p6 ü"] == mark(kept, {"price": 7, "available": True, **also})


def test_rows_that_did_not_change_are_told_by_the_walk(
    es_url: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask, note = KnownDocuments._ask, KnownDocuments._note

    def asking(self: KnownDocuments, ids: Sequence[str]) -> dict[str, int]:
        asked.append(len(ids))
        return ask(self, ids)

    def waiting(self: KnownDocuments, count: int) -> None:
        note(self, count)
        if self._thread is not None:  # the walk is over before the next question
            self._thread.join()

    monkeypatch.setattr(KnownDocuments, "_ask", asking)
    monkeypatch.setattr(KnownDocuments, "_note", waiting)
    rows = rows_of(1500)
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)
    asked.clear()
    rows[1300]["title"] = "another mug"
    rows[1400]["price"] = 9
    rows.append({"id": "new", "title": "new"})
    report = ingest_catalog(es_url, write_rows(tmp_path, rows), name)
    assert counts(report) == (1, 2, 1498, 0)
    assert report.counts["encoded_texts"] == 2
    assert sum(asked) <= 4 * 128


def test_vectors_of_encoders_without_an_index_go(es_url: str, name: str, tmp_path: Path) -> None:
    ingest_catalog(es_url, write_rows(tmp_path, rows_of(3)), name)
    mine = HashEncoder().info.fingerprint
    with VectorStore.open(tmp_path / "data/vectors") as store:
        for encoder in (mine, "of-no-index"):
            store.put_many({key_of(encoder, n): VECTOR for n in range(4)})
    cli = Cli(home=tmp_path, variables={"ES_XMODAL_URL": es_url})
    would = cli.here("store", "gc", "--keep-indices", "--dry-run", "--json").json
    assert (would["deleted"], would["kept"]) == (4, 4)
    assert cli.here("store", "gc", "--keep-indices", "--url", es_url).out.startswith("deleted 4 vectors")
    status = cli.here("store", "status", "--json").json["vectors"]
    assert [(one["fingerprint"], one["entries"]) for one in status["by_owner"]] == [(mine, 4)]


def test_a_cluster_that_does_not_answer_deletes_nothing(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path / "data/vectors") as store:
        store.put_many({key_of("a", 1): VECTOR})
    cli = Cli(home=tmp_path)
    done = cli.here("store", "gc", "--keep-indices", "--url", "http://127.0.0.1:9")
    assert done.code == 3
    assert cli.here("store", "status", "--json").json["vectors"]["entries"] == 1
