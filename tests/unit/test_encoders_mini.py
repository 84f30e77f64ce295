"""The parts of the embedded encoder that need no weights: pieces, colours, the square."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from es_xmodal.encoders.mini.colour import COLOURS, histogram, text_colours
from es_xmodal.encoders.mini.picture import SIDE, prepare_picture
from es_xmodal.encoders.mini.text import _groups, unpack_rows
from es_xmodal.encoders.mini.tokens import Pieces

pytestmark = pytest.mark.unit

VOCABULARY = {
    "<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0,
    "\u2581": -3.0, "\u2581red": -4.0, "\u2581re": -3.5, "d": -5.0, "mug": -4.0, "m": -6.0, "ug": -6.0,
    "杯": -5.0, "杯子": -4.0, "子": -5.0,
}  # fmt: skip


@pytest.fixture
def pieces() -> Pieces:
    return Pieces(
        pieces=list(VOCABULARY),
        scores=list(VOCABULARY.values()),
        normal={ord("Ｒ"): "r", ord("\t"): " "},
        unknown=3,
    )


def names(numbers: list[int]) -> list[str]:
    return [list(VOCABULARY)[n] for n in numbers]


def test_the_most_probable_split_wins(pieces: Pieces) -> None:
    assert names(pieces.numbers("red mug", limit=9)) == ["\u2581red", "\u2581", "mug"]
    assert names(pieces.numbers("杯子", limit=9)) == ["\u2581", "杯子"]


def test_characters_are_replaced_first_and_spaces_fold(pieces: Pieces) -> None:
    assert pieces.numbers("Ｒed\t  mug ", limit=9) == pieces.numbers("red mug", limit=9)


def test_an_unknown_character_costs_one_piece(pieces: Pieces) -> None:
    assert names(pieces.numbers("red杯q", limit=9)) == ["\u2581red", "杯", "<unk>"]
    assert names(pieces.numbers("<s>", limit=9))[0] == "\u2581"
    assert 0 not in pieces.numbers("<s>", limit=9)


def test_the_limit_holds_and_the_cache_changes_nothing(pieces: Pieces) -> None:
    assert len(pieces.numbers("red mug " * 50, limit=7)) == 7
    assert pieces.numbers("red", limit=9) == pieces.numbers("red", limit=9)
    assert pieces.numbers("", limit=9) == []


def test_packed_rows_are_widened() -> None:
    block = np.concatenate([np.array([0.5], "<f2").view(np.uint8), np.arange(16, dtype=np.uint8) | (15 << 4)])
    rows = unpack_rows(np.tile(block, 12)[None])
    assert rows.shape == (1, 384)
    assert np.array_equal(rows[0, :16], (np.arange(16) - 8) * np.float32(0.5))
    assert np.array_equal(rows[0, 16:32], np.full(16, 3.5, np.float32))


def test_groups_hold_every_text_once_and_stay_small() -> None:
    lengths = [256, 3, 40, 256, 256, 5, 256, 256, 9]
    groups = list(_groups(lengths))
    assert sorted(i for group in groups for i in group) == list(range(9))
    assert all(len(group) * max(lengths[i] for i in group) <= 1024 for group in groups)
    assert len(groups) > 1


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("red mug", "red"),
        ("A Navy-Blue shirt", "navy"),
        ("深蓝色外套", "navy"),
        ("米色沙发", "beige"),
        ("金色项链", "gold"),
        ("GREY lamp", "grey"),
        ("off-white sofa", "cream"),
    ],
)
def test_colour_words_of_both_languages(text: str, colour: str) -> None:
    weights = text_colours(text)
    assert COLOURS[int(weights.argmax())] == colour
    assert np.isclose(np.linalg.norm(weights), 1)


@pytest.mark.parametrize("text", ["", "mug", "reduced price", "blackboard", "Redmi 手机"])
def test_no_colour_word_no_colour(text: str) -> None:
    assert not text_colours(text).any()


@pytest.mark.parametrize(
    ("rgb", "colour"), [((200, 25, 30), "red"), ((30, 30, 80), "navy"), ((245, 245, 245), "white")]
)
def test_an_object_before_a_plain_background_has_its_own_colour(
    rgb: tuple[int, int, int], colour: str
) -> None:
    image = Image.new("RGB", (120, 90), (130, 135, 130))
    image.paste(rgb, (40, 25, 80, 65))
    shares = histogram(image)
    assert np.isclose(shares.sum(), 1, atol=1e-5)
    assert COLOURS[int(shares.argmax())] == colour and shares.max() > 0.6


def test_a_blank_picture_is_its_own_colour() -> None:
    assert COLOURS[int(histogram(Image.new("RGB", (50, 50), (20, 20, 22))).argmax())] == "black"


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (224, 224), (500, 333)])
def test_any_shape_becomes_the_square(size: tuple[int, int]) -> None:
    prepared = prepare_picture(Image.new("RGB", size, (10, 200, 30)))
    assert prepared.views.shape == (2, SIDE, SIDE, 3) and prepared.views.dtype == np.uint8
    assert (prepared.views == (10, 200, 30)).all()
    assert np.isfinite(prepared.colours).all() and prepared.colours.shape == (len(COLOURS),)


def test_the_picture_stands_in_the_middle_on_its_border_colour() -> None:
    image = Image.new("RGB", (200, 100), (255, 255, 255))
    image.paste((0, 0, 0), (60, 30, 140, 70))
    pixels = prepare_picture(image).views[0]
    assert (pixels[:50] == 255).all() and (pixels[-50:] == 255).all()
    assert (pixels[112, 112] < 40).all()


def test_the_second_view_is_the_centre_in_the_mirror() -> None:
    image = Image.new("RGB", (200, 100), (255, 255, 255))
    image.paste((0, 0, 0), (65, 15, 100, 85))
    whole, centre = prepare_picture(image).views.astype(int).mean(axis=3)
    assert whole[112, 80] < 40 and whole[112, 144] > 215
    assert (centre[:, :100] > 215).all() and (centre[:, 124:] < 40).all()
