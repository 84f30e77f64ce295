"""Whole files: kinds, encodings, damage, renames, rejects that are fed back."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from es_xmodal.catalog import jsonstream, source
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.errors import CatalogError, MissingExtraError

pytestmark = pytest.mark.unit

Write = Callable[..., Path]
GOOD = [{"id": "1", "title": "红杯"}, {"id": "2", "title": "Blue cup", "price": 5}]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "catalog", *, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def titles(path: Path, **options: Any) -> list[str]:
    """Title of each product, code of each reject."""
    return [
        r.title if isinstance(r, Product) else f"!{r.code if isinstance(r, Reject) else 'deleted'}"
        for r in read_catalog(path, **options)
    ]


def error(path: Path, **options: Any) -> str:
    with pytest.raises(CatalogError) as caught:
        list(read_catalog(path, **options))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def parquet(rows: list[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=2)
    return buffer.getvalue()


CONTENTS: dict[str, str | bytes] = {
    "lines": jsonl(GOOD),
    "lines without end": jsonl(GOOD).rstrip(),
    "array": json.dumps(GOOD, ensure_ascii=False),
    "pretty array": json.dumps(GOOD, ensure_ascii=False, indent=2),
    "array of lines": "[\n" + ",\n".join(json.dumps(row) for row in GOOD) + ",\n]\n",
    "object": json.dumps({"total": 2, "tags": ["a"], "meta": {"x": [{}]}, "products": GOOD, "end": None}),
    "pretty object": json.dumps({"products": GOOD, "none": []}, indent=1),
    "csv": "id,title,price\n1,红杯,\n2,Blue cup,5\n",
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", CONTENTS)
def test_kinds_are_told_by_content(kind: str, zipped: bool, write: Write) -> None:
    content = CONTENTS[kind]
    data = content.encode() if isinstance(content, str) else content
    path = write(gzip.compress(data) if zipped else data, "download")
    assert titles(path) == ["红杯", "Blue cup"]
    assert [row.line for row in read_catalog(path)] == [1, 2]


@pytest.mark.parametrize("zipped", [False, True])
def test_parquet(zipped: bool, write: Write) -> None:
    row = {"attributes": {"n": ["x"]}, "attributes.size": "L"}
    data = parquet([{"id": i, "title": f"Cup {i}", "price": i * 1.5, **row} for i in range(1, 6)])
    found = list(read_catalog(write(gzip.compress(data) if zipped else data, "c")))
    assert all(isinstance(row, Product) for row in found)
    last = found[-1]
    assert isinstance(last, Product)
    assert (last.id, last.price, last.line) == ("5", 7.5, 5)
    assert last.attributes == {"n": ("x",), "size": ("L",)}


def test_parquet_values_become_json(write: Write) -> None:
    import datetime
    import decimal

    row = {
        "id": "1",
        "title": "Cup",
        "price": decimal.Decimal("5.50"),
        "day": datetime.date(2024, 5, 1),
        "images": [b"\xff\xd8\xff"],
        "code": b"abc",
    }
    (found,) = read_catalog(write(parquet([row]), "c"))
    assert isinstance(found, Product)
    assert (found.price, found.extra) == (5.5, {"day": "2024-05-01", "code": "abc"})
    assert found.images == ("data:application/octet-stream;base64,/9j/",)


def test_parquet_errors(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    good = parquet([{"no": 1, "name": "Cup"}])
    assert "no column id" in error(write(good, "c"))
    assert "no column title" in error(write(good, "c"), renames={"id": "no"})
    assert titles(write(good, "c"), renames={"id": "no", "title": "name"}) == ["Cup"]
    assert "no column nmae" in error(write(good, "c"), renames={"id": "no", "title": "nmae"})
    assert "Parquet" in error(write(good[:-20], "c"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="parquet"):
        read_catalog(write(good, "c"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("kind", ["lines", "pretty array", "csv"])
def test_encodings(kind: str, encoding: str, write: Write) -> None:
    content = CONTENTS[kind]
    assert isinstance(content, str)
    assert titles(write(content, encoding=encoding)) == ["红杯", "Blue cup"]


def test_gb18030_is_guessed_for_csv_even_when_it_begins_late(write: Write) -> None:
    plain = "".join(f"a{i},Cup {i}\n" for i in range(200_000))
    found = titles(write("id,title\n" + plain + "z,红色陶瓷马克杯与咖啡杯\n", encoding="gb18030"))
    assert found[-1] == "红色陶瓷马克杯与咖啡杯"
    assert len(found) == 200_001


def test_json_must_be_utf_8(write: Write) -> None:
    assert "GB18030" in error(write(CONTENTS["lines"], encoding="gb18030"))
    assert "not UTF-8" in error(write('[{"id": "1", "title": "Café"}]', encoding="cp1252"))


def test_other_single_byte_text_is_an_error_and_few_bad_bytes_are_rejects(write: Write) -> None:
    accents = "id,title\n" + "".join(f"{i},Café crème {i}\n" for i in range(9))
    assert "not UTF-8" in error(write(accents, encoding="cp1252"))
    mixed = accents.encode() + b"x,Caf\xe9\nz,Cup\n"
    assert titles(write(mixed))[-3:] == ["Café crème 8", "!not_utf8", "Cup"]
    assert titles(write(jsonl(GOOD).encode() + b'{"id": "3", "title": "\xff"}\n'))[2] == "!not_utf8"


def test_lines_end_at_line_feeds_only(write: Write) -> None:
    rows = [{"id": "1", "title": "a\u2028b\x85c"}, {"id": "2", "title": "tab"}]
    text = jsonl(rows).replace("tab", "t\tb") + "\r\n\n  \n" + '{"id": "3", "title": "CRLF"}\r\n'
    found = list(read_catalog(write(text)))
    assert [(r.line, getattr(r, "title", r)) for r in found] == [(1, "a bc"), (2, "t b"), (6, "CRLF")]


def test_broken_lines_are_rejects(write: Write) -> None:
    deep = '{"id": "5", "title": "x", "a": ' + "[" * 60 + "]" * 60 + "}"
    deeper = "[" * 100_000
    big = '{"id": "6", "title": "x", "n": ' + "9" * 5000 + "}"
    lines = [jsonl(GOOD).strip(), '{"id": "4", "title": "cut', "5", "[1]", "null", deep, deeper, big]
    found = list(read_catalog(write("\n".join(lines))))
    assert [r.code for r in found if isinstance(r, Reject)] == [
        "not_json",
        "not_an_object",
        "not_an_object",
        "not_an_object",
        "too_deep",
        "too_deep",
        "number_too_big",
    ]
    cut = found[2]
    assert isinstance(cut, Reject)
    assert (cut.line, cut.id, cut.stage, cut.row) == (3, "4", "read", '{"id": "4", "title": "cut')
    assert all(json.loads(r.to_json()) for r in found if isinstance(r, Reject))


def test_elements_that_are_no_json_are_rejects(write: Write) -> None:
    text = '[{"id":"1","title":"a, ]}\\"[{"},{"id":"2" "title":"b"},{"id":"3","title":"c","price":NaN},,'
    text += ' 7, "x",{"id":"4","title":"\\ud83d"},{"id":"5","title":"e"}]'
    bad = ["!not_json", "!not_finite", "!not_json", "!not_an_object", "!not_an_object"]
    assert titles(write(text)) == ['a, ]}"[{', *bad, "\ufffd", "e"]
    assert [r.line for r in read_catalog(write(text))] == list(range(1, 9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\ufeff", "empty"),
        ("[]", "no rows"),
        ('{"products": []}', "without a list"),
        ('{"a": [{"id": "1"}], "b": [{"id": "2"}]}', "lists of objects in .a. and .b."),
        ('[{"id": "1", "title": "a"}, {"id": "2"', "cut off|in the middle"),
        ('[{"id": "1", "title": "a"}', "cut off"),
        ('[{"id": "1", "title": "a"}\n {"id": "2", "title": "a"}]', "line 2: a comma or ]"),
        ('[{"id": "1", "title": "a"}]\n[]', "more text"),
        ('{"products": [{"id": "1", "title": "a"}]', "cut off"),
        ('{"products" 5}', ": was expected"),
        ("id,title\n", "no rows"),
        ("<!DOCTYPE html><p>", "XML or HTML"),
        ("PK\x03\x04abc", "Excel"),
        ("\x89PNG\r\n", "binary|picture"),
        ("\x00\x01\x02\x03abc\x04", "binary"),
        ("name,price\nCup,5\n", "no column id and no column title"),
        ("just a text", "no column id"),
    ],
)
def test_files_that_are_no_catalogue(text: str, message: str, write: Write) -> None:
    import re

    found = error(write(text, encoding="latin-1" if text.startswith("\x89") else "utf-8"))
    assert re.search(message, found), found


def test_missing_files_folders_and_odd_names(tmp_path: Path, write: Write) -> None:
    assert "does not exist" in error(tmp_path / "no.jsonl")
    assert "directory" in error(tmp_path)
    assert "does not exist" in error(Path("a\x00b"))
    assert "no JSON array" in error(write("hello", "c.json"))
    assert titles(write('junk\n{"id": "1", "title": "a"}', "c.jsonl")) == ["!not_json", "a"]
    assert titles(write('{"id": "1", "title": "a", "v": [{"id": "x"}]}', "c")) == ["a"]


def test_gzip_that_is_cut_off(write: Write) -> None:
    data = gzip.compress(jsonl([{"id": str(i), "title": f"Cup {i * 7919}"} for i in range(5000)]).encode())
    assert "cut off" in error(write(data[: len(data) // 2], "c.gz"))
    assert "gzip" in error(write(data[:100] + b"\x00" * 50 + data[150:], "c.gz"))


def test_errors_come_with_the_call_and_not_with_the_first_row(tmp_path: Path) -> None:
    with pytest.raises(CatalogError):
        read_catalog(tmp_path / "no.jsonl")


def test_duplicates(write: Write) -> None:
    rows = [{"id": "1", "title": "a"}, {"id": 1, "title": "b"}, {"id": "2"}, {"id": "2", "title": "c"}]
    path = write(jsonl([*rows, rows[0]]))
    assert titles(path) == ["a", "!duplicate", "!missing", "c", "!duplicate"]
    assert titles(path, report_duplicates=False) == ["a", "b", "!missing", "c", "a"]


RENAMES = {"title": "names.en", "id": "no", "attributes.colour": "farbe", "identifiers.sku": "codes.sku"}
FOREIGN = {"no": 5, "names": {"en": "Cup", "de": "Tasse"}, "farbe": ["rot"], "codes": {"sku": "A"}}


def test_renames_in_json(write: Write) -> None:
    (found,) = read_catalog(write(jsonl([FOREIGN | {"title": "Dr"}]), "c.jsonl"), renames=RENAMES)
    assert isinstance(found, Product)
    assert (found.id, found.title) == ("5", "Cup")
    assert (found.attributes, found.identifiers) == ({"colour": ("rot",)}, {"sku": "A"})
    assert found.extra == {"names": {"de": "Tasse"}, "replaced.title": "Dr"}


def test_one_field_may_go_to_two_places(write: Write) -> None:
    path = write('{"id": "1", "name": "a"}\n')
    (found,) = read_catalog(path, renames={"title": "name", "title_en": "name"})
    assert isinstance(found, Product)
    assert (found.title, dict(found.titles), found.extra) == ("a", {"en": "a"}, {})


def test_a_rename_that_finds_nothing(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    found = list(read_catalog(write(jsonl([{"id": "1"}, {"id": "2"}])), renames={"title": "nmae"}))
    assert all(isinstance(r, Reject) and "--map title=nmae" in r.reason for r in found)
    with caplog.at_level(logging.WARNING):
        assert titles(write(jsonl(GOOD)), renames={"brand": "makr"}) == ["红杯", "Blue cup"]
    assert "--map brand=makr: none of 2 rows" in caplog.text


def test_renames_of_no_field_name_the_nearest(write: Write) -> None:
    path = write(jsonl(GOOD))
    assert "nearest is title" in error(path, renames={"titel": "name"})
    assert "nearest is identifiers.sku" in error(path, renames={"identifier.sku": "name"})
    assert "no name after =" in error(path, renames={"title": ""})
    assert "no field identifiers.asin" in error(path, renames={"identifiers.asin": "x"})


def test_a_rejects_file_is_a_catalogue(write: Write) -> None:
    rows = [
        {"no": "1", "name": "a", "price": -5},
        {"no": "2", "name": ""},
        {"no": "3", "name": "c", "price": float("nan")},
    ]
    text = jsonl(rows) + '{"no": "4", "na'
    renames = {"id": "no", "title": "name"}
    rejects = [r for r in read_catalog(write(text, "c.jsonl"), renames=renames) if isinstance(r, Reject)]
    lines = "".join(r.to_json() + "\n" for r in rejects)
    assert titles(write(lines)) == ["!negative", "!empty", "!not_finite", "!not_json"]
    mended = lines.replace("-5", "5").replace('"NaN"', "7").replace('\\"na"', '\\"title\\": \\"d\\"}"')
    mended = mended.replace('{\\"no\\"', '{\\"id\\"')
    assert titles(write(mended), renames=renames) == ["a", "!empty", "c", "d"]
    assert titles(write("[" + mended.strip().replace("\n", ",") + "]")) == ["a", "!empty", "c", "d"]


def test_a_product_with_two_bad_pictures_is_fed_back_once(write: Write) -> None:
    row = {"id": "1", "title": "Cup", "images": ["a.jpg", "b.jpg"]}
    reject = Reject(line=1, id="1", stage="picture", field="images", reason="missing: x", row=row)
    assert titles(write((reject.to_json() + "\n") * 2)) == ["Cup"]


def test_a_row_that_is_too_large(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_ROW_CHARS", 1000)
    monkeypatch.setattr(jsonstream, "MAX_ROW_CHARS", 1000)
    monkeypatch.setattr(jsonstream, "_CHUNK_CHARS", 64)
    rows = [*GOOD, {"id": "3", "title": "x", "blob": "\\" * 2000}, {"id": "4", "title": "last"}]
    for text in (jsonl(rows), json.dumps(rows), json.dumps({"rows": rows})):
        assert titles(write(text)) == ["红杯", "Blue cup", "!too_large", "last"]


json_values = st.recursive(
    st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=8,
)
wild_rows = st.fixed_dictionaries({"id": st.text(max_size=2), "title": json_values, "price": json_values})
any_rows = st.lists(json_values | wild_rows, min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_rows, st.booleans())
def test_no_row_is_lost(tmp_path: Path, rows: list[Any], ascii_only: bool) -> None:
    rows = [GOOD[0], *rows]
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    path = tmp_path / "c.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    found = list(read_catalog(path))
    assert [r.line for r in found] == list(range(1, len(rows) + 1))
    path.write_bytes(("[" + ",".join(lines) + "]").encode("utf-8", "surrogatepass"))
    again = list(read_catalog(path))
    assert [getattr(r, "id", None) for r in again] == [getattr(r, "id", None) for r in found]


starts = st.sampled_from(
    [b"", b"[", b'{"a":[{', b'[{"id":"1","title":"a"},', b"id,title\n", b'id;title\n"', b"\xff\xfe", b"PAR1"]
)
pieces = st.lists(
    st.binary(max_size=6)
    | st.sampled_from([bytes([mark]) for mark in b'"\\,\n[]{}:\x00\r'])
    | st.sampled_from(
        [b'{"id":"1","title":"x"}', b"1,a\n", b'2,"b\nc"\n', b"NaN", b"\xef\xbb\xbf", b"\x1f\x8b"]
    )
    | st.sampled_from(["红杯".encode(), "红杯".encode("gb18030")]),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(starts, pieces, st.sampled_from(["c", "c.jsonl", "c.json", "c.csv"]), st.booleans())
@example(b"[", [b'"', b"\\"], "c", False)
@example(b"id,title\n", [b'"', b"\n", b'"'], "c", False)
def test_any_bytes_are_rows_or_a_catalog_error(
    tmp_path: Path, start: bytes, rest: list[bytes], name: str, zipped: bool
) -> None:
    data = start + b"".join(rest)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if zipped else data)
    try:
        for row in read_catalog(path):
            if isinstance(row, Reject):
                json.loads(row.to_json())
    except CatalogError as caught:
        assert "\n" not in str(caught)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_rows, st.integers(1, 40))
def test_the_array_scanner_cuts_like_a_parser(rows: list[Any], chunk: int) -> None:
    text = json.dumps(rows, indent=chunk % 3 or None, ensure_ascii=chunk % 2 == 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonstream, "_CHUNK_CHARS", chunk)
        elements = list(jsonstream._Scanner(io.StringIO(text), "x").array())
    assert [json.loads(e) for e in elements if e] == json.loads(text) or "NaN" in text
    assert len(elements) == len(rows)
