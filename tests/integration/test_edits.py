"""Edits of an index that serves: deletions, partial rows, versions, rejects that are fed back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import CatalogError, IndexMissingError, SettingsError
from es_xmodal.ingest import edits_missing
from es_xmodal.ingest.report import IngestReport
from es_xmodal.settings import load_settings
from tests.support.encoders import HashEncoder
from tests.support.ingesting import counts, documents, draw, ingest_catalog, rejects, shop_rows, write_rows

pytestmark = pytest.mark.integration

MANY = 12
Row = dict[str, Any]


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


class Shop:
    """A small shop in an index of its own."""

    def __init__(self, url: str, client: Elasticsearch, name: str, folder: Path) -> None:
        self.url, self.client, self.name, self.folder = url, client, name, folder
        self.rows = shop_rows(folder, MANY)
        self.encoder = HashEncoder()
        self.report = self.ingest(self.rows)

    def ingest(self, rows: list[Row], **options: Any) -> IngestReport:
        self.encoder = HashEncoder()
        return ingest_catalog(
            self.url, write_rows(self.folder, rows), self.name, encoder=self.encoder, **options
        )

    def documents(self) -> dict[str, Any]:
        return documents(self.client, self.name)

    def rejects(self) -> list[Row]:
        return rejects(self.folder / "rejects.jsonl")

    def alike(self, rows: list[Row], name: str) -> bool:
        """Whether the index is what a new one of these rows would be."""
        home = self.folder / "alike"
        home.mkdir(exist_ok=True)
        ingest_catalog(self.url, write_rows(self.folder, rows, name="a.jsonl"), name, home=home)
        return documents(self.client, name) == self.documents()


@pytest.fixture
def shop(es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path) -> Shop:
    return Shop(es_url, client, f"{index_prefix}edits", tmp_path)


def test_rows_that_say_deleted_leave_the_index(shop: Shop) -> None:
    rows: list[Row] = [
        {"id": "p0", "deleted": True},
        {"id": "p1", "title": "Red mug 1", "deleted": "TRUE"},
        {"id": "never", "deleted": 1},
        {**shop.rows[2], "deleted": False},
        {**shop.rows[3], "deleted": ""},
        {"id": "p4", "deleted": "perhaps"},
        {"deleted": True},
    ]
    report = shop.ingest(rows)
    assert counts(report) == (0, 0, 3, 2)
    assert report.counts["deleted"] == 2
    assert [(one["field"], one["reason"].split(":")[0]) for one in shop.rejects()] == [
        ("deleted", "not_yes_or_no"),
        ("id", "missing"),
    ]
    assert set(shop.documents()) == {f"p{n}" for n in range(2, MANY)}
    again = shop.ingest(rows[:2])
    assert (again.counts["deleted"], again.counts["unchanged"]) == (0, 2), "there is nothing left to delete"


def test_a_rebuild_does_not_write_what_is_deleted(shop: Shop) -> None:
    report = shop.ingest([*shop.rows[:3], {"id": "p3", "deleted": True}], rebuild=True)
    assert counts(report) == (3, 0, 0, 0)
    assert report.counts["deleted"] == 1
    assert set(shop.documents()) == {"p0", "p1", "p2"}


def test_tables_delete_too(shop: Shop) -> None:
    path = shop.folder / "gone.csv"
    path.write_text("id,deleted\np0,true\np1,no\np2,1\n")
    report = ingest_catalog(shop.url, path, shop.name)
    assert (report.counts["deleted"], report.counts["rejected"]) == (2, 1), "p1 has no title"
    path.write_text("id,title,deleted\np3,Mug,\np3,,true\n")
    report = ingest_catalog(shop.url, path, shop.name)
    assert (report.counts["updated"], report.counts["rejected"]) == (1, 1), "no variant, and no second row"
    assert "p3" in shop.documents()


@pytest.mark.parametrize("page", [5, 5_000])
def test_delete_missing(shop: Shop, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(edits_missing, "PAGE", page)
    kept = shop.rows[: MANY - 4]
    bad = {"id": f"p{MANY - 1}", "title": "Mug", "price": -1}
    report = shop.ingest([*kept, bad], delete_missing=True)
    assert counts(report) == (0, 0, len(kept), 1)
    assert report.counts["deleted_missing"] == 3
    assert set(shop.documents()) == {row["id"] for row in kept} | {bad["id"]}, "a reject is named, too"
    assert report.not_deleted is None
    again = shop.ingest(kept, delete_missing=True)
    assert again.counts["deleted_missing"] == 1
    assert shop.ingest(kept, delete_missing=True).clean


def test_more_than_half_is_refused_unless_it_is_meant(shop: Shop) -> None:
    report = shop.ingest(shop.rows[:3], delete_missing=True)
    assert not report.clean
    assert report.not_deleted is not None
    assert f"names 3 of the {MANY} products" in report.not_deleted
    assert "--delete-limit 75" in report.not_deleted
    assert len(shop.documents()) == MANY
    assert shop.ingest(shop.rows[:3], delete_missing=True, delete_limit=74).not_deleted is not None
    report = shop.ingest(shop.rows[:3], delete_missing=True, delete_limit=75)
    assert report.counts["deleted_missing"] == MANY - 3
    assert set(shop.documents()) == {"p0", "p1", "p2"}


@pytest.mark.parametrize("bad", ["{broken", '{"title": "no id"}'])
def test_a_row_without_an_id_keeps_everything(shop: Shop, bad: str) -> None:
    path = write_rows(shop.folder, shop.rows[:-1])
    path.write_text(path.read_text("utf-8") + bad + "\n", "utf-8")
    report = ingest_catalog(shop.url, path, shop.name, delete_missing=True)
    assert report.not_deleted == (
        f"nothing was deleted: row {MANY} cannot be read, so that its product is not known;"
        " mend it and run the same command again"
    )
    assert len(shop.documents()) == MANY


def test_price_edits_read_and_encode_nothing(shop: Shop, index_prefix: str) -> None:
    before = shop.documents()
    for path in (shop.folder / "images").iterdir():
        path.unlink()
    edits: list[Row] = [
        {"id": "p1", "price": 99, "available": False},
        {"id": "p2", "price": 2.5},  # what it is
        {"id": "p3", "price": None},
        {"id": "p4", "price": "12 €", "url": "https://shop.example/4"},
        {"id": "nobody", "price": 1},
        {"id": "p5", "price": -1},
        {"id": "p6"},
        {"id": "p7", "deleted": True},
    ]
    report = shop.ingest(edits, update=True)
    assert counts(report) == (0, 3, 1, 3)
    assert report.counts["deleted"] == 1
    assert shop.encoder.calls == []
    assert report.counts["failed_pictures"] == 0
    assert [(one["id"], one["stage"], one["reason"].split(":")[0], one["row"]) for one in shop.rejects()] == [
        ("p5", "row", "negative", edits[5]),
        ("p6", "row", "nothing_to_change", edits[6]),
        ("nobody", "index", "no_such_product", edits[4]),
    ]
    after = shop.documents()
    assert after["p1"] == {**before["p1"], "price": 99.0, "available": False}
    assert after["p2"] == before["p2"]
    assert after["p3"]["price"] is None
    assert (after["p4"]["price"], after["p4"]["currency"]) == (12.0, "EUR")
    assert after["p4"]["images"] == before["p4"]["images"], "the vectors are still there"
    again = shop.ingest(edits[:4], update=True)
    assert counts(again) == (0, 0, 4, 0)


def test_the_next_full_ingest_is_right_after_an_edit(shop: Shop, index_prefix: str) -> None:
    shop.ingest([{"id": "p1", "price": 99}, {"id": "p2", "price": 98}], update=True)
    shop.rows[1]["price"] = 99
    report = shop.ingest(shop.rows)
    assert counts(report) == (0, 2, MANY - 2, 0), "the catalogue has the last word"
    assert shop.encoder.calls == []
    assert shop.documents()["p2"]["price"] == 2.5
    assert counts(shop.ingest(shop.rows)) == (0, 0, MANY, 0)
    assert shop.alike(shop.rows, f"{index_prefix}alike")


def test_other_fields_are_laid_over_the_product(shop: Shop, index_prefix: str) -> None:
    draw(shop.folder / "images/new.png", seed=77)
    edits: list[Row] = [
        {"id": "p1", "title": "Green cup", "brand": None, "price": "7 €"},
        {"id": "p2", "attributes.colour": "blue", "attributes.size": ["L"], "shelf": None, "note": "new"},
        {"id": "p3", "attributes": {"size": "S"}, "identifiers": None},
        {"id": "p4", "images": ["images/new.png"]},
        {"id": "p5", "group_id": "mugs", "description": None},
        {"id": "p6", "title": "Red mug 6"},
        {"id": "nobody", "title": "x"},
        {"id": "p7", "title": None},
        {"id": "p8", "title": " "},
    ]
    report = shop.ingest(edits, update=True)
    assert counts(report) == (0, 5, 1, 3)
    assert (report.counts["encoded_images"], report.counts["encoded_texts"]) == (1, 2)
    assert {one["id"]: one["reason"].split(":")[0] for one in shop.rejects()} == {
        "p7": "missing",
        "p8": "empty",
        "nobody": "no_such_product",
    }
    rows = shop.rows
    rows[1] |= {"title": "Green cup", "price": 7, "currency": "EUR"}
    del rows[1]["brand"]
    rows[2] |= {"attributes": {"colour": ["blue"], "size": ["L"]}, "note": "new"}
    del rows[2]["shelf"]
    rows[3]["attributes"] = {"size": ["S"]}
    del rows[3]["identifiers"]
    rows[4]["images"] = ["images/new.png"]
    rows[5]["group_id"] = "mugs"
    del rows[5]["description"]
    assert shop.alike(rows, f"{index_prefix}alike")
    assert counts(shop.ingest(rows)) == (0, 0, MANY, 0), "its hash is that of the whole row"


def test_an_edit_never_costs_a_product_its_pictures(shop: Shop) -> None:
    before = shop.documents()["p1"]
    (shop.folder / "images/1.png").unlink()
    report = shop.ingest([{"id": "p1", "title": "Other"}], update=True)
    assert counts(report) == (0, 0, 0, 1)
    (line,) = shop.rejects()
    assert (line["stage"], line["field"], line["row"]) == (
        "picture",
        "images",
        {"id": "p1", "title": "Other"},
    )
    assert "would lose their vectors" in line["reason"]
    assert shop.documents()["p1"] == before


def test_edits_of_a_table_and_of_no_index(shop: Shop) -> None:
    path = shop.folder / "edits.csv"
    path.write_text("id,price,stock\np1,5,\np1,6,\np2,,7\n")
    report = ingest_catalog(shop.url, path, shop.name, update=True)
    assert counts(report) == (0, 2, 0, 1), "the first row of an id counts"
    found = shop.documents()
    assert (found["p1"]["price"], found["p2"]["extra"]["stock"]) == (5.0, "7")
    with pytest.raises(IndexMissingError, match="no index"):
        ingest_catalog(shop.url, path, f"{shop.name}-none", update=True)


def test_versions_settle_rows_out_of_order(shop: Shop, index_prefix: str) -> None:
    def row(version: Any, **fields: Any) -> Row:
        return {"id": "v", "title": f"Mug {version}", "at": version, **fields}

    name = {"version_field": "at"}
    report = shop.ingest([row(5), row(3), {"id": "v2", "title": "x"}, {**row("soon"), "id": "v3"}], **name)
    assert report.counts["indexed"] + report.counts["outdated"] == 2
    assert [(one["field"], one["reason"].split(":")[0]) for one in shop.rejects()] == [
        ("at", "missing"),
        ("at", "no_version"),
    ]
    assert shop.documents()["v"]["title"] == "Mug 5"
    assert counts(shop.ingest([row(5)], **name)) == (0, 0, 1, 0)
    report = shop.ingest([row(4), {"id": "v", "deleted": True, "at": 4}], **name)
    assert (report.counts["outdated"], report.clean) == (2, True)
    report = shop.ingest([{"id": "v", "deleted": True, "at": 6}], **name)
    assert report.counts["deleted"] == 1
    assert shop.ingest([row(5)], **name).counts["outdated"] == 1, "an old row does not bring it back"
    assert shop.ingest([row("2024-05-01T10:00:00Z")], **name).counts["indexed"] == 1
    assert shop.ingest([row("2024-05-01T09:59:59+00:00")], **name).counts["outdated"] == 1
    assert "v" in shop.documents()


def test_versions_in_a_new_index(shop: Shop) -> None:
    rows: list[Row] = [
        {"id": "a", "title": "new", "at": 2},
        {"id": "a", "title": "old", "at": 1},
        *[{"id": f"b{n}", "title": "x", "at": n} for n in range(20)],
    ]
    report = shop.ingest(rows, version_field="at", rebuild=True)
    assert report.counts["read"] == 22
    found = shop.documents()
    assert (len(found), found["a"]["title"]) == (21, "new")


def test_retry_until_nothing_is_left(shop: Shop) -> None:
    (shop.folder / "images/2.png").unlink()
    rows = [*shop.rows, {"id": "bad", "title": "Bad", "price": "?"}, {"id": "p0", "title": "Taken"}]
    path = write_rows(shop.folder, rows)
    path.write_text(path.read_text("utf-8") + "{broken\n", "utf-8")
    file = shop.folder / "rejects.jsonl"

    def retry() -> IngestReport:
        return ingest_catalog(shop.url, file, shop.name, retry=True, rejects=None)

    ingest_catalog(shop.url, path, shop.name)
    first = rejects(file)
    assert [one["id"] for one in first] == ["bad", "p0", None, "p2"]
    before = shop.documents()
    report = retry()
    assert (report.clean, report.rejects_file) == (False, str(file))
    assert [one["row"] for one in rejects(file)] == [one["row"] for one in first]
    assert shop.documents() == before, "the row with an id that is taken did not take its place"
    draw(shop.folder / "images/2.png", seed=2)
    mended = [{**one, "row": {**one["row"], "price": 3}} if one["id"] == "bad" else one for one in first]
    mended[1]["row"]["id"] = "own"
    mended[2]["row"] = {"id": "broken", "title": "Mended"}
    file.write_text("".join(json.dumps(one) + "\n" for one in mended))
    report = retry()
    assert counts(report) == (3, 1, 0, 0)
    assert report.clean
    assert not file.exists()
    assert set(shop.documents()) == {f"p{n}" for n in range(MANY)} | {"bad", "own", "broken"}
    with pytest.raises(CatalogError, match="nothing was rejected"):
        retry()


def test_a_retry_that_fails_keeps_its_file(shop: Shop) -> None:
    class Broken(HashEncoder):
        def prepare(self, picture: Any) -> Any:
            raise MemoryError("on purpose")

    (shop.folder / "images/2.png").unlink()
    shop.ingest([{**shop.rows[2], "title": "New"}, {"id": "bad", "title": ""}])
    file = shop.folder / "rejects.jsonl"
    before = file.read_text("utf-8")
    draw(shop.folder / "images/2.png", seed=99)
    with pytest.raises(MemoryError):
        ingest_catalog(
            shop.url, file, shop.name, retry=True, encoder=Broken(), home=shop.folder / "alone", rejects=None
        )
    assert file.read_text("utf-8") == before
    assert [one.name for one in shop.folder.iterdir() if one.name.endswith(".part")] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"update": True, "rebuild": True}, "--update and --rebuild"),
        ({"update": True, "delete_missing": True}, "--update and --delete-missing"),
        ({"update": True, "version_field": "at"}, "--update and --version-field"),
        ({"delete_missing": True, "rebuild": True}, "--delete-missing and --rebuild"),
        ({"delete_missing": True, "retry": True}, "--delete-missing and --retry"),
        ({"rebuild": True, "retry": True}, "--rebuild and --retry"),
        ({"delete_limit": 5.0}, "no effect"),
    ],
)
def test_what_does_not_go_together(shop: Shop, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        shop.ingest(shop.rows, **options)


def test_a_catalogue_is_no_file_of_rejects(shop: Shop) -> None:
    with pytest.raises(CatalogError, match="no file of rejects"):
        shop.ingest(shop.rows, retry=True)
    assert (shop.folder / "catalog.jsonl").exists()
