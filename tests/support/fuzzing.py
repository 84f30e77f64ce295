"""Files that pretend to be pictures, drawn from a seed: the same every time."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from PIL import Image


@dataclass(frozen=True)
class Fuzzed:
    """One file.

    Attributes:
        family: how it was made.
        data: its bytes.
        label: the media type that is claimed.
        hopeless: nobody can make a picture of it, or nobody should; else it may come out as one.
    """

    family: str
    data: bytes
    label: str
    hopeless: bool = True


FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_LABELS = [f"image/{name.lower()}" for name in FORMATS]
_SCRIPT = b"<script>fetch('/products/a')</script>"


def pictures(draw: random.Random) -> dict[str, bytes]:
    """One good picture of each format, noisy enough to be some kilobytes."""
    found = {}
    for name in FORMATS:
        picture = Image.frombytes("RGB", (64, 48), draw.randbytes(64 * 48 * 3))
        data = io.BytesIO()
        picture.save(data, name)
        found[name] = data.getvalue()
    return found


def fuzzed(seed: int, rounds: int) -> Iterator[Fuzzed]:
    """Draw files.

    Args:
        seed: of the draw.
        rounds: in each, one file of every family.
    """
    draw = random.Random(seed)
    for number in range(rounds):
        good = pictures(draw)
        name = FORMATS[number % len(FORMATS)]
        for family, make in _HOPELESS.items():
            yield Fuzzed(family, make(draw, good[name], good), draw.choice(_LABELS))
        for family, make in _DOUBTFUL.items():
            yield Fuzzed(family, make(draw, good[name], good), draw.choice(_LABELS), hopeless=False)


Make = Callable[[random.Random, bytes, dict[str, bytes]], bytes]


def _cut(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    return data[: draw.randrange(1, len(data) // 2)]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IEND", b"")


def _lying_png(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    side = draw.choice([30_000, 100_000, 2**31 - 1])
    return _png(side, side, _chunk(b"IDAT", zlib.compress(b"\0" * 100)))


def _honest_bomb(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    return _black_page()


@cache
def _black_page() -> bytes:
    """400 million pixels in some kilobytes."""
    squeezed = zlib.compressobj(9)
    row = b"\0" * (1 + 20_000 // 8)
    body = b"".join(squeezed.compress(row) for _ in range(20_000)) + squeezed.flush()
    return _png(20_000, 20_000, _chunk(b"IDAT", body))


def _lying_gif(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    gif = bytearray(good["GIF"])
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(gif)


def _lying_jpeg(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    jpeg = bytearray(good["JPEG"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(jpeg)


def _text_bomb(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    return _long_comment()


@cache
def _long_comment() -> bytes:
    """100 MiB of text in 100 KiB, in a picture without pixels."""
    return _png(8, 8, _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * (100 << 20), 9)))


def _svg(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    entity = "".join(f'<!ENTITY a{n + 1} "&a{n};&a{n};&a{n};&a{n};">' for n in range(draw.randrange(2, 20)))
    doctype = f'<!DOCTYPE svg [<!ENTITY a0 "lol">{entity}]>'
    return f'<?xml version="1.0"?>{doctype}<svg xmlns="http://www.w3.org/2000/svg">&a2;</svg>'.encode()


def _behind_something(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    """A real picture behind the beginning of something else."""
    start = (b"%PDF-1.7\n", b"<html>" + _SCRIPT, b"#!/bin/sh\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"MZ\x90\0")
    return draw.choice(start) + data


def _header_and_script(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    return data[: draw.randrange(6, 12)] + _SCRIPT * draw.randrange(1, 9)


def _archive(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("photo.jpg", data)
    return packed.getvalue()


def _noise(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    return draw.randbytes(draw.randrange(1, 5000))


def _no_video(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    """What begins like a video, and is none."""
    return struct.pack(">I", 24) + b"ftypisom" + draw.randbytes(draw.randrange(12, 3000))


def _unusual(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    """A real picture in a format that no shop photo has."""
    picture, written = Image.new("RGB", (40, 40), (9, 9, 9)), io.BytesIO()
    picture.save(written, draw.choice(["PPM", "TGA", "PCX", "EPS", "SGI"]))
    return written.getvalue()


def _bits(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    found = bytearray(data)
    for _ in range(draw.randrange(1, 20)):
        found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
    return bytes(found)


def _spliced(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    other = draw.choice(list(good.values()))
    return data[: draw.randrange(10, len(data))] + other[draw.randrange(len(other)) :]


def _with_a_tail(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    """A real picture with something else behind it, which is never looked at."""
    return data + draw.choice([_SCRIPT, _archive(draw, data, good)])


def _mislabelled(draw: random.Random, data: bytes, good: dict[str, bytes]) -> bytes:
    return data


_HOPELESS: dict[str, Make] = {
    "cut": _cut,
    "lying png": _lying_png,
    "lying gif": _lying_gif,
    "lying jpeg": _lying_jpeg,
    "honest bomb": _honest_bomb,
    "text bomb": _text_bomb,
    "svg": _svg,
    "behind something": _behind_something,
    "header and script": _header_and_script,
    "archive": _archive,
    "noise": _noise,
    "no video": _no_video,
    "unusual": _unusual,
}
_DOUBTFUL: dict[str, Make] = {
    "bits": _bits,
    "spliced": _spliced,
    "with a tail": _with_a_tail,
    "mislabelled": _mislabelled,
}
