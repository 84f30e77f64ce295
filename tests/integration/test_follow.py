"""A second version is built beside the first while others write: nothing that they wrote is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_xmodal.cluster.client import connect
from es_xmodal.index.closing import is_blocked
from es_xmodal.index.target import load_target
from es_xmodal.index.versions import list_versions
from es_xmodal.ingest.report import IngestReport
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.ingesting import documents, ingest_catalog, shop_rows, write_rows

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

    def same_as_fresh(self, encoder: HashEncoder) -> None:
        """What serves is what an ingest of the rows as they are now would make, field by field."""
        fresh = f"{self.name}-fresh{len(list_versions(self.client, self.name))}"
        catalog = write_rows(self.folder, list(self.rows.values()), name="fresh.jsonl")
        ingest_catalog(self.url, catalog, fresh, encoder=encoder)
        assert documents(self.client, self.name) == documents(self.client, fresh)


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
