"""The development data: every bundle reads, and the awkward one as its own list says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog
from tests.support.data import shared_data

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"grocery": 81, "yanxuan_zh": 239, "vendure": 54, "fashion1000": 1000}


def products(path: Path, **options: Any) -> list[Product]:
    found = list(read_catalog(path, **options))
    assert not [row for row in found if isinstance(row, Reject)]
    return [row for row in found if isinstance(row, Product)]


@pytest.mark.parametrize("bundle", SIZES)
def test_good_bundles_read_whole_and_fit_the_schema(bundle: str) -> None:
    path = shared_data(f"{bundle}/catalog.jsonl")
    assert len(products(path)) == SIZES[bundle]
    schema = json.loads((ROOT / "ingest/catalog.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for line in path.read_text("utf-8").rstrip("\n").split("\n"):
        validator.validate(json.loads(line))


@pytest.mark.parametrize(("file", "column"), [("catalog.jsonl", "expected"), ("catalog.csv", "expected_csv")])
def test_awkward_rows_go_where_the_list_says(file: str, column: str) -> None:
    folder = shared_data("awkward")
    with (folder / "expected.tsv").open(encoding="utf-8", newline="") as stream:
        expected = {
            int(row["row"]): row[column] != "rejected" for row in csv.DictReader(stream, delimiter="\t")
        }
    found = list(read_catalog(folder / file))
    assert {row.line: isinstance(row, Product) for row in found} == expected
    assert len(found) == len(expected)
    for row in found:
        if isinstance(row, Reject):
            assert row.field or row.stage == "read"
            json.loads(row.to_json())


@pytest.mark.parametrize("file", ["catalog.jsonl", "catalog.csv"])
def test_awkward_values(file: str) -> None:
    found = list(read_catalog(shared_data("awkward") / file))
    by_id = {row.id: row for row in found if isinstance(row, Product)}
    assert by_id["A023"].price == 39.0
    assert (by_id["A028"].price, by_id["A028"].currency) == (1299.0, "CNY")
    assert len(by_id["A022"].title) == 20_000
    assert by_id["1026"].line == 26
    assert by_id["A032"].title == "保温杯 500ml"
    assert by_id["A033"].title == "蓝牙耳机\ufffd 黑色"
    assert by_id["A039"].images == ("images/white_shirt.jpg",)
    assert by_id["A040"].images == ("images/zero.jpg", "images/green_mug.jpg")
    assert by_id["A019"].images[0].startswith("data:image/png;base64,")
    assert by_id["A035"].description.startswith("<p>清洁 &amp; 保湿")
    assert by_id["A035"].description.count("\n") == 2
    assert "👩\u200d👩\u200d👧" in by_id["A031"].title
    assert by_id["A001"].category == ("测试", "日用")


@pytest.mark.parametrize("file", ["utf8_bom.csv", "gb18030.csv", "utf16le_bom.csv"])
def test_encodings_give_the_same_products(file: str) -> None:
    found = products(shared_data("awkward/encodings") / file)
    assert [(p.id, p.title, p.price) for p in found] == [
        ("E1", "红色雨伞", 39.9),
        ("E2", "蓝色马克杯", 29.0),
        ("E3", "Café 咖啡杯", 49.0),
    ]


def test_damaged_utf_8_costs_its_row_only() -> None:
    found = list(read_catalog(shared_data("awkward/encodings/invalid_utf8.csv")))
    assert [row.id for row in found] == ["E1", "E2", "E3"]
    bad = found[1]
    assert isinstance(bad, Reject)
    assert (bad.code, bad.line) == ("not_utf8", 2)
    assert "0xED" in bad.reason


@pytest.mark.parametrize(
    "renames",
    [{}, {"title": "name", "id": "slug", "images": "assets", "identifiers.sku": "sku"}],
    ids=["known by its header", "with renames"],
)
def test_vendure_csv_with_continuation_rows(renames: dict[str, str]) -> None:
    found = products(shared_data("vendure/catalog.csv"), renames=renames)
    reference = {p.id: p for p in products(shared_data("vendure/catalog.jsonl"))}
    assert [p.id for p in found] == list(reference)
    for p in found:
        other = reference[p.id]
        assert (p.title, p.brand, p.category) == (other.title, other.brand, other.category)
        assert p.attributes == other.attributes
        assert [f"images/{image}" for image in p.images] == list(other.images)
        variants = p.extra.get("variants", [{"sku": p.identifiers.get("sku"), "price": p.price}])
        assert [(v["sku"], v["price"]) for v in variants] == [
            (v["sku"], v["price"]) for v in other.extra["variants"]
        ]
