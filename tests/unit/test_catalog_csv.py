"""CSV: delimiters, columns, quotes in wrong places, continuation rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_xmodal.catalog import records, source, table
from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.errors import CatalogError

pytestmark = pytest.mark.unit

Read = Callable[..., list[Product | Reject]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, *, encoding: str = "utf-8", **renames: str) -> list[Product | Reject]:
        path = tmp_path / "catalog.csv"
        path.write_bytes(text.encode(encoding))
        found = read_catalog(path, renames={k.replace("__", "."): v for k, v in renames.items()})
        return [row for row in found if not isinstance(row, Deletion)]

    return read


def product(row: Product | Deletion | Reject) -> Product:
    assert isinstance(row, Product), row
    return row


def short(rows: list[Product | Reject]) -> list[str]:
    return [r.title if isinstance(r, Product) else f"!{r.code}" for r in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(delimiter: str, end: str, read: Read) -> None:
    lines = [["\ufeffid", "title", "price"], ["1", '"a, b; c"', "5"], ["2", '"x\n\ny"', ""], ["", "", ""]]
    text = end.join(delimiter.join(line) for line in lines) + end
    found = [product(row) for row in read(text.replace("\n", end) if end == "\r" else text)]
    assert [(p.id, p.title, p.price, p.line) for p in found] == [
        ("1", "a, b; c", 5.0, 1),
        ("2", "x y", None, 2),
    ]


def test_excel_names_its_delimiter(read: Read) -> None:
    assert short(read("sep=;\r\nid;title\r\n1;a\r\n", encoding="utf-16")) == ["a"]


def test_columns(read: Read) -> None:
    header = " ID ,Title,title_zh,Category,Images,attributes.Colour,attributes,SKU,identifiers,Available"
    row = '1,a,杯, A > B ,x.jpg| y.jpg,red|blue,size=L|size=XL|n=1=2,S-1,ean=42,yes,,"k ",l'
    found = product(read(f"{header},,note,note\n{row}\n")[0])
    assert (found.id, found.titles, found.category) == ("1", {"zh": "杯"}, ("A", "B"))
    assert (found.images, found.available) == (("x.jpg", "y.jpg"), True)
    assert found.attributes == {"Colour": ("red", "blue"), "size": ("L", "XL"), "n": ("1=2",)}
    assert found.identifiers == {"sku": "S-1", "ean": "42"}
    assert found.extra == {"note": "k", "note_13": "l"}


def test_cells_may_hold_json(read: Read) -> None:
    text = 'id,title,images,attributes,category\n1,a,"[""x|y.jpg""]","{""n"": [1, 2]}",[half\n'
    found = product(read(text)[0])
    assert (found.images, found.attributes, found.category) == (("x|y.jpg",), {"n": ("1", "2")}, ("[half",))


def test_a_cell_without_names_is_rejected(read: Read) -> None:
    (found,) = read("id,title,attributes\n1,a,red|blue\n")
    assert isinstance(found, Reject)
    assert (found.code, found.id) == ("not_pairs", "1")


def test_renames_of_columns(read: Read) -> None:
    found = product(
        read("no,name,farbe,title\n1,Cup,rot|blau,Dr\n", id="no", title="name", attributes__colour="farbe")[0]
    )
    assert (found.id, found.title, found.attributes) == ("1", "Cup", {"colour": ("rot", "blau")})
    assert found.extra == {"replaced.title": "Dr"}
    found = product(read("id,name\n1,Cup\n", title="name", title_en="name")[0])
    assert (found.title, found.titles) == ("Cup", {"en": "Cup"})


@pytest.mark.parametrize(
    ("text", "renames", "message"),
    [
        ("id,name\n1,a\n", {}, "no column title .*--map title=COLUMN; columns are id, name"),
        ("no,title\n1,a\n", {}, "no column id"),
        ("id,name\n1,a\n", {"title": "nam"}, "no column nam .nearest is name|no column nam "),
        ('id,"title\n1,a\n', {}, "header cannot be read"),
    ],
)
def test_headers_that_do_not_fit(text: str, renames: dict[str, str], message: str, read: Read) -> None:
    with pytest.raises(CatalogError, match=message):
        read(text, **renames)


def test_short_and_long_records(read: Read) -> None:
    found = read("id,title,brand\n1,a\n2,b,c,,\n3,d,e,f\n4,g,h\n")
    assert short(found) == ["a", "b", "!too_many_cells", "g"]
    bad = found[2]
    assert isinstance(bad, Reject)
    assert (bad.line, bad.id, bad.stage, bad.row) == (3, "3", "read", ["3", "d", "e", "f"])


def test_nul_and_control_characters(read: Read) -> None:
    found = product(read("id,title,description\n1,a\x00b\x07\x1b[31m c\x85,words of a description\n")[0])
    assert found.title == "ab c"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('1,32" TV\n2,b\n', ['32" TV', "b"]),
        ('1,"a"b\n2,"c ""d"" e"\n', ["ab", 'c "d" e']),
        ('1,"a\n2,b\n3,c\n', ["!bad_quotes", "b", "c"]),
        ('1,a\n2,"b\n', ["a", "!bad_quotes"]),
        ('1,"a\n2,"b"\n3,c\n', ["!bad_quotes", "b", "c"]),
        ('1,"a\n2,b\n3,"c, d"\n4,e\n', ["!bad_quotes", "b", "c, d", "e"]),
        ('1,"a\nx, y, z"\n2,b\n', ["a x, y, z", "b"]),
        ('1,"a\nx",y,z\n2,b\n', ["!too_many_cells", "b"]),
    ],
)
def test_a_wrong_quote_costs_one_line(body: str, expected: list[str], read: Read) -> None:
    assert short(read("id,title\n" + body)) == expected


def test_records_that_are_too_large(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (source, records, table):
        monkeypatch.setattr(module, "MAX_ROW_CHARS", 200)
    long = "x" * 300
    body = f'1,a\n2,{long}\n3,b\n4,"open\n' + "".join(f"{i},c\n" for i in range(5, 60)) + f'"{long}"\n60,d\n'
    found = short(read("id,title\n" + body))
    assert found == ["a", "!too_large", "b", "!too_large", *["c"] * 55, "!too_large", "d"]


def test_continuation_rows(read: Read) -> None:
    text = (
        "id,title,price,sku,images,size,note\n"
        "1,Shirt,5,S-1,a.jpg,S,n\n,,6,S-2,b.jpg|a.jpg,M,\n,,,,,,\n,,what,S-3,,L,\n"
        "2,Cup,7,C-1,,,\n3,Hat,8,H-1,,S,\n3,,9,H-2,,M,\n4,,1,,,,\n,Orphan,1,,,,\n"
    )
    rows = read(text)
    assert short(rows) == ["Shirt", "Cup", "Hat", "!missing", "!missing"]
    assert [row.line for row in rows] == [1, 4, 5, 7, 8]
    shirt, cup, hat = (product(row) for row in rows[:3])
    assert (shirt.price, shirt.identifiers, shirt.images) == (5.0, {"sku": "S-1"}, ("a.jpg", "b.jpg"))
    assert shirt.extra == {
        "size": "S",
        "note": "n",
        "variants": [
            {"price": 5.0, "sku": "S-1", "images": ["a.jpg"], "size": "S"},
            {"price": 6.0, "sku": "S-2", "images": ["b.jpg", "a.jpg"], "size": "M"},
            {"price": "what", "sku": "S-3", "size": "L"},
        ],
    }
    assert "variants" not in cup.extra
    assert [v["sku"] for v in hat.extra["variants"]] == ["H-1", "H-2"]


def test_a_continuation_row_needs_a_product_above(read: Read) -> None:
    assert short(read("id,title,size\n,,M\n1,a,L\n")) == ["!missing", "a"]


def test_variants_of_a_rejected_product_stay_with_it(read: Read) -> None:
    (found, after) = read("id,title,price,size\n1,a,-5,S\n,,6,M\n2,b,1,\n")
    assert isinstance(found, Reject)
    assert (found.code, len(found.row["variants"])) == ("negative", 2)
    assert product(after).title == "b"


def test_shopify_exports_need_no_map(read: Read) -> None:
    text = (
        "Handle,Title,Body (HTML),Vendor,Type,Option1 Value,"
        "Variant SKU,Variant Price,Variant Barcode,Image Src\n"
        "tee,Tee,<p>Soft</p>,Acme,Shirts,S,T-S,9.90,42,https://shop.example/1.jpg\n"
        "tee,,,,,M,T-M,9.90,,https://shop.example/2.jpg\n"
    )
    tee = product(read(text)[0])
    assert (tee.id, tee.title, tee.description, tee.brand, tee.price) == (
        "tee",
        "Tee",
        "<p>Soft</p>",
        "Acme",
        9.9,
    )
    assert (tee.identifiers, len(tee.images)) == ({"sku": "T-S", "gtin": "42"}, 2)
    assert [v["Option1 Value"] for v in tee.extra["variants"]] == ["S", "M"]


cells = st.text('ab,;"|>=\n \t中', max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=8), delimiter=st.sampled_from(",;\t"))
def test_what_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]], delimiter: str) -> None:
    buffer = io.StringIO()
    writer: Any = csv.writer(buffer, delimiter=delimiter)
    writer.writerow(["id", "title", "note", "other"])
    writer.writerows([i, "t", *row] for i, row in enumerate(rows))
    path = tmp_path / "c.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8")
    found = [product(row) for row in read_catalog(path)]
    assert [(p.extra.get("note", ""), p.extra.get("other", "")) for p in found] == [
        tuple(" ".join(cell.strip().split("\t")) for cell in row) for row in rows
    ]
