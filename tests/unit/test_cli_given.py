"""The TEXT argument: words, or a picture that someone forgot to name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from es_xmodal.cli.given import pictures_in_text
from es_xmodal.cli.main import root, run
from es_xmodal.query.model import Query
from es_xmodal.query.terms import Term
from es_xmodal.search.result import SearchResult, Total
from es_xmodal.shop import Shop

pytestmark = pytest.mark.unit


def given(text: str) -> tuple[dict[str, object], tuple[str, ...]]:
    asked: dict[str, object] = {"text": text, "images": ("a.jpg",)}
    return asked, pictures_in_text(asked)


def test_a_picture_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(b"x")
    asked, notes = given(str(path))
    assert asked == {"text": "", "images": ("a.jpg", str(path))}
    assert len(notes) == 1 and "--image" in notes[0]


def test_a_data_uri() -> None:
    asked, notes = given("data:image/png;base64,AAAA")
    assert asked == {"text": "", "images": ("a.jpg", "data:image/png;base64,AAAA")}
    assert len(notes) == 1


@pytest.mark.parametrize(
    "text", ["red.png", "red mug", "~nobody-here/x.png", "a\x00.png", "x" * 9000 + ".png"]
)
def test_words_stay_words(text: str) -> None:
    asked, notes = given(text)
    assert asked == {"text": text, "images": ("a.jpg",)}
    assert notes == ()


def test_an_address_is_a_picture_and_that_is_said() -> None:
    asked, notes = given("https://shop.example/a.jpg")
    assert asked == {"text": "", "images": ("a.jpg", "https://shop.example/a.jpg")}
    assert len(notes) == 1 and "--image" in notes[0]


def asked(monkeypatch: pytest.MonkeyPatch, *args: str) -> Query:
    """The query that a command line comes to; nothing is sent."""
    seen: list[Query] = []

    def search(shop: Shop, query: Query, **options: object) -> SearchResult:
        seen.append(query)
        total = Total(value=0, at_least=False, reachable=0)
        return SearchResult(hits=(), total=total, took_ms=0.0, fusion="convex", legs=(), requests=0)

    monkeypatch.setattr(Shop, "search", search)
    assert run(root, ["search", "--url", "http://127.0.0.1:9", "--json", *args]) == 0
    return seen[0]


def test_options_reach_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    query = asked(
        monkeypatch,
        *("mug", "--like", "p1", "--like", "p2", "--keep-like"),
        *("--minus", "black", "--minus", "id:p3", "--minus", "image:x.png", "--compose", "late"),
    )
    assert query.like == (Term(kind="id", value="p1"), Term(kind="id", value="p2"))
    assert query.minus == (
        Term(kind="text", value="black"),
        Term(kind="id", value="p3"),
        Term(kind="image", value="x.png"),
    )
    assert query.composition == "late"
    assert query.keep_like


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    query = asked(monkeypatch, "mug")
    assert (query.like, query.minus, query.composition, query.keep_like) == ((), (), "auto", False)


def test_a_picture_as_text_is_said_in_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query = asked(monkeypatch, "data:image/png;base64,AAAA")
    assert query.text == ""
    assert query.mode == "image"
    assert "searched as a picture" in json.loads(capsys.readouterr().out)["warnings"][0]
