"""Ingests that meet a cluster which takes nothing, or a disk that is full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import StoreError
from es_xmodal.index.target import load_target
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.sender import Item, Sender, SenderOptions
from es_xmodal.settings import load_settings
from es_xmodal.store.vectors import VectorStore
from tests.support.ingesting import documents, ingest_catalog, rejects, shop_rows, write_rows
from tests.support.killing import Ended, Killer, killer

pytestmark = pytest.mark.fault

MANY = 30
BLOCKS = {
    "write": "index.blocks.write",
    "read_only": "index.blocks.read_only",
    "flood stage": "index.blocks.read_only_allow_delete",
}


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.fixture(scope="module")
def ingests(es_url: str) -> Iterator[Killer]:
    with killer(es_url) as found:
        yield found


def state(client: Elasticsearch, index: str) -> tuple[dict[str, Any], Any]:
    return documents(client, index), load_target(client, index).meta.calibration


def blocked(ingests: Killer, catalog: Path, name: str, block: str, index: str, **options: Any) -> Ended:
    """An ingest whose index is blocked once two requests of five documents were answered."""
    setting = {BLOCKS[block]: True}
    at = ("PUT", f"/{index}/_settings", setting)
    return ingests.ingest(catalog, name, kill_at=4, of="_bulk", instead=at, **options)


@pytest.mark.parametrize(
    ("block", "how"), [("write", "edits"), ("read_only", "first"), ("flood stage", "edits")]
)
def test_a_block_ends_the_run_with_its_remedy_and_the_next_one_goes_on(
    block: str, how: str, ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}blocked", f"{index_prefix}calm"
    rows: list[dict[str, Any]] = shop_rows(tmp_path, MANY)
    before = write_rows(tmp_path, [{**row, "title": "Old"} for row in rows], name="before.jsonl")
    if how == "edits":
        ingests.ingest(before, name)
        ingests.ingest(before, calm)
    catalog = write_rows(tmp_path, rows)
    index = f"{name}-v0001"
    ended = blocked(ingests, catalog, name, block, index, patience_s=1)
    kind, _, line = ended.error.partition(": ")
    assert kind == "ClusterRefusedError", ended
    assert "run the same command again" in line
    remedy = "the disk of a data node is nearly full" if block == "flood stage" else f"PUT {index}/_settings"
    assert remedy in line
    served = client.search(index=name, size=0, ignore_unavailable=True).body["hits"]
    assert served.get("total", {}).get("value", 0) == (MANY if how == "edits" else 0)
    client.indices.put_settings(index=index, settings={BLOCKS[block]: None})
    report = ingests.ingest(catalog, name).report
    assert report["unchanged"] >= 5, "what was confirmed before"
    assert report["indexed"] + report["updated"] + report["unchanged"] == report["read"] == MANY
    assert report["index"] == index
    ingests.ingest(catalog, calm)
    assert state(client, name) == state(client, calm)


@pytest.mark.parametrize("block", ["flood stage"])
def test_a_block_that_goes_away_is_waited_out(
    block: str, ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}blocked", f"{index_prefix}calm"
    catalog = write_rows(tmp_path, shop_rows(tmp_path, MANY))
    index = f"{name}-v0001"

    def lift() -> None:
        while not client.indices.exists(index=index):
            time.sleep(0.02)
        while (
            BLOCKS[block]
            not in client.indices.get_settings(index=index, flat_settings=True).body[index]["settings"]
        ):
            time.sleep(0.02)
        time.sleep(0.5)
        client.indices.put_settings(index=index, settings={BLOCKS[block]: None})

    lifting = threading.Thread(target=lift)
    lifting.start()
    ended = blocked(ingests, catalog, name, block, index)
    lifting.join()
    assert (ended.report["indexed"], ended.report["rejected"]) == (MANY, 0), ended
    ingests.ingest(catalog, calm)
    assert state(client, name) == state(client, calm)


def test_a_full_disk_of_the_store_ends_the_run_and_the_next_one_goes_on(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}full", f"{index_prefix}calm"
    old = write_rows(tmp_path / "old", [{"id": "old", "title": "Old"}])
    ingests.ingest(old, name)
    catalog = write_rows(tmp_path, shop_rows(tmp_path, MANY))
    ended = ingests.ingest(catalog, name, rebuild=True, max_file_bytes=24 * 1024)
    assert ended.error.startswith("StoreError: the vector store"), ended
    assert "room" in ended.error
    assert set(documents(client, name)) == {"old"}, "it serves on"
    report = ingests.ingest(catalog, name, rebuild=True).report
    assert report["indexed"] + report["unchanged"] == MANY
    ingests.ingest(catalog, calm)
    assert state(client, name) == state(client, calm)


def test_a_full_disk_of_the_rejects_ends_the_run_before_the_swap(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}full"
    rows: list[dict[str, Any]] = [{"id": f"p{number}", "title": "Mug"} for number in range(10)]
    ingests.ingest(write_rows(tmp_path, rows), name)
    size = (tmp_path / "vectors/data.mdb").stat().st_size
    bad = [{"id": f"b{number}", "description": "without a title " * 500} for number in range(40)]
    catalog = write_rows(tmp_path, [*rows[:5], *bad])
    ended = ingests.ingest(catalog, name, rebuild=True, max_file_bytes=max(size, 64 * 1024))
    assert ended.error.startswith("StoreError: the rejects file"), ended
    assert "--rejects" in ended.error
    assert len(documents(client, name)) == 10, "what served serves"
    report = ingests.ingest(catalog, name, rebuild=True).report
    assert (report["indexed"] + report["unchanged"], report["rejected"]) == (5, 40)
    assert len(rejects(tmp_path / "rejects.jsonl")) == 40


def test_a_store_that_cannot_grow_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr("es_xmodal.store.environment._FIRST_MAP_BYTES", 64 * 1024)
    monkeypatch.setattr("es_xmodal.store.environment._MAX_MAP_BYTES", 64 * 1024)
    with VectorStore.open(tmp_path) as store, pytest.raises(StoreError, match="the vector store has reached"):
        for number in range(100):
            store.put_many({bytes([number] * 32): np.ones(512, np.float32)})


def test_what_was_refused_can_be_fed_back_once_the_cause_is_gone(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}again", f"{index_prefix}calm"
    rows: list[dict[str, Any]] = shop_rows(tmp_path, 10)
    catalog = write_rows(tmp_path, rows)
    (tmp_path / "images/3.png").rename(tmp_path / "3.png")
    assert not ingest_catalog(es_url, catalog, name).clean
    told = rejects(tmp_path / "rejects.jsonl")
    assert [one["id"] for one in told] == ["p3"]
    refused = tmp_path / "rejects.jsonl"
    assert not ingest_catalog(es_url, refused, name, retry=True).clean, "the cause is still there"
    assert [(one["id"], one["reason"], one["row"]) for one in rejects(refused)] == [
        (one["id"], one["reason"], one["row"]) for one in told
    ]
    (tmp_path / "3.png").rename(tmp_path / "images/3.png")
    report = ingest_catalog(es_url, refused, name, retry=True)
    assert report.clean
    assert not refused.exists()
    ingest_catalog(es_url, catalog, calm, home=tmp_path / "calm")
    assert documents(client, name) == documents(client, calm)


def test_a_document_that_does_not_fit_the_mapping_is_a_reject_with_both_types(
    client: Elasticsearch, index_prefix: str
) -> None:
    index = f"{index_prefix}strict"
    properties: dict[str, Any] = {
        "price": {"type": "double"},
        "title": {"type": "text"},
        "brand": {"properties": {"name": {"type": "keyword"}}},
        "images": {"type": "nested", "properties": {"weight": {"type": "float"}}},
    }
    client.indices.create(
        index=index, mappings={"dynamic": "strict", "properties": properties}, aliases={f"{index}-in": {}}
    )
    refused: dict[str, tuple[str | None, str]] = {}
    done: list[str] = []
    sender = Sender(
        client,
        f"{index}-in",
        on_done=done.append,
        on_reject=lambda row, field, reason: refused.update({row: (field, reason.partition(";")[0])}),
        options=SenderOptions(),
        tally=Tally(),
    )
    documents = {
        "good": {"price": 1, "title": "Mug"},
        "text": {"price": "cheap"},
        "object": {"title": {"en": "Mug"}},
        "plain": {"brand": "Nuvola"},
        "deep": {"images": [{"weight": 1}, {"weight": "heavy"}]},
        "new": {"colour": "red"},
    }
    for id_, body in documents.items():
        sender.add(Item(row=id_, id=id_, body=dump_json(body)))
    sender.close()
    clash = "mapping_clash: {0} is {1} in the index, the row has {2}"
    assert done == ["good"]
    assert refused == {
        "text": ("price", clash.format("price", "double", 'a text: "cheap"')),
        "object": ("title", clash.format("title", "text", 'an object: {"en":"Mug"}')),
        "plain": ("brand", clash.format("brand", "object", 'a text: "Nuvola"')),
        "deep": ("images.weight", clash.format("images.weight", "float", 'a text: "heavy"')),
        "new": ("colour", "mapping_clash: the index has no field colour and takes no new ones"),
    }
