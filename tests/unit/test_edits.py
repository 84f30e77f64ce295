"""Rows that delete or change a part, and versions, as they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from es_xmodal.catalog.deletion import Deletion, is_deletion
from es_xmodal.catalog.edit import Edit, overlay, parse_edit
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_edits
from es_xmodal.catalog.row import parse_row
from es_xmodal.catalog.values import FieldProblem
from es_xmodal.catalog.version import version_of
from es_xmodal.ingest.edits_missing import Named
from es_xmodal.ingest.known import mark, mark_of_hit
from es_xmodal.ingest.rejects import RejectFile

pytestmark = pytest.mark.unit

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "ingest/catalog.schema.json").read_text("utf-8"))


YES: list[Any] = [True, 1, 1.0, "true", " TRUE ", "1", "yes", "Y"]
NO: list[Any] = [False, 0, None, "", " ", "false", "No", "0", "n"]
NEITHER: list[Any] = ["perhaps", 2, -1, [], {}, [True], "2024-05-01"]
SAYS = [(YES, True), (NO, False), (NEITHER, None)]


@pytest.mark.parametrize(("value", "expected"), [(one, says) for values, says in SAYS for one in values])
def test_what_deleted_may_say(value: Any, expected: bool | None) -> None:
    row = {"id": "1", "title": "Mug", "deleted": value}
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(row)
    if expected is None:
        with pytest.raises(FieldProblem, match="not_yes_or_no"):
            is_deletion(row)
        assert not valid
        return
    assert is_deletion(row) is expected
    assert valid
    found = parse_row(row, line=1)
    assert isinstance(found, Deletion if expected else Product)
    bare = {"id": "1", "deleted": value}
    assert isinstance(parse_row(bare, line=1), Deletion if expected else Reject)
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(bare) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (7.0, 7),
        ("17", 17),
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:01.5+01:00", 1500),
        ("1970-01-01 00:00:00.123456789", 123),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_versions(value: Any, expected: int) -> None:
    assert version_of({"at": value}, "at") == expected


@pytest.mark.parametrize("value", [-1, 1.5, True, "x", "2024-13-01", 2**63, "99999999999999999999", [1], {}])
def test_what_is_no_version(value: Any) -> None:
    with pytest.raises(FieldProblem, match="no_version"):
        version_of({"at": value}, "at")


@pytest.mark.parametrize("row", [{}, {"at": None}, {"at": ""}])
def test_a_row_without_a_version(row: dict[str, Any]) -> None:
    with pytest.raises(FieldProblem, match="missing"):
        version_of(row, "at")


@pytest.mark.parametrize(
    ("row", "fields", "plain"),
    [
        ({"price": "5"}, {"price": 5.0}, True),
        (
            {"price": "5 €", "available": "sold out"},
            {"price": 5.0, "available": False, "currency": "EUR"},
            True,
        ),
        ({"price": "5 €", "currency": "USD"}, {"price": 5.0, "currency": "USD"}, True),
        ({"url": None, "price": None}, {"url": None, "price": None}, True),
        ({"brand": None}, {"brand": None}, False),
        ({"price": 1, "stock": 4}, {"price": 1.0, "stock": 4}, False),
    ],
)
def test_edits(row: dict[str, Any], fields: dict[str, Any], plain: bool) -> None:
    found = parse_edit({"id": 7, **row, "deleted": False}, line=3)
    assert isinstance(found, Edit)
    assert (found.id, found.line, found.fields, found.plain) == ("7", 3, fields, plain)


@pytest.mark.parametrize(
    "row", [None, "x", {}, {"price": 1}, {"id": "1", "price": -1}, {"id": "1", "images": 5.5}]
)
def test_an_edit_that_is_none_keeps_its_row(row: Any) -> None:
    found = parse_edit(row, line=3)
    assert isinstance(found, Reject)
    assert found.row == row


def test_a_product_that_is_no_object_inside_is_refused() -> None:
    edit = Edit(id="1", line=9, row={}, fields={"attributes": 5, "attributes.colour": "red"})
    found = overlay({"id": "1", "title": "Mug"}, edit)
    assert isinstance(found, Reject)
    assert (found.code, found.line) == ("wrong_type", 9)


def test_edits_are_read_from_all_formats(tmp_path: Path) -> None:
    texts = {
        "a.jsonl": '{"id": "1", "price": 2}\n',
        "a.json": '[{"id": "1", "price": 2}]',
        "a.csv": "ID,Price\n1,2\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.write_text(text)
        (found,) = read_edits(path)
        assert isinstance(found, Edit)
        assert (found.id, found.fields) == ("1", {"price": 2.0})


def test_named_ids() -> None:
    named = Named()
    for number in range(1000):
        named.add(Product(id=f"p{number}", title="x"))
    named.close()
    assert named.lacks(["p0", "q", "p999", "p1000", ""]) == [False, True, False, True, True]
    assert named.unknown is None
    empty = Named()
    empty.close()
    assert empty.lacks(["x"]) == [True]


def test_known_documents() -> None:
    known = mark_of_hit({"_id": "1", "fields": {"row_hash": ["abc"], "price": [2.5], "available": [False]}})
    assert known == mark("abc", {"id": "1", "price": 2.5, "available": False, "url": "x", "currency": None})
    assert known != mark("abc", {"price": 2.5})
    assert known != mark("abc", {"price": 2.6, "available": False})
    assert known != mark("abd", {"price": 2.5, "available": False})
    assert mark_of_hit({"_id": "1"}) == mark("", {})
    assert mark("abc", {"price": 5}) == mark("abc", {"price": 5.0})


def test_a_file_of_rejects_goes_only_when_a_run_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("old\n")
    one = Reject(line=1, id=None, stage="row", field=None, reason="x: y", row={})
    with pytest.raises(KeyError), RejectFile(path, again=True) as file:
        file.add(one)
        raise KeyError
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old\n"]
    with RejectFile(path, again=True) as file:
        file.add(one)
    assert json.loads(path.read_text())["reason"] == "x: y"
    with RejectFile(path, again=True):
        pass
    assert list(tmp_path.iterdir()) == []
