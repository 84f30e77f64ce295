from __future__ import annotations

import csv
import io
import json
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import FORMATS, PictureLimits, content_hash, decode_picture
from es_xmodal.media.source import PictureSource

pytestmark = pytest.mark.unit

AWKWARD = Path(__file__).resolve().parents[2].parent / "shared/data/awkward"
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sample(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A gradient with a red upper left corner."""
    across = np.linspace(60, 200, size[0], dtype=np.uint8)
    image = Image.fromarray(np.stack([np.tile(across, (size[1], 1))] * 3, axis=-1))
    image.paste(RED, (0, 0, size[0] // 2, size[1] // 2))
    return image.convert(mode)


def code_of(data: bytes, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        decode_picture(data, source="p", **options)
    assert "\n" not in str(caught.value)
    return caught.value.code


def near(first: object, second: object, by: int = 12) -> bool:
    return bool(np.max(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int))) <= by)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read(kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    data = encoded(sample(), kind)
    picture = decode_picture(data, source="a.txt")
    assert type(picture.image) is Image.Image
    assert (picture.image.mode, picture.image.size) == ("RGB", (40, 30))
    assert picture.content_hash == content_hash(data)
    assert picture.source == "a.txt"
    assert near(picture.image.getpixel((4, 4)), RED, 40)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX", "EPS", "PDF"])
def test_other_formats_are_none(kind: str) -> None:
    assert code_of(encoded(sample(), kind)) == "not_a_picture"


def test_markup_is_no_picture() -> None:
    assert code_of(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>') == "not_a_picture"


def test_limits_are_checked_before_decoding() -> None:
    data = encoded(sample(), "PNG")
    assert code_of(b"") == "empty"
    assert code_of(data, limits=PictureLimits(max_bytes=len(data) - 1)) == "too_many_bytes"
    assert code_of(data, limits=PictureLimits(max_pixels=1199)) == "too_many_pixels"
    assert code_of(data, limits=PictureLimits(min_side=31)) == "too_small"
    limits = PictureLimits(max_bytes=len(data), max_pixels=1200, min_side=30)
    assert decode_picture(data, source="p", limits=limits).image.size == (40, 30)


def png_header(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    idat = b"IDAT" + zlib.compress(b"")
    parts = [chunk, idat, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def webp_header(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize(
    "data",
    [
        png_header(12_000, 12_000),
        png_header(2**31 - 1, 2**31 - 1),
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + bytes(20),
        webp_header(b"VP8X", bytes(4) + b"\xff\xff\xff" * 2 + bytes(8)),
        webp_header(b"VP8L", b"\x2f" + struct.pack("<I", 0x0FFFFFFF) + bytes(8)),
        webp_header(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(8)),
    ],
    ids=["png", "png-largest", "gif", "webp-x", "webp-l", "webp"],
)
def test_bombs_are_refused_by_their_header(data: bytes) -> None:
    assert code_of(data) == "too_many_pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_file_that_ends_too_early_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert code_of(data[: int(len(data) * share)]) in ("truncated", "broken", "not_a_picture")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, (0, 0)),
        (2, (1, 0)),
        (3, (1, 1)),
        (4, (0, 1)),
        (5, (0, 0)),
        (6, (1, 0)),
        (7, (1, 1)),
        (8, (0, 1)),
        (99, (0, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_turns(kind: str, orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_picture(encoded(sample(), kind, exif=exif), source="p").image
    assert image.size == ((30, 40) if 5 <= orientation <= 8 else (40, 30))
    x, y = corner[0] * (image.width - 1), corner[1] * (image.height - 1)
    assert near(image.getpixel((x, y)), RED, 40)
    assert not image.info, "a later exif_transpose would turn it again"


def test_exif_that_cannot_be_read_costs_nothing() -> None:
    data = encoded(sample(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\x00" * 9)
    assert decode_picture(data, source="p").image.size == (40, 30)


def test_transparent_is_white() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    several = {
        "rgba": (encoded(clear, "PNG"), WHITE),
        "webp": (encoded(clear, "WEBP", lossless=True), WHITE),
        "la": (encoded(half, "PNG"), (127, 127, 127)),
        "palette index": (encoded(palette, "PNG", transparency=0), WHITE),
        "palette table": (encoded(palette, "PNG", transparency=b"\x00\xff"), WHITE),
        "gif": (encoded(palette, "GIF", transparency=0), WHITE),
        "rgb key": (encoded(keyed, "PNG", transparency=(1, 2, 3)), WHITE),
        "grey key": (encoded(Image.new("L", (8, 8), 9), "PNG", transparency=9), WHITE),
        "bit key": (encoded(Image.new("1", (8, 8), 0), "PNG", transparency=0), WHITE),
    }
    for name, (data, expected) in several.items():
        assert near(decode_picture(data, source="p").image.getpixel((3, 3)), expected, 1), name


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    image = decode_picture(encoded(Image.fromarray(ramp), kind), source="p").image
    assert [image.getpixel((x, 1)) for x in (0, 128, 255)] == [(0, 0, 0), (128, 128, 128), WHITE]


def test_wide_numbers_are_stretched() -> None:
    for values in (np.linspace(-5, 5, 64, dtype=np.float32), np.linspace(0, 10**6, 64).astype(np.int32)):
        data = encoded(Image.fromarray(np.tile(values, (4, 1))), "TIFF")
        image = decode_picture(data, source="p").image
        assert (image.getpixel((0, 0)), image.getpixel((63, 3))) == ((0, 0, 0), WHITE)
    flat = encoded(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "TIFF")
    assert decode_picture(flat, source="p").image.size == (4, 4)


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("1", "PNG"), ("CMYK", "TIFF")]
)
def test_other_modes(mode: str, kind: str) -> None:
    image = decode_picture(encoded(sample(mode), kind), source="p").image
    grey = mode in ("L", "1")
    red = np.asarray(image.getpixel((4, 4)))
    assert image.mode == "RGB"
    assert grey == (red[0] == red[2])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decode_picture(data, source="p").image.getpixel((8, 8)), RED)


@pytest.mark.parametrize("size", [(3000, 1000), (1000, 3000), (100, 50)])
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_a_large_jpeg_decoded_small_looks_the_same(size: tuple[int, int], mode: str) -> None:
    data = encoded(sample(mode, size), "JPEG", quality=95)
    whole = decode_picture(data, source="p")
    small = decode_picture(data, source="p", max_side=224)
    assert small.content_hash == whole.content_hash
    assert max(small.image.size) == min(224, max(size))
    whole.image.thumbnail((224, 224), Image.Resampling.LANCZOS)
    assert small.image.size == whole.image.size
    difference = np.abs(np.asarray(small.image, dtype=float) - np.asarray(whole.image, dtype=float))
    assert difference.mean() < 1.5


def test_max_side_and_turn_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decode_picture(
        encoded(sample("RGB", (400, 300)), "JPEG", exif=exif), source="p", max_side=40
    ).image
    assert image.size == (30, 40)
    assert near(image.getpixel((29, 0)), RED, 40)


def test_pillow_stays_silent_and_the_filters_come_back() -> None:
    palette = Image.new("P", (8, 8), 0)
    odd = encoded(palette, "PNG", transparency=b"\x00\xff")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        threads = [
            threading.Thread(target=lambda: [decode_picture(odd, source="p") for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not seen
    assert list(warnings.filters) == before


def test_names_in_messages_are_short_and_printable() -> None:
    with pytest.raises(PictureError) as caught:
        decode_picture(b"", source="a\x1b[31m\n" + "b" * 500)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


FUZZED = [encoded(sample(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")] + [
    encoded(sample(), "JPEG", progressive=True),
    encoded(sample("P"), "PNG"),
    encoded(sample(), "WEBP", lossless=True),
    encoded(sample(), "TIFF", compression="tiff_lzw"),
    encoded(sample(), "BMP"),
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FUZZED), st.data())
def test_any_damage_is_a_picture_error_or_a_picture(data: bytes, draw: st.DataObject) -> None:
    hurt = bytearray(data)
    for _ in range(draw.draw(st.integers(0, 6))):
        hurt[draw.draw(st.integers(0, len(hurt) - 1))] = draw.draw(st.integers(0, 255))
    if draw.draw(st.booleans()):
        del hurt[draw.draw(st.integers(0, len(hurt))) :]
    try:
        picture = decode_picture(bytes(hurt), source="p", limits=PictureLimits(max_pixels=10**6), max_side=32)
    except PictureError as error:
        assert error.code
    else:
        assert picture.image.mode == "RGB"
        assert np.asarray(picture.image).shape[2] == 3


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
)
def test_bytes_that_are_nothing(body: bytes, head: bytes) -> None:
    assert code_of(head + body) in ("empty", "not_a_picture", "truncated", "broken", "too_many_pixels")


def awkward(read: Callable[[Path], Any]) -> Any:
    if not AWKWARD.is_dir():
        if os.environ.get("CI"):
            pytest.fail("the development data is missing")
        pytest.skip("the development data is not there")
    return read(AWKWARD)


def awkward_outcomes(root: Path) -> dict[str, tuple[str, str]]:
    """Row number to what `expected.tsv` says and what the pictures of the row come to."""
    with (root / "expected.tsv").open(encoding="utf-8", newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "must"}
    source = PictureSource(root)
    outcomes = {}
    for number, line in enumerate((root / "catalog.jsonl").read_bytes().split(b"\n"), start=1):
        row = rows.get(str(number))
        if row is None or not row["expected"].startswith("indexed"):
            continue
        good = 0
        for ref in json.loads(line).get("images", []):
            try:
                decode_picture(source.read(ref), source=ref, max_side=448)
                good += 1
            except PictureError:
                continue
        outcomes[str(number)] = (row["expected"], "indexed" if good else "indexed without image")
    return outcomes


def test_every_awkward_row() -> None:
    outcomes = awkward(awkward_outcomes)
    assert len(outcomes) > 20
    assert {n: got for n, (_, got) in outcomes.items()} == {n: want for n, (want, _) in outcomes.items()}


def test_awkward_pictures_look_right() -> None:
    def load(name: str) -> Image.Image:
        return decode_picture((awkward(Path) / name).read_bytes(), source=name).image

    upright, reference = load("images/exif_orientation6.jpg"), load("reference/exif_upright.jpg")
    assert upright.size == reference.size
    assert np.abs(np.asarray(upright, dtype=float) - np.asarray(reference, dtype=float)).mean() < 3
    assert near(load("images/alpha.png").getpixel((0, 0)), WHITE)
    red, green, blue = np.asarray(load("images/animated.gif"), dtype=float).mean(axis=(0, 1))
    assert red > max(green, blue) + 50, "the red frame"
    red, green, blue = np.asarray(load("images/animated.webp"), dtype=float).mean(axis=(0, 1))
    assert min(red, blue) > green + 10, "the purple frame"
    assert np.asarray(load("images/sixteen_bit.png")).std() > 5


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("truncated.jpg", "truncated"),
        ("zero.jpg", "empty"),
        ("text.jpg", "not_a_picture"),
        ("huge_12000x12000.png", "too_many_pixels"),
    ],
)
def test_awkward_codes(name: str, code: str) -> None:
    assert code_of((awkward(Path) / "images" / name).read_bytes()) == code


@pytest.mark.parametrize(
    ("size", "exact", "rough"),
    [((1000, 800), 500, 1000), ((900, 900), 500, 900), ((1100, 100), 500, 500), ((300, 200), 300, 300)],
)
def test_roughly_spares_a_careful_resampling_up_to_twice_the_side(
    size: tuple[int, int], exact: int, rough: int
) -> None:
    data = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(data, "PNG")
    for roughly, longest in ((False, exact), (True, rough)):
        picture = decode_picture(data.getvalue(), source="a.png", max_side=500, roughly=roughly)
        assert max(picture.image.size) == longest


def test_roughly_a_large_jpeg_is_decoded_at_the_fraction_that_is_enough() -> None:
    data = io.BytesIO()
    Image.new("RGB", (4000, 3200), (10, 200, 30)).save(data, "JPEG")
    picture = decode_picture(data.getvalue(), source="a.jpg", max_side=700, roughly=True)
    assert picture.image.size == (1000, 800)
