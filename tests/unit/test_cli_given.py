"""The TEXT argument: words, or a picture that someone forgot to name."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_xmodal.cli.given import pictures_in_text

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


def test_an_address_is_words_and_that_is_said() -> None:
    asked, notes = given("https://shop.example/a.jpg")
    assert asked["text"] == "https://shop.example/a.jpg"
    assert len(notes) == 1
