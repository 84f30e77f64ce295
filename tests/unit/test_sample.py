"""The sample catalogue keeps its promises: true references, valid numbers, both languages, small files."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

pytestmark = pytest.mark.unit

SAMPLE = Path(__file__).resolve().parents[2] / "ingest" / "sample"
MAX_TOTAL_BYTES = 2_500_000
MAX_SIDE = 400
MAX_ASPECT = 4.0
CJK = re.compile(r"[\u4e00-\u9fff]")
KNOWN_FIELDS = {
    "id",
    "title",
    "title_zh",
    "description",
    "description_zh",
    "brand",
    "category",
    "price",
    "currency",
    "identifiers",
    "attributes",
    "images",
    "url",
    "group_id",
    "available",
}


@cache
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / "catalog.jsonl").read_text(encoding="utf-8").splitlines()]


@cache
def queries() -> list[dict[str, str]]:
    with (SAMPLE / "queries.tsv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def judgements() -> list[tuple[str, str, int]]:
    lines = (SAMPLE / "qrels.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split() for line in lines]
    assert all(len(part) == 4 and part[1] == "0" for part in parts)
    return [(part[0], part[2], int(part[3])) for part in parts]


def pictures() -> list[Path]:
    return sorted([*(SAMPLE / "images").iterdir(), *(SAMPLE / "photos").iterdir()])


def ean13_is_valid(code: str) -> bool:
    digits = [int(character) for character in code]
    return len(digits) == 13 and sum(d * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10 == 0


def test_the_check_digit_rule_knows_a_good_and_a_bad_code() -> None:
    assert ean13_is_valid("4006381333931")
    assert not ean13_is_valid("4006381333932")


def test_there_are_enough_products_of_several_kinds() -> None:
    assert len(rows()) >= 60
    assert len({row["category"][0] for row in rows()}) >= 5
    assert len({tuple(row["category"]) for row in rows()}) >= 15


def test_rows_have_only_known_fields_of_the_right_types() -> None:
    for row in rows():
        assert set(row) <= KNOWN_FIELDS, row["id"]
        assert isinstance(row["price"], float) and row["price"] > 0
        assert re.fullmatch(r"[A-Z]{3}", row["currency"])
        assert isinstance(row["available"], bool)
        assert row["category"] and all(isinstance(step, str) for step in row["category"])
        for value in row["attributes"].values():
            assert isinstance(value, str) or all(isinstance(item, str) for item in value)
        host = urlsplit(row["url"]).hostname or ""
        assert host == "example.com" or host.endswith(".example.com")


@pytest.mark.parametrize("field", ["id", "title", "title_zh", "description_zh", "url"])
def test_values_that_must_differ_do(field: str) -> None:
    repeated = [value for value, n in Counter(row[field] for row in rows()).items() if n > 1]
    assert repeated == []


def test_both_languages_are_there() -> None:
    for row in rows():
        assert not CJK.search(row["title"] + row["description"]), row["id"]
        assert CJK.search(row["title_zh"]) and CJK.search(row["description_zh"]), row["id"]
        assert not re.search(r"[\u4e00-\u9fff][,:;?!]", row["description_zh"]), row["id"]


def test_identifiers_are_unique_and_eans_are_in_store_codes_with_a_right_check_digit() -> None:
    for kind in ("sku", "ean", "mpn"):
        codes = [row["identifiers"][kind] for row in rows() if kind in row["identifiers"]]
        assert len(codes) == len(set(codes)), kind
    for row in rows():
        assert set(row["identifiers"]) <= {"sku", "ean", "mpn"}
        assert row["identifiers"]["ean"].startswith("2"), row["id"]
        assert ean13_is_valid(row["identifiers"]["ean"]), row["id"]


def test_variants_share_a_group_and_differ_in_an_attribute() -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows():
        if "group_id" in row:
            groups.setdefault(row["group_id"], []).append(row)
    assert len(groups) >= 3
    for name, members in groups.items():
        assert len(members) >= 2, name
        attributes = {json.dumps(member["attributes"], sort_keys=True) for member in members}
        assert len(attributes) == len(members), name


def test_some_products_have_several_pictures() -> None:
    assert sum(len(row["images"]) > 1 for row in rows()) >= 2


def test_every_picture_of_a_row_exists_and_no_picture_is_left_over() -> None:
    named = {ref for row in rows() for ref in row["images"]}
    named |= {query["image"] for query in queries() if query["image"]}
    present = {path.relative_to(SAMPLE).as_posix() for path in pictures()}
    assert named == present
    assert all(row["images"] and len(set(row["images"])) == len(row["images"]) for row in rows())


@pytest.mark.parametrize("path", pictures(), ids=lambda path: path.stem)
def test_a_picture_opens_is_small_and_carries_no_metadata(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        assert image.format == "JPEG" and image.mode == "RGB"
        assert max(image.size) <= MAX_SIDE and min(image.size) >= 100
        assert max(image.size) / min(image.size) <= MAX_ASPECT
        assert not image.getexif()
        assert not {"exif", "icc_profile", "photoshop", "xmp", "comment"} & set(image.info)


def test_query_photos_are_not_the_catalogue_pictures() -> None:
    contents = Counter(path.read_bytes() for path in pictures())
    assert set(contents.values()) == {1}


def test_the_sample_stays_small() -> None:
    total_bytes = sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file())
    assert total_bytes <= MAX_TOTAL_BYTES


def test_queries_follow_their_format() -> None:
    assert len(queries()) >= 40
    assert len({query["qid"] for query in queries()}) == len(queries())
    assert {query["mode"] for query in queries()} == {"text", "image", "text+image"}
    assert {query["lang"] for query in queries() if query["text"]} == {"en", "zh"}
    for query in queries():
        assert list(query) == ["qid", "mode", "lang", "text", "image", "tags"]
        assert bool(query["text"]) == ("text" in query["mode"]), query["qid"]
        assert bool(query["image"]) == ("image" in query["mode"]), query["qid"]
        assert bool(CJK.search(query["text"])) == (query["lang"] == "zh"), query["qid"]


def test_judgements_name_known_queries_and_products() -> None:
    ids = {row["id"] for row in rows()}
    qids = {query["qid"] for query in queries()}
    assert {product for _, product, _ in judgements()} <= ids
    assert {qid for qid, _, _ in judgements()} == qids
    assert {qid for qid, _, grade in judgements() if grade == 2} == qids
    assert {grade for _, _, grade in judgements()} <= {1, 2}
    pairs = [(qid, product) for qid, product, _ in judgements()]
    assert len(pairs) == len(set(pairs))


def test_an_excluded_product_exists_and_is_not_judged_relevant() -> None:
    judged = {(qid, product) for qid, product, _ in judgements()}
    ids = {row["id"] for row in rows()}
    excluded = [
        (query["qid"], tag.removeprefix("exclude="))
        for query in queries()
        for tag in re.split(r"[;,]", query["tags"])
        if tag.startswith("exclude=")
    ]
    assert excluded
    for qid, product in excluded:
        assert product in ids and (qid, product) not in judged


def test_the_readme_credits_every_picture() -> None:
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for path in pictures():
        assert f"| {path.relative_to(SAMPLE).as_posix()} |" in text
    assert "Copyright (c) 2018 Michael Bromley" in text
