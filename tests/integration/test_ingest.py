"""From a catalogue to a real index: built, brought up to date, refused, rolled back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import (
    CatalogError,
    FingerprintMismatchError,
    ForeignIndexError,
    IndexStateError,
)
from es_xmodal.index.target import load_target
from es_xmodal.index.versions import list_versions, swap, version_before
from es_xmodal.ingest.document import as_base64
from es_xmodal.settings import load_settings
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.options import SEPARATOR, TextOptions
from tests.support.encoders import HashEncoder
from tests.support.ingesting import (
    SlowEncoder,
    counts,
    documents,
    draw,
    ingest_catalog,
    rejects,
    server_version,
    shop_rows,
    write_rows,
)

pytestmark = pytest.mark.integration

MANY = 23


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.fixture
def name(index_prefix: str) -> str:
    return f"{index_prefix}shop"


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return shop_rows(tmp_path, MANY)


def written(client: Elasticsearch, name: str) -> int:
    """How many documents the index behind the alias was ever told to write, nested ones included."""
    stats = client.indices.stats(index=name, metric="indexing").body["_all"]["primaries"]
    return int(stats["indexing"]["index_total"])


def test_a_new_index_holds_what_the_rows_say(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    encoder = HashEncoder()
    report = ingest_catalog(es_url, write_rows(tmp_path, rows), name, encoder=encoder)
    assert counts(report) == (MANY, 0, 0, 0)
    assert report.counts["encoded_images"] == MANY
    assert report.clean
    assert (report.index, report.alias, report.rebuilt) == (f"{name}-v0001", name, True)
    found = documents(client, name)
    assert set(found) == {row["id"] for row in rows}
    one = found["p7"]
    assert one["title"] == "Red mug 7"
    assert one["titles"] == {"zh": "红色马克杯 7"}
    assert one["price"] == 7.5
    assert one["identifier_keys"] == ["mug7"]
    assert one["attribute_pairs"] == ["colour=red"]
    assert one["extra"] == {"shelf": {"aisle": 7}}
    assert {"red", "mug"} <= set(one["tokens"]["title"].split(SEPARATOR))
    assert "nuvola" in one["tokens"]["attributes"].split(SEPARATOR)
    assert one["images"][0]["ref"] == "images/7.png"
    assert len(one["images"][0]["joint"]) == 32
    assert len(one["images"][0]["visual"]) == 16
    text = "Red mug 7\n红色马克杯 7\nHolds 7 ml."
    assert np.allclose(one["text_vector"], encoder.encode_texts([text])["text"][0], atol=1e-6)
    assert not (tmp_path / "rejects.jsonl").exists()


def test_meta_of_a_new_index(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    ingest_catalog(es_url, write_rows(tmp_path, rows), name, shards=2, replicas=0)
    target = load_target(client, name)
    assert target.shards == 2
    assert target.meta.state == "complete"
    assert target.meta.counts == {"documents": MANY, "without_image": 0}
    assert target.meta.encoder.fingerprint == HashEncoder().info.fingerprint
    assert set(target.meta.calibration) == {"image", "visual", "text"}
    for leg in target.meta.calibration.values():
        assert 0.3 < leg.floor < 0.99
        assert 0.0 < leg.spread < 0.4
    assert target.fields["titles.zh"] == "text"
    settings = client.indices.get_settings(index=name).body[target.index]["settings"]["index"]
    assert settings["number_of_replicas"] == "0"
    assert "refresh_interval" not in settings
    aliases = client.indices.get_alias(index=target.index).body[target.index]["aliases"]
    assert set(aliases) == {name, f"{target.index}-edits"}


def test_a_second_run_encodes_and_writes_nothing(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)
    before = written(client, name)
    encoder = HashEncoder()
    report = ingest_catalog(es_url, catalog, name, encoder=encoder)
    assert counts(report) == (0, 0, MANY, 0)
    assert encoder.calls == []
    assert written(client, name) == before
    assert not report.rebuilt


def test_only_what_changed_is_written(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    ingest_catalog(es_url, write_rows(tmp_path, rows), name)
    rows[3]["price"] = 99
    rows[5]["title"] = "Blue mug 5"
    rows.append({"id": "new", "title": "New thing"})
    encoder = HashEncoder()
    report = ingest_catalog(es_url, write_rows(tmp_path, rows), name, encoder=encoder)
    assert counts(report) == (1, 2, MANY - 2, 0)
    assert report.counts["encoded_images"] == 0, "a price edit reuses the picture's vector"
    assert report.counts["encoded_texts"] == 2, "the price edit reuses the text's vector, too"
    found = documents(client, name)
    assert found["p3"]["price"] == 99
    assert len(found["p3"]["images"][0]["joint"]) == 32
    assert found["p5"]["title"] == "Blue mug 5"
    assert "images" not in found["new"]


def test_other_bytes_behind_the_same_path_are_noticed(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)
    before = documents(client, name)["p4"]["images"]
    draw(tmp_path / "images/4.png", seed=200)
    report = ingest_catalog(es_url, catalog, name)
    assert counts(report) == (0, 1, MANY - 1, 0)
    assert report.counts["encoded_images"] == 1
    assert documents(client, name)["p4"]["images"] != before


def test_a_picture_that_fails_is_reported_each_time_and_used_once_it_is_there(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    (tmp_path / "images/2.png").unlink()
    broken = tmp_path / "images/6.png"
    broken.write_bytes(broken.read_bytes()[:50])
    catalog = write_rows(tmp_path, rows)
    for expected in ((MANY, 0, 0, 0), (0, 0, MANY, 0)):
        report = ingest_catalog(es_url, catalog, name)
        assert counts(report) == expected
        assert (report.counts["failed_pictures"], report.counts["without_image"]) == (2, 2)
        assert not report.clean
        lines = rejects(tmp_path / "rejects.jsonl")
        assert [(line["id"], line["stage"], line["field"]) for line in lines] == [
            ("p2", "picture", "images[0]"),
            ("p6", "picture", "images[0]"),
        ]
    assert documents(client, name)["p2"]["images"] == [{"ref": "images/2.png"}]
    draw(tmp_path / "images/2.png", seed=2)
    draw(broken, seed=6)
    again = tmp_path / "again.jsonl"
    (tmp_path / "rejects.jsonl").rename(again)
    report = ingest_catalog(es_url, again, name)
    assert counts(report) == (0, 2, 0, 0), "a rejects file is a catalogue"
    assert report.clean
    assert counts(ingest_catalog(es_url, catalog, name)) == (0, 0, MANY, 0)


def test_two_rows_with_one_picture_encode_it_once(
    client: Elasticsearch, es_url: str, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        row["images"] = ["images/1.png", "images/1.png"]
    report = ingest_catalog(es_url, write_rows(tmp_path, rows), name)
    assert report.counts["encoded_images"] == 1
    assert all(len(one["images"]) == 1 for one in documents(client, name).values())


def test_a_row_that_the_cluster_refuses_is_a_reject(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    # More languages than a mapping may have fields.
    rows[1] |= {
        f"title_{a}{b}{region}": "x"
        for a in "abcdefghijklmnopqrst"
        for b in "abcdefghijklmnopqrstuvwxyz"
        for region in ("", "-AA", "-BB")
    }
    catalog = write_rows(tmp_path, rows)
    report = ingest_catalog(es_url, catalog, name)
    assert counts(report) == (MANY - 1, 0, 0, 1)
    line = rejects(tmp_path / "rejects.jsonl")[0]
    assert line["id"] == "p1"
    assert (line["line"], line["stage"]) == (2, "index")
    assert "1000" in line["reason"]
    assert line["row"]["title_aa-BB"] == "x"
    assert set(documents(client, name)) == {row["id"] for row in rows} - {"p1"}


def test_a_failed_build_leaves_the_old_index_serving(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)

    class Breaking(HashEncoder):
        def prepare(self, picture: Any) -> Any:
            if len(self.calls) > 1:
                raise MemoryError("on purpose")
            return super().prepare(picture)

    home = tmp_path / "other store"
    home.mkdir()
    with pytest.raises(MemoryError):
        ingest_catalog(es_url, catalog, name, home=home, encoder=Breaking(batch_size=2), rebuild=True)
    states = [(one.index, one.state, one.serving) for one in list_versions(client, name)]
    assert states == [(f"{name}-v0001", "complete", True), (f"{name}-v0002", "abandoned", False)]
    assert len(documents(client, name)) == MANY
    report = ingest_catalog(es_url, catalog, name, rebuild=True)
    assert report.index == f"{name}-v0002", "what was begun is gone on with"
    assert [one.index for one in list_versions(client, name)] == [f"{name}-v0001", f"{name}-v0002"]
    assert len(documents(client, name)) == MANY


def test_the_alias_never_shows_a_half_built_index(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)
    seen: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        with connect(load_settings(url=es_url)) as watching:
            while not over.is_set():
                seen.add(int(watching.count(index=name).body["count"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        rows += [{"id": f"more-{n}", "title": f"More {n}"} for n in range(7)]
        home = tmp_path / "new store"
        home.mkdir()
        ingest_catalog(
            es_url, write_rows(tmp_path, rows), name, home=home, encoder=SlowEncoder(0.05), rebuild=True
        )
    finally:
        over.set()
        watcher.join()
    assert seen <= {MANY, MANY + 7}
    assert MANY in seen
    assert len(documents(client, name)) == MANY + 7


def test_rebuild_reuses_vectors_keeps_two_versions_and_can_be_rolled_back(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)
    first = documents(client, name)
    for _ in range(2):
        encoder = HashEncoder()
        report = ingest_catalog(es_url, catalog, name, encoder=encoder, rebuild=True)
        assert encoder.calls == []
        assert report.counts["reused_vectors"] == 2 * MANY
    assert (report.index, report.replaced) == (f"{name}-v0003", f"{name}-v0002")
    assert report.dropped == (f"{name}-v0001",)
    assert documents(client, name) == first
    assert version_before(client, name) == (f"{name}-v0003", f"{name}-v0002")
    swap(client, name, f"{name}-v0002")
    assert load_target(client, name).index == f"{name}-v0002"


def test_foreign_indices_are_refused_and_left_alone(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    client.indices.create(index=f"{name}-theirs", aliases={f"{name}-alias": {}})
    for rebuild in (False, True):
        with pytest.raises(ForeignIndexError):
            ingest_catalog(es_url, catalog, f"{name}-theirs", rebuild=rebuild)
        with pytest.raises(ForeignIndexError):
            ingest_catalog(es_url, catalog, f"{name}-alias", rebuild=rebuild)
    assert client.count(index=f"{name}-theirs").body["count"] == 0
    client.indices.create(index=f"{name}-v0001")
    assert ingest_catalog(es_url, catalog, name).index == f"{name}-v0002"
    assert client.count(index=f"{name}-v0001").body["count"] == 0


def test_another_encoder_tokeniser_layout_or_shard_count_is_refused(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    ingest_catalog(es_url, catalog, name)
    other = HashEncoder(fingerprint="hash-0000000000000002")
    plain = Analyzer(TextOptions(stemming=False))
    with pytest.raises(FingerprintMismatchError, match=r"0001.*0002"):
        ingest_catalog(es_url, catalog, name, encoder=other)
    with pytest.raises(FingerprintMismatchError, match="tokeniser"):
        ingest_catalog(es_url, catalog, name, analyzer=plain)
    with pytest.raises(IndexStateError, match="kind of vector index"):
        ingest_catalog(es_url, catalog, name, vector_index="hnsw")
    with pytest.raises(IndexStateError, match="1 shards"):
        ingest_catalog(es_url, catalog, name, shards=2)
    report = ingest_catalog(es_url, catalog, name, encoder=other, rebuild=True)
    assert report.counts["encoded_images"] == MANY, "vectors of another encoder are never reused"
    assert load_target(client, name).meta.encoder.fingerprint == "hash-0000000000000002"


def test_replicas_change_in_place(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    catalog = write_rows(tmp_path, rows)
    report = ingest_catalog(es_url, catalog, name, replicas=0)
    ingest_catalog(es_url, catalog, name, replicas=1)
    settings = client.indices.get_settings(index=name).body[report.index]["settings"]["index"]
    assert settings["number_of_replicas"] == "1"


def test_a_catalogue_that_cannot_be_read_touches_no_index(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path
) -> None:
    with pytest.raises(CatalogError):
        ingest_catalog(es_url, tmp_path / "none.jsonl", name)
    assert list_versions(client, name) == []


def test_base64_and_numbers_are_the_same_vector(
    es_url: str, client: Elasticsearch, name: str, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    major, minor = map(int, server_version(client).split(".")[:2])
    ingest_catalog(es_url, write_rows(tmp_path, rows), name)
    found = documents(client, name)["p1"]
    if (major, minor) < (9, 3):
        return
    vector = np.asarray(found["text_vector"], dtype=np.float32)
    client.index(
        index=f"{name}-v0001",
        id="packed",
        document={"id": "packed", "title": "x", "text_vector": as_base64(vector)},
    )
    assert np.allclose(documents(client, name)["packed"]["text_vector"], vector, atol=0)


def test_a_catalogue_without_a_good_row_takes_no_place(
    es_url: str, client: Elasticsearch, name: str, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    none_good = write_rows(bad, [{"id": str(number), "title": ""} for number in range(3)])
    report = ingest_catalog(es_url, none_good, name)
    assert (counts(report), report.index, report.clean) == ((0, 0, 0, 3), None, False)
    assert not client.indices.exists_alias(name=name)
    catalog = write_rows(tmp_path, rows)
    assert counts(ingest_catalog(es_url, catalog, name)) == (MANY, 0, 0, 0)
    before = list_versions(client, name)
    assert ingest_catalog(es_url, none_good, name, rebuild=True).index is None
    assert list_versions(client, name) == before
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(CatalogError, match="is empty"):
        ingest_catalog(es_url, tmp_path / "empty.jsonl", name, rebuild=True)
    assert len(documents(client, name)) == MANY
