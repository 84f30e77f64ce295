"""The parts of the embedded encoder that need no weights: pieces, colours, the square."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from es_xmodal.encoders.mini.colour import COLOURS, histogram, object_box, text_colours
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


def noise(width: int, height: int) -> Image.Image:
    """A picture without a plain border."""
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("size", "left", "top", "side"), [((400, 300), 280, 30, 80), ((220, 220), 10, 10, 200)]
)
def test_the_first_view_is_the_object_wherever_it_stands(
    size: tuple[int, int], left: int, top: int, side: int
) -> None:
    image, half = Image.new("RGB", size, (240, 240, 240)), side // 2
    image.paste((20, 20, 20), (left, top, left + side, top + half))
    image.paste((200, 30, 30), (left, top + half, left + half, top + side))
    seen = prepare_picture(image).views[0].astype(int)
    dark, red = seen.max(axis=2) < 60, (seen[..., 0] > 150) & (seen[..., 1] < 80)
    assert dark[60, 112] and red[170, 60] and (seen[170, 170] > 200).all()
    assert (dark | red).mean() > 0.6


def test_the_box_is_around_the_object_and_there_is_none_without_one() -> None:
    image = Image.new("RGB", (200, 100), (255, 255, 255))
    image.paste((0, 0, 0), (60, 30, 140, 70))
    box = object_box(image)
    assert box is not None and np.allclose(box, (0.3, 0.3, 0.7, 0.7), atol=0.03)
    assert object_box(Image.new("RGB", (200, 100), (9, 99, 9))) is None
    assert object_box(noise(64, 64)) is None


def test_without_a_plain_border_the_first_view_is_the_wide_centre() -> None:
    image = noise(200, 160)
    centre = image.crop((32, 12, 168, 148)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    assert np.array_equal(prepare_picture(image).views[0], np.asarray(centre))


def test_a_long_picture_stands_whole_in_the_middle() -> None:
    image = Image.new("RGB", (300, 100), (250, 250, 250))
    image.paste((0, 0, 0), (0, 0, 300, 45))
    image.paste((200, 0, 0), (0, 45, 20, 100))
    image.paste((0, 0, 200), (280, 45, 300, 100))
    pixels = prepare_picture(image).views[0].astype(int)
    assert pixels[140, 5, 0] > 150 and pixels[140, 218, 2] > 150


def test_the_second_view_is_the_centre_in_the_mirror() -> None:
    image = Image.new("RGB", (200, 100), (255, 255, 255))
    image.paste((0, 0, 0), (65, 15, 100, 85))
    centre = prepare_picture(image).views.astype(int).mean(axis=3)[1]
    assert (centre[:, :100] > 215).all() and (centre[:, 124:] < 40).all()
