"""A second version is built beside the first while others write: nothing that they wrote is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_xmodal.cluster.client import connect
from es_xmodal.errors import IndexStateError, XModalError
from es_xmodal.index.closing import Closure, is_blocked
from es_xmodal.index.target import load_target
from es_xmodal.index.versions import swap
from es_xmodal.ingest.report import IngestReport
from es_xmodal.ingest.swapping import Moved, move_alias
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.ingesting import documents, draw, ingest_catalog, parts_for, shop_rows, write_rows

pytestmark = pytest.mark.integration

OTHER = "hash-0000000000000002"


class Watched(HashEncoder):
    """Calls back in the middle of its work: that is when others write."""

    def __init__(self, then: Callable[[], None], *, fingerprint: str = OTHER) -> None:
        super().__init__(fingerprint=fingerprint, batch_size=4)
        self._then: Callable[[], None] | None = then

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        if self._then is not None:
            then, self._then = self._then, None
            then()
        return super()._picture_batch(batch)


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


class Shop:
    """An index with some products, and ways to write to it."""

    def __init__(self, url: str, client: Elasticsearch, name: str, folder: Path, count: int) -> None:
        self.url, self.client, self.name, self.folder = url, client, name, folder
        self.fresh = 0
        self.rows = {row["id"]: row for row in shop_rows(folder, count)}
        self.ingest(self.rows.values())

    def ingest(self, rows: Any, **options: Any) -> IngestReport:
        catalog = write_rows(self.folder, list(rows))
        return ingest_catalog(self.url, catalog, self.name, **options)

    def update(self, *rows: dict[str, Any]) -> None:
        edits = write_rows(self.folder, rows, name="edits.jsonl")
        ingest_catalog(self.url, edits, self.name, home=self.folder / "writer", update=True)
        for row in rows:
            if row.get("deleted"):
                self.rows.pop(row["id"], None)
            else:
                self.rows[row["id"]] = {**self.rows[row["id"]], **row}

    def add(self, row: dict[str, Any]) -> None:
        catalog = write_rows(self.folder, [row], name="new.jsonl")
        ingest_catalog(self.url, catalog, self.name, home=self.folder / "writer")
        self.rows[row["id"]] = row

    def serving(self) -> str:
        return load_target(self.client, self.name).index

    def same_as_fresh(self, encoder: HashEncoder, *, edited: Sequence[str] = ()) -> None:
        """What serves is what an ingest of the rows as they are now would make, field by field.

        A price that was edited in place leaves the hash of its product as it is: those are `edited`.
        """
        self.fresh += 1
        fresh = f"{self.name}-fresh{self.fresh}"
        catalog = write_rows(self.folder, list(self.rows.values()), name="fresh.jsonl")
        ingest_catalog(self.url, catalog, fresh, encoder=encoder)
        found, made = documents(self.client, self.name), documents(self.client, fresh)
        for one in edited:
            assert found[one].pop("row_hash") != made[one].pop("row_hash")
        assert found == made


@pytest.fixture
def shop(es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path) -> Shop:
    return Shop(es_url, client, f"{index_prefix}shop", tmp_path, 24)


def test_edits_additions_and_deletions_during_a_build_are_in_the_new_version(shop: Shop) -> None:
    catalog = list(shop.rows.values())

    def others() -> None:
        shop.update(
            {"id": "p3", "price": 77}, {"id": "p4", "title": "Blue mug"}, {"id": "p5", "deleted": True}
        )
        shop.add({"id": "new", "title": "Green lamp", "shelf": {"aisle": 9}})
        shop.update({"id": "p3", "available": False})
        # Somebody who knows nothing of this project writes through the alias.
        shop.client.update(index=shop.name, id="p6", doc={"url": "https://shop.example/6"})
        shop.rows["p6"] = {**shop.rows["p6"], "url": "https://shop.example/6"}

    report = shop.ingest(catalog, rebuild=True, encoder=Watched(others))
    assert report.index == f"{shop.name}-v0002" == shop.serving()
    assert report.brought is not None
    assert (report.brought.written, report.brought.deleted, report.brought.rejected) == (4, 1, 0)
    assert report.brought.held_back_s > 0
    shop.same_as_fresh(HashEncoder(fingerprint=OTHER))
    assert not is_blocked(shop.client, f"{shop.name}-v0001")
    aliases = shop.client.indices.get(index=f"{shop.name}-v*").body
    assert {index: set(one["aliases"]) for index, one in aliases.items()} == {
        f"{shop.name}-v0001": set(),
        f"{shop.name}-v0002": {shop.name, f"{shop.name}-v0002-edits"},
    }


def test_a_product_that_is_deleted_and_made_again_counts_as_it_is_in_the_end(shop: Shop) -> None:
    """Its version starts anew, below what the new version holds of it."""
    for price in range(3):
        shop.update({"id": "p1", "price": price + 0.25}, {"id": "p2", "price": price + 0.75})

    def others() -> None:
        shop.client.indices.put_settings(index=shop.serving(), settings={"index.gc_deletes": "0s"})
        for id_ in ("p1", "p2"):
            shop.client.delete(index=shop.name, id=id_, refresh=True)
        shop.add({"id": "p1", "title": "Made again"})
        shop.rows.pop("p2")

    report = rebuilt(shop, Watched(others), rebuild=True, from_index=True)
    assert report.brought is not None
    assert report.brought.deleted == 1
    shop.same_as_fresh(HashEncoder(fingerprint=OTHER))


def rebuilt(shop: Shop, encoder: HashEncoder, *, home: Path | None = None, **options: Any) -> IngestReport:
    """Build a new version of the rows of the index."""
    return ingest_catalog(
        shop.url, shop.folder / shop.name, shop.name, home=home or shop.folder, encoder=encoder, **options
    )


def test_rows_of_the_index_make_the_same_version_as_the_catalogue(shop: Shop) -> None:
    shop.update({"id": "p3", "price": 77}, {"id": "p4", "title": "Blue mug"})
    report = rebuilt(shop, HashEncoder(), rebuild=True, from_index=True, shards=3)
    assert (report.counts["indexed"], report.counts["rejected"]) == (24, 0)
    assert report.counts["encoded_images"] == 0
    # The edited text was embedded elsewhere.
    assert (report.counts["reused_vectors"], report.counts["index_vectors"]) == (47, 1)
    shop.same_as_fresh(HashEncoder())
    again = shop.ingest(shop.rows.values())
    assert again.counts["unchanged"] == 24, "the hashes are those of the rows"


def test_what_the_store_lacks_is_taken_from_the_index(shop: Shop, tmp_path: Path) -> None:
    empty = tmp_path / "another machine"
    empty.mkdir()
    encoder = HashEncoder()
    report = rebuilt(shop, encoder, home=empty, rebuild=True, from_index=True, rejects=tmp_path / "r.jsonl")
    assert report.counts["index_vectors"] == 48, "24 pictures and 24 texts"
    assert sum(count for kind, count in encoder.calls if kind == "pictures") == 0
    shop.same_as_fresh(HashEncoder())

    (shop.folder / "images/3.png").unlink()
    (shop.folder / "images/4.png").write_bytes((shop.folder / "images/5.png").read_bytes())
    emptier = tmp_path / "a third"
    emptier.mkdir()
    before = documents(shop.client, shop.name)
    rebuilt(shop, encoder, home=emptier, rebuild=True, from_index=True, rejects=tmp_path / "r.jsonl")
    after = documents(shop.client, shop.name)
    assert after["p3"]["images"] == before["p3"]["images"], "the picture is gone, its vector is not"
    assert after["p3"]["row_hash"] != before["p3"]["row_hash"]
    assert after["p4"]["images"][0]["visual"] == after["p5"]["images"][0]["visual"], "another picture by now"
    assert after["p0"] == before["p0"]


def test_pictures_of_a_wrong_folder_are_no_reason_to_swap(shop: Shop, tmp_path: Path) -> None:
    for picture in (shop.folder / "images").iterdir():
        picture.unlink()
    report = rebuilt(shop, HashEncoder(fingerprint=OTHER), rebuild=True, from_index=True)
    assert not report.serves
    assert not report.clean
    assert "--images-root" in str(report.held_back)
    assert shop.serving() == f"{shop.name}-v0001"


def test_a_version_waits_and_is_swapped_with_what_was_written_since(shop: Shop, tmp_path: Path) -> None:
    encoder = HashEncoder(fingerprint=OTHER)
    report = shop.ingest(shop.rows.values(), rebuild=True, swap=False, encoder=encoder)
    assert (report.index, report.serves, shop.serving()) == (
        f"{shop.name}-v0002",
        False,
        f"{shop.name}-v0001",
    )
    for price in (1, 2):
        shop.update({"id": "p3", "price": price})
    shop.update({"id": "p9", "deleted": True})
    shop.add({"id": "new", "title": "Green lamp"})
    moved = move(shop, "2", encoder)
    assert (moved.before, moved.now) == (f"{shop.name}-v0001", f"{shop.name}-v0002")
    assert moved.brought is not None
    assert (moved.brought.written, moved.brought.deleted) == (2, 1)
    shop.same_as_fresh(encoder)

    ingest_catalog(
        shop.url,
        write_rows(shop.folder, [{"id": "p7", "title": "Seven"}], name="seven.jsonl"),
        shop.name,
        encoder=encoder,
    )
    shop.rows["p7"] = {"id": "p7", "title": "Seven"}
    back = move(shop, "1", HashEncoder())
    assert back.brought is not None
    assert (back.brought.written, back.brought.deleted) == (1, 0)
    shop.same_as_fresh(HashEncoder(), edited=["p3"])


def move(shop: Shop, version: str, encoder: HashEncoder, **options: Any) -> Moved:
    """Swap with the parts of the tests."""
    return move_alias(
        shop.client,
        shop.name,
        version,
        parts_for=lambda target: parts_for(shop.url, shop.folder, root=shop.folder, encoder=encoder),
        rejects=shop.folder / "swap.rejects.jsonl",
        **options,
    )


def test_of_rows_with_versions_the_newest_counts(shop: Shop) -> None:
    """Whether it comes from the catalogue or was written meanwhile."""
    rows = [{"id": f"p{at}", "title": f"Row of 50, {at}", "at": 50} for at in range(2)]
    shop.ingest(rows, version_field="at")

    def others() -> None:
        late = [{"id": "p0", "title": "Row of 40", "at": 40}, {"id": "p1", "title": "Row of 70", "at": 70}]
        ingest_catalog(
            shop.url,
            write_rows(shop.folder, late, name="late.jsonl"),
            shop.name,
            home=shop.folder / "writer",
            version_field="at",
        )
        shop.client.update(index=shop.name, id="p0", doc={"url": "https://shop.example/0"})

    draw(shop.folder / "images/newer.png", seed=7)
    newer = [
        {"id": f"p{at}", "title": "Row of 60", "at": 60, "images": ["images/newer.png"]} for at in range(2)
    ]
    report = shop.ingest(newer, rebuild=True, version_field="at", encoder=Watched(others))
    assert report.brought is not None
    assert report.brought.written == 1
    found = {id_: one["title"] for id_, one in documents(shop.client, shop.name).items()}
    assert found == {"p0": "Row of 60", "p1": "Row of 70"}


def test_products_that_only_the_catalogue_knows_are_not_taken_for_deleted_ones(shop: Shop) -> None:
    encoder = HashEncoder(fingerprint=OTHER)
    more = {"id": "more", "title": "Only in the catalogue"}
    fewer = [row for row in shop.rows.values() if row["id"] != "p0"]
    shop.ingest([*fewer, more], rebuild=True, swap=False, encoder=encoder)
    shop.update({"id": "p1", "deleted": True})
    move(shop, "2", encoder)
    shop.rows.pop("p0")
    shop.rows["more"] = more
    shop.same_as_fresh(encoder)
    # The way back: what the old version had and the new one never had is no deletion either.
    shop.client.delete(index=shop.name, id="p2")
    move(shop, "1", HashEncoder())
    ids = set(documents(shop.client, shop.name))
    assert ids == {f"p{at}" for at in range(24)} - {"p1", "p2"}


class Held:
    """Tells when a writer has met the closed door."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.met = threading.Event()

        def noticed(client: Elasticsearch, index: str) -> bool:
            found = is_blocked(client, index)
            if found:
                self.met.set()
            return found

        monkeypatch.setattr("es_xmodal.ingest.door.is_blocked", noticed)


@pytest.mark.parametrize("same", [True, False], ids=["same encoder", "another encoder"])
def test_a_writer_that_meets_the_swap_waits_and_goes_on_or_says_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    held = Held(monkeypatch)
    encoder = HashEncoder() if same else HashEncoder(fingerprint=OTHER)
    shop.ingest(shop.rows.values(), rebuild=True, swap=False, encoder=encoder)
    finished: list[IngestReport | XModalError] = []

    def write() -> None:
        edits = write_rows(shop.folder, [{"id": "p3", "price": 333}], name="late.jsonl")
        try:
            report = ingest_catalog(shop.url, edits, shop.name, home=shop.folder / "late", update=True)
            finished.append(report)
        except XModalError as error:
            finished.append(error)

    def with_a_writer(*given: Any, **named: Any) -> Any:
        writer.start()
        assert held.met.wait(60), "the writer was not held back"
        return swap(*given, **named)

    writer = threading.Thread(target=write)
    monkeypatch.setattr("es_xmodal.ingest.swapping.swap", with_a_writer)
    move(shop, "2", encoder)
    writer.join()
    (end,) = finished
    if same:
        assert isinstance(end, IngestReport)
        assert end.counts["updated"] == 1
        assert documents(shop.client, shop.name)["p3"]["price"] == 333
    else:
        assert isinstance(end, IndexStateError)
        assert f"{shop.name} was swapped from {shop.name}-v0001 to {shop.name}-v0002" in str(end)
        assert "run the same command again" in str(end)
        assert documents(shop.client, shop.name)["p3"]["price"] == 3.5
    assert documents(shop.client, f"{shop.name}-v0001")["p3"]["price"] == 3.5, (
        "never into what serves no more"
    )


def test_a_writer_that_notices_nothing_of_a_swap_does_not_write_to_the_old_version(shop: Shop) -> None:
    """It opened the index before the swap, and sends its first document after it."""
    encoder = HashEncoder(fingerprint=OTHER)
    shop.ingest(shop.rows.values(), rebuild=True, swap=False, encoder=encoder)

    def swapped() -> None:
        move(shop, "2", encoder)

    writer = Watched(swapped, fingerprint=HashEncoder().info.fingerprint)
    draw(shop.folder / "images/late.png", seed=99)
    late = {"id": "late", "title": "Late", "images": ["images/late.png"]}
    with pytest.raises(IndexStateError, match="which has another encoder"):
        ingest_catalog(
            shop.url, write_rows(shop.folder, [late], name="late.jsonl"), shop.name, encoder=writer
        )
    assert "late" not in documents(shop.client, shop.name)
    assert "late" not in documents(shop.client, f"{shop.name}-v0001")


def test_searches_through_the_alias_never_fail_and_never_miss(shop: Shop) -> None:
    """While a version is built, swapped to, and rolled back."""
    encoder = HashEncoder(fingerprint=OTHER)
    stop, found = threading.Event(), []

    def search() -> None:
        client = connect(load_settings(url=shop.url))
        while not stop.is_set():
            answer = client.search(index=shop.name, query={"match": {"title": "mug"}}, size=0)
            found.append(answer.body["hits"]["total"]["value"])
        client.close()

    searching = threading.Thread(target=search)
    searching.start()
    try:
        shop.ingest(shop.rows.values(), rebuild=True, encoder=encoder)
        move(shop, "1", HashEncoder())
    finally:
        stop.set()
        searching.join()
    assert len(found) > 5
    assert set(found) == {24}


def test_a_writer_that_never_stops_loses_nothing(shop: Shop) -> None:
    """A program of the shop's own: it writes through the alias, and tries again where it is held back."""
    stop, written, waits = threading.Event(), dict[str, float | None](), []

    def write() -> None:
        draw_lots = random.Random(7)
        client = connect(load_settings(url=shop.url))
        number = 0
        while not stop.is_set():
            number += 1
            id_ = f"p{draw_lots.randrange(40)}"
            gone = draw_lots.random() < 0.3
            row = {"id": id_, "title": f"Red mug {id_}", "price": float(number)}
            action: dict[str, Any] = {"delete": {"_id": id_}} if gone else {"index": {"_id": id_}}
            while True:
                answer = client.bulk(index=shop.name, operations=[action] if gone else [action, row])
                ((_, result),) = answer.body["items"][0].items()
                if result["status"] != 403:
                    break
                waits.append(number)
            assert result["status"] in (200, 201, 404)
            written[id_] = None if gone else float(number)
        client.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2):
            report = rebuilt(shop, HashEncoder(fingerprint=OTHER), rebuild=True, from_index=True)
        move(shop, str(int(shop.serving()[-4:]) - 1), HashEncoder(fingerprint=OTHER))
    finally:
        stop.set()
        writer.join()
    assert report.brought is not None
    assert report.brought.written > 0
    expected = {f"p{at}": at + 0.5 for at in range(24)} | written
    found = {id_: one["price"] for id_, one in documents(shop.client, shop.name).items()}
    assert found == {id_: price for id_, price in expected.items() if price is not None}


def test_where_products_are_deleted_all_the_time_writers_wait_for_the_first_moment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    class Watching(Closure):
        def __enter__(self) -> Closure:
            held.append(self.index)
            return super().__enter__()

    monkeypatch.setattr("es_xmodal.index.marks.only_writes_since", lambda client, marks: False)
    monkeypatch.setattr("es_xmodal.ingest.destination.Closure", Watching)
    shop.ingest(shop.rows.values(), rebuild=True)
    assert held == [f"{shop.name}-v0001"]
    assert not is_blocked(shop.client, f"{shop.name}-v0001")
    assert shop.serving() == f"{shop.name}-v0002"
