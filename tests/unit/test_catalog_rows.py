"""One row: every field, right and wrong; prices; documents and back; the schema says the same."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.catalog.document import from_document, identifier_key, to_document, to_row
from es_xmodal.catalog.images import write_images
from es_xmodal.catalog.price import parse_price
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.row import parse_row
from es_xmodal.catalog.seen import SeenTexts
from es_xmodal.catalog.values import FieldProblem, price

pytestmark = pytest.mark.unit

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "ingest/catalog.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def product(**fields: Any) -> Product:
    result = parse_row({"id": "1", "title": "Mug", **fields}, line=1)
    assert isinstance(result, Product), result
    return result


def reject(**fields: Any) -> Reject:
    result = parse_row({"id": "1", "title": "Mug", **fields}, line=7)
    assert isinstance(result, Reject), result
    assert result.stage == "row"
    assert result.line == 7
    return result


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", 1026, "1026"),
        ("id", 1026.0, "1026"),
        ("id", " a\u200b1\n", "a1"),
        ("title", 1984, "1984"),
        ("title", "  two\n lines\t", "two lines"),
        ("description", " one\n\n<b>two</b>\x07 ", "one\n\n<b>two</b>"),
        ("description", None, ""),
        ("brand", "", None),
        ("category", "Kitchen > Mugs", ("Kitchen", "Mugs")),
        ("category", ["Kitchen", None, " ", 5], ("Kitchen", "5")),
        ("category", ["a>b"], ("a>b",)),
        ("price", 5, 5.0),
        ("price", "¥1,299.00", 1299.0),
        ("price", " ", None),
        ("images", "a.jpg", ("a.jpg",)),
        ("images", ["a.jpg", "", None, "b\x00.jpg"], ("a.jpg", "b.jpg")),
        ("images", "红\u200d色.jpg", ("红\u200d色.jpg",)),
        ("attributes", {"c": "red", "n": 12.0, "b": True, "l": ["x", 2, None]}, None),
        ("available", "In Stock", True),
        ("available", "out_of_stock", False),
        ("available", "有货", True),
        ("available", 0, False),
        ("available", 12, True),
        ("available", "", None),
        ("group_id", 9, "9"),
        ("url", "https://shop.example/?a=1|2", "https://shop.example/?a=1|2"),
    ],
)
def test_fields_are_read(field: str, value: Any, expected: Any) -> None:
    result = getattr(product(**{field: value}), field)
    if field == "attributes":
        expected = {"c": ("red",), "n": ("12",), "b": ("true",), "l": ("x", "2")}
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("id", None, "missing"),
        ("id", " \x00", "missing"),
        ("id", True, "wrong_type"),
        ("id", 1.5, "wrong_type"),
        ("id", ["a"], "wrong_type"),
        ("id", "x" * 513, "too_long"),
        ("id", "中" * 171, "too_long"),
        ("id", 10**60, "number_too_big"),
        ("title", None, "missing"),
        ("title", " \u200b\x07", "empty"),
        ("title", ["a", "b"], "wrong_type"),
        ("title", False, "wrong_type"),
        ("title", math.nan, "not_finite"),
        ("description", "x" * 1_000_001, "too_long"),
        ("description", {"en": "x"}, "wrong_type"),
        ("title_zh", ["x"], "wrong_type"),
        ("brand", "x" * 8192, "too_long"),
        ("category", {"a": 1}, "wrong_type"),
        ("category", [["a"]], "wrong_type"),
        ("price", -5, "negative"),
        ("price", "-5", "negative"),
        ("price", math.nan, "not_finite"),
        ("price", math.inf, "not_finite"),
        ("price", "NaN", "not_finite"),
        ("price", "1e999", "not_finite"),
        ("price", 10**400, "number_too_big"),
        ("price", "free", "not_a_price"),
        ("price", "10-20", "not_a_price"),
        ("price", True, "wrong_type"),
        ("price", [5], "wrong_type"),
        ("identifiers", "A-1", "wrong_type"),
        ("identifiers", {"sku": ["A"]}, "wrong_type"),
        ("attributes", ["red"], "wrong_type"),
        ("attributes", {" ": "red"}, "empty"),
        ("attributes", {"a": math.nan}, "not_finite"),
        ("attributes", {"a": {"b": [math.inf]}}, "not_finite"),
        ("images", [{"src": "a.jpg"}], "wrong_type"),
        ("images", [{"role": "main"}], "missing"),
        ("images", [{"ref": "a.jpg", "weight": -0.1}], "wrong_type"),
        ("images", [{"ref": "a.jpg", "weight": math.nan}], "wrong_type"),
        ("images", [{"ref": "a.jpg", "weight": True}], "wrong_type"),
        ("images", [{"ref": "a.jpg", "role": ["main"]}], "wrong_type"),
        ("images", [{"ref": "a.jpg", "role": "r" * 65}], "too_long"),
        ("images", [[{"ref": "a.jpg"}]], "wrong_type"),
        ("images", 5, "wrong_type"),
        ("available", "perhaps", "not_yes_or_no"),
        ("available", -1, "not_yes_or_no"),
        ("available", math.nan, "not_finite"),
        ("available", [True], "wrong_type"),
        ("rating", math.nan, "not_finite"),
        ("stock", {"a": [1, 2**70]}, "number_too_big"),
    ],
)
def test_wrong_fields_are_rejected_and_named(field: str, value: Any, code: str) -> None:
    result = reject(**{field: value})
    assert result.code == code
    assert result.field is not None
    assert result.field.split(".")[0].split("[")[0] == field
    assert result.id == ("1" if field != "id" else result.id)
    assert json.loads(result.to_json())["line"] == 7


@pytest.mark.parametrize("row", [None, 5, "x", [1], [{"id": "1", "title": "x"}]])
def test_a_row_must_be_an_object(row: Any) -> None:
    result = parse_row(row, line=3)
    assert isinstance(result, Reject)
    assert (result.code, result.field, result.id, result.row) == ("not_an_object", None, None, row)


def test_languages_identifiers_and_unknown_fields() -> None:
    result = product(
        **{
            "title_zh": "杯子",
            "title_zh-Hant": "杯子",
            "title_source": "kept",
            "description_en": "x\ny",
            "title_fr": None,
            "identifiers": {"SKU": " A-1 ", "ean": 4006381333931, "asin": "B0", "mpn": None},
            "attributes.colour": ["red"],
            "attributes": {"size": "L"},
            "identifiers.upc": "12",
            "variants": [{"sku": "A\x00-2"}],
            "nothing": None,
        }
    )
    assert result.titles == {"zh": "杯子", "zh-Hant": "杯子"}
    assert result.descriptions == {"en": "x\ny"}
    assert result.identifiers == {"sku": "A-1", "ean": "4006381333931", "upc": "12"}
    assert result.attributes == {"size": ("L",), "colour": ("red",)}
    assert result.extra == {
        "title_source": "kept",
        "variants": [{"sku": "A-2"}],
        "nothing": None,
        "identifiers": {"asin": "B0"},
    }


def test_the_sign_of_a_price_is_its_currency_unless_one_is_given() -> None:
    assert product(price="€5").currency == "EUR"
    assert product(price="€5", currency="CHF").currency == "CHF"
    assert product(price=5).currency is None


def test_a_missing_title_names_the_map() -> None:
    result = parse_row({"id": "1"}, line=1, sources={"title": "name"})
    assert isinstance(result, Reject)
    assert "--map title=name" in result.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("¥1,299.00", (1299.0, "CNY")),
        ("￥１，２９９", (1299.0, "CNY")),
        ("1.299,00 €", (1299.0, "EUR")),
        ("1.299 €", (1299.0, "EUR")),
        ("1.299", (1.299, None)),
        ("1,299", (1299.0, None)),
        ("0,999", (0.999, None)),
        ("12,50", (12.5, None)),
        ("1299,00", (1299.0, None)),
        ("1.299.000", (1299000.0, None)),
        ("1,00,000", (100000.0, None)),
        ("1 299,50 kr", (1299.5, None)),
        ("1\u202f299,50 €", (1299.5, "EUR")),
        ("CHF 1'299.50", (1299.5, "CHF")),
        ("12.-", (12.0, None)),
        ("USD $5", (5.0, "USD")),
        ("US$ 5", (5.0, "USD")),
        ("99元", (99.0, "CNY")),
        ("-$3", (-3.0, "USD")),
        (".5", (0.5, None)),
        ("1e3", (1000.0, None)),
        ("1e310", (math.inf, None)),
        ("", None),
        ("free", None),
        ("10-20", None),
        ("5 EUR each", None),
        ("max 5", None),
        ("1,2,3", None),
        ("1.2.3", None),
        ("1,23.456,7", None),
    ],
)
def test_prices_as_people_write_them(text: str, expected: tuple[float, str | None] | None) -> None:
    assert parse_price(text) == expected


@given(st.text("0123456789.,' -€$¥keurRs", max_size=12))
def test_any_price_text_is_a_price_or_none(text: str) -> None:
    parsed = parse_price(text)
    assert parsed is None or not math.isnan(parsed[0])
    with suppress(FieldProblem):
        found, _ = price(text)
        assert found is None or (math.isfinite(found) and found >= 0)


def test_document_has_the_fields_of_the_mapping() -> None:
    document = to_document(
        product(
            title_zh="杯",
            brand="Acme",
            category=["A", "B"],
            price=5,
            identifiers={"sku": "SKU-12 a", "asin": "b0-1"},
            attributes={"Colour": ["Red", "red"], "size": "L"},
            images=["a.jpg"],
            available=False,
            variants=[{"sku": "sku-13"}, {"identifiers": {"ean": 42}}, 5],
            note={"x": 1},
        )
    )
    assert document == {
        "id": "1",
        "title": "Mug",
        "titles": {"zh": "杯"},
        "brand": "Acme",
        "category": ["A", "B"],
        "price": 5.0,
        "identifiers": {"sku": "SKU-12 a"},
        "identifier_keys": ["sku12a", "b01", "sku13", "42"],
        "attributes": {"Colour": ["Red", "red"], "size": ["L"]},
        "attribute_pairs": ["colour=red", "size=l"],
        "available": False,
        "collapse_key": "p:1",
        "extra": {
            "variants": [{"sku": "sku-13"}, {"identifiers": {"ean": 42}}, 5],
            "note": {"x": 1},
            "identifiers": {"asin": "b0-1"},
        },
    }


def test_a_product_without_a_group_collapses_with_nothing() -> None:
    keys = [
        to_document(product(id=product_id, group_id=group))["collapse_key"]
        for product_id, group in (("a", None), ("b", None), ("c", "a"), ("d", "a"), ("e", "p:a"))
    ]
    assert keys[2] == keys[3]
    assert len(set(keys)) == 4


def test_identifier_keys_forgive_case_width_and_marks() -> None:
    assert identifier_key(" ＳＫＵ-12/ａ ") == identifier_key("sku12A") == "sku12a"
    assert identifier_key("--") == ""


def test_from_document_leaves_out_what_is_derived() -> None:
    source = {
        **to_document(product(title_zh="杯", identifiers={"sku": "1"}, note=1)),
        "images": [{"ref": "a.jpg", "joint": [0.1]}],
        "tokens": {"title": "x"},
        "text_vector": [0.1],
        "row_hash": "x",
    }
    assert from_document(source) == {
        "id": "1",
        "title": "Mug",
        "title_zh": "杯",
        "identifiers": {"sku": "1"},
        "images": ["a.jpg"],
        "note": 1,
    }


IMAGES = st.fixed_dictionaries(
    {},
    optional={
        "ref": st.sampled_from(["a.jpg", "b.jpg", " ", None, 5]),
        "url": st.sampled_from(["c.jpg", None]),
        "role": st.sampled_from(["main", "Detail", "", None, 7, True, "r" * 65]),
        "weight": st.sampled_from([0, 0.5, 1000, 1001, -1, None, "1", True]),
        "alt": st.just("x"),
    },
)
"""Pictures as objects, right and wrong."""


# Rows for the properties: each field right or wrong, so that both outcomes occur often.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = texts | st.integers(-10, 10**9) | st.floats(-10, 1e9) | st.booleans() | st.none()
json_values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3))
words = st.sampled_from(["Acme", "", " ", 5, 2.5, None, True, ["x"], {"a": 1}])
rows = st.fixed_dictionaries(
    {"id": st.sampled_from(["a1", " x", 7, 3.0, "", None, 1.5, True, "x" * 513]), "title": words},
    optional={
        "description": words,
        "title_zh": words,
        "description_en": words,
        "brand": words,
        "currency": words,
        "url": words,
        "group_id": words,
        "category": words | st.lists(words, max_size=3),
        "price": st.sampled_from([0, 5.5, -1, "¥1,299.00", "free", "", None, False, [1]]),
        "identifiers": st.dictionaries(st.sampled_from(["sku", "ean", "asin"]), words) | words,
        "attributes": st.dictionaries(st.sampled_from(["colour", "Größe", " "]), json_values, max_size=2)
        | words,
        "attributes.size": json_values,
        "images": words | st.lists(st.sampled_from(["a.jpg", "", None, 5]) | IMAGES, max_size=3) | IMAGES,
        "available": st.sampled_from(
            [True, False, None, 0, 3, -1, "in stock", "Sold out", "有货", "perhaps", [1]]
        ),
        "note": json_values,
        "tit\x00le": words,
        "no\x07te": words,
    },
)


def is_reading_as(row: dict[str, Any]) -> bool:
    return isinstance(parse_row(row, line=1), Product)


@given(rows)
def test_the_schema_says_the_same_as_the_reader(row: dict[str, Any]) -> None:
    row = {key: value for key, value in row.items() if "\x00" not in key}
    if "attributes.size" in row and not isinstance(row.get("attributes"), dict | None):
        return  # a flat attribute beside something that is no object: only the reader can say
    assert VALIDATOR.is_valid(row) == is_reading_as(row), list(VALIDATOR.iter_errors(row))


@given(rows)
def test_documents_are_json_and_give_the_row_back(row: dict[str, Any]) -> None:
    parsed = parse_row(row, line=1)
    if isinstance(parsed, Reject):
        assert json.loads(parsed.to_json())["reason"] == parsed.reason
        return
    assert isinstance(parsed, Product), "no row of these says that it is deleted"
    document = to_document(parsed)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    written = write_images(parsed.images, parsed.image_notes)
    stored = [one if isinstance(one, dict) else {"ref": one} for one in written]
    again = parse_row(from_document({**document, "images": stored}), line=1)
    assert again == replace(parsed, images=tuple(dict.fromkeys(parsed.images)))
    assert parse_row(to_row(parsed), line=1) == parsed


def test_a_plain_row_comes_back_as_it_was() -> None:
    row = SCHEMA["examples"][0] | {"attributes": {"colour": ["red"]}, "size": {"w": 1}}
    parsed = parse_row(row, line=1)
    assert isinstance(parsed, Product)
    assert to_row(parsed) == row


@given(json_values)
def test_anything_is_a_product_or_a_reject(value: Any) -> None:
    assert isinstance(parse_row(value, line=1), (Product, Reject))


def test_a_reject_line_is_legal_json_that_is_safe_to_look_at() -> None:
    row = {"price": math.nan, "low": -math.inf, "title": "a\ud83db\x85\u202e\x1b"}
    line = Reject(line=1, id=None, stage="row", field="price", reason="not_finite: x", row=row).to_json()
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\ud83d" for c in line)
    read = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read["row"] == {"price": "NaN", "low": "-Infinity", "title": row["title"]}
    assert list(read) == ["line", "id", "stage", "field", "reason", "row"]


@given(st.lists(st.text(max_size=3)))
def test_seen_texts_are_a_set(items: list[str]) -> None:
    seen, expected = SeenTexts(), set[str]()
    for item in items:
        assert (item in seen) == (item in expected)
        assert seen.add(item) == (item not in expected)
        expected.add(item)
    assert len(seen) == len(expected)


def test_seen_texts_grow() -> None:
    seen = SeenTexts()
    assert all(seen.add(str(i)) for i in range(5_000))
    assert not any(seen.add(str(i)) for i in range(5_000))


def test_every_reason_code_is_documented() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = "".join(path.read_text("utf-8") for path in (root / "es_xmodal/catalog").glob("*.py"))
    raised = set(
        re.findall(r'FieldProblem\([^()]*?"([a-z]+(?:_[a-z0-9]+)+|empty|missing|negative)"', sources)
    )
    raised |= set(re.findall(r'"([a-z]+(?:_[a-z0-9]+)*): ', sources))
    table = (root / "ingest/FORMAT.md").read_text("utf-8").partition("### Reason codes")[2]
    documented = set(re.findall(r"^\| `([a-z_0-9]+)` \|", table, re.MULTILINE))
    assert raised == documented
