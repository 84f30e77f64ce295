"""Why a hit stands where it stands: ranks in the legs, matched words, filters; the chart of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from es_xmodal.cli import drawing
from es_xmodal.cli.drawing import font_for, wrap
from es_xmodal.cli.explain_chart import COLOURS, WIDTH, Box, Label, check_chart_path, draw_chart, layout
from es_xmodal.cli.render import ledger_table
from es_xmodal.errors import UsageError
from es_xmodal.query.answers import leg_ranks
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.fusion import Ledger, LegScore
from es_xmodal.query.plan import Found
from es_xmodal.search.explain import explain, matched_words
from es_xmodal.search.result import Hit, SearchResult, Total
from es_xmodal.text.analyzer import Analyzer

pytestmark = pytest.mark.unit

ANALYZER = Analyzer()
SOURCE = {
    "title": "Red ceramic mug",
    "title_zh": "红色陶瓷马克杯",
    "brand": "Korvane",
    "price": 12.0,
    "images": ["a.jpg", "b.jpg"],
    "attributes": {"colour": ["red", "white"]},
    "identifiers": {"sku": "MG-1"},
}


def leg(contribution: float, weight: float = 0.5) -> LegScore:
    return LegScore(raw=0.7, normalised=contribution / weight, weight=weight, contribution=contribution)


def hit(rank: int, parts: Mapping[str, float], **changes: Any) -> Hit:
    ledger = Ledger({name: leg(part) for name, part in parts.items()})
    values = {"id": f"p{rank}", "source": {"title": f"Product {rank}"}, **changes}
    return Hit(rank=rank, score=ledger.score, ledger=ledger, **values)


def page(*hits: Hit, legs: tuple[str, ...] = ("lexical", "visual")) -> SearchResult:
    total = Total(value=len(hits), at_least=False, reachable=len(hits))
    return SearchResult(hits=hits, total=total, took_ms=1, fusion="convex", legs=legs, requests=2)


def test_ranks_are_places_in_what_a_leg_found() -> None:
    found = {"lexical": Found(ids=("b", "a"), top=3.0, total=2), "text": Found(ids=("a",), top=0.9, total=1)}
    assert leg_ranks(found, ("a", "b")) == {"b": {"lexical": 1}, "a": {"lexical": 2, "text": 1}}
    assert leg_ranks({}, ("a",)) == {"a": {}}


def test_an_explanation_adds_up_and_says_which_legs_found_the_product() -> None:
    one = hit(
        3, {"lexical": 0.25, "visual": -0.01}, leg_ranks={"lexical": 7}, best_image="a.jpg", source=SOURCE
    )
    filters = [
        parse_filter(text) for text in ("price=10..20", "attributes.colour=red", "sku=mg-1", "images=*")
    ]
    why = explain(one, filters)
    assert sum(part.contribution for part in why.legs.values()) == pytest.approx(why.score, abs=1e-9)
    assert why.ranks == {"lexical": 7, "visual": None}
    assert why.filters == {
        "price": 12.0,
        "attributes.colour": ["red", "white"],
        "sku": "MG-1",
        "images": ["a.jpg", "b.jpg"],
    }
    shown = why.to_json()
    assert shown["legs"]["lexical"] == {
        "rank": 7,
        "raw": 0.7,
        "normalised": 0.5,
        "weight": 0.5,
        "contribution": 0.25,
    }
    assert (shown["best_image"], shown["score"]) == ("a.jpg", pytest.approx(0.24))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MUGS red", {"title": ("Red", "mug"), "attributes": ("red",)}),
        ("korvane", {"brand": ("Korvane",)}),
        ("mg-1", {"identifiers": ("MG-1",)}),
        ("红色", {"title_zh": ("红色",)}),
        ("瓷", {"title_zh": ("瓷",)}),
        ("sofa", {}),
    ],
)
def test_matched_words(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert matched_words(ANALYZER, frozenset(ANALYZER.query_terms(text)), SOURCE) == expected


def test_the_table_shows_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"lexical": 0.25, "visual": 0.125}
    one = hit(1, parts, leg_ranks={"lexical": 7}, best_image="a.jpg", source=SOURCE)
    ledger_table([(one, explain(one, [parse_filter("price>=10")]))])
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["lexical", "7", "0.7000", "0.5000", "0.500", "0.250000"] in lines
    assert ["visual", "–", "0.7000", "0.2500", "0.500", "0.125000"] in lines
    for part in ("0.375000", "picture: a.jpg", "filter: price is 12.0"):
        assert part in text


def test_a_bar_is_as_long_as_its_contribution(tmp_path: Path) -> None:
    path = tmp_path / "chart.png"
    draw_chart(page(hit(1, {"lexical": 0.6, "visual": 0.2}), hit(2, {"visual": 0.4})), path)
    with Image.open(path) as opened:
        chart = opened.convert("RGB")
    assert chart.width == WIDTH
    rows = list(range(chart.height))
    longest = {
        name: max(sum(chart.getpixel((x, y)) == COLOURS[name] for x in range(chart.width)) for y in rows)
        for name in ("lexical", "visual", "image")
    }
    # The longest bar is 540 pixels for a score of 0.8.
    assert longest == {"lexical": 405, "visual": 270, "image": 0}


def test_the_height_grows_with_the_hits_and_the_legend(tmp_path: Path) -> None:
    def height(result: SearchResult) -> int:
        draw_chart(result, tmp_path / "chart.png")
        with Image.open(tmp_path / "chart.png") as chart:
            return int(chart.height)

    hits = [hit(rank, {"lexical": 0.5}) for rank in range(1, 6)]
    many = tuple(f"image:picture-{number}" for number in range(16))
    assert height(page(*hits)) - height(page(hits[0])) == 4 * 44
    assert height(page(hits[0], legs=many)) > height(page(hits[0]))
    assert height(page()) > 0


def test_a_negative_part_goes_left_of_zero_and_the_score_is_marked() -> None:
    shapes = layout(page(hit(1, {"lexical": 0.5, "visual": -0.1})), can_show=str.isascii)
    bars = {one.fill: one for one in shapes if isinstance(one, Box) and one.bottom - one.top == 24}
    plus, minus = bars[COLOURS["lexical"]], bars[COLOURS["visual"]]
    assert minus.right == plus.left
    assert (plus.right - plus.left) / (minus.right - minus.left) == pytest.approx(5)
    marks = [one for one in shapes if isinstance(one, Box) and one.right - one.left == 2]
    assert marks[0].left + 1 == pytest.approx(plus.left + 0.8 * (plus.right - plus.left))
    assert "0.4000" in [one.text for one in shapes if isinstance(one, Label)]


def test_legs_of_a_kind_differ_in_shade_and_a_leg_without_hits_says_so() -> None:
    names = ("image:a", "image:b", "text", "own")
    shapes = layout(page(hit(1, dict.fromkeys(names[:2], 0.2)), legs=names), can_show=str.isascii)
    squares = [one.fill for one in shapes if isinstance(one, Box) and one.bottom - one.top == 14]
    assert len(set(squares)) == 4
    texts = [one.text for one in shapes if isinstance(one, Label)]
    assert "image:a, weight 0.5" in texts
    assert "text, found nothing" in texts


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ({"title": "红色马克杯", "title_en": "Red mug"}, "1. Red mug"),
        ({"title": "红色马克杯", "title_fr": "红"}, "1. p1"),
        ({"title": "Red <mug> & more"}, "1. Red <mug> & more"),
    ],
)
def test_a_title_that_no_font_has_gives_way(source: dict[str, str], title: str) -> None:
    shapes = layout(page(hit(1, {"lexical": 0.5}, source=source)), can_show=str.isascii)
    assert title in [one.text for one in shapes if isinstance(one, Label)]


def test_svg_keeps_every_letter(tmp_path: Path) -> None:
    path = tmp_path / "chart.SVG"
    title = '红色 <马克杯> & "more"'
    draw_chart(page(hit(1, {"lexical": 0.5}, source={"title": title})), path)
    root = ET.fromstring(path.read_text("utf-8"))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"1. {title}" in texts
    fills = {node.get("fill") for node in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert "#0072b2" in fills


def test_files_that_no_chart_goes_to(tmp_path: Path) -> None:
    for name, says in (("chart.gif", "neither .png nor .svg"), ("none/chart.png", "no such folder")):
        with pytest.raises(UsageError, match=says):
            check_chart_path(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        draw_chart(page(), tmp_path / "folder.png")


def test_wrapping() -> None:
    font = font_for("", 13)
    assert font is not None
    assert wrap("one", font, 500, 2) == ["one"]
    assert wrap("one two", font, round(font.getlength("one tw")), 2) == ["one", "two"]
    short = wrap("one two three", font, round(font.getlength("one two")) + 1, 1)
    assert short[0].endswith("…")
    assert font.getlength(short[0]) <= font.getlength("one two") + 1
    long = wrap("x" * 200, font, 100, 2)
    assert len(long) == 2
    assert all(font.getlength(row) <= 100 for row in long)


def test_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_SYSTEM_FONTS", ())
    assert font_for("plain", 13) is not None
    assert font_for("红", 13) is None, "the built-in font has no Chinese"
