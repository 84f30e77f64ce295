"""Fonts and wrapped text for the pictures that the command line draws."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# No font is shipped. Pillow looks these up in the system's own font folders; its built-in one knows little
# more than ASCII.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
)
_NO_LETTER = "\ue000"
"""A private-use character: fonts show it as they show what they do not have."""


def font_for(text: str, size: int) -> Font | None:
    """A font that has every letter of a text; None when no font here does."""
    names = ("", *_SYSTEM_FONTS)
    fonts = (font for name in names if (font := _font(name, size)) is not None)
    letters = frozenset(text) - frozenset(" \n…")
    return next((font for font in fonts if text.isascii() or _has_all(font, letters)), None)


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


def _has_all(font: Font, letters: frozenset[str]) -> bool:
    return not any(_lacks(font, letter) for letter in letters)


@lru_cache(maxsize=4096)
def _lacks(font: Font, letter: str) -> bool:
    return bytes(font.getmask(letter)) == bytes(font.getmask(_NO_LETTER))


def wrap(text: str, font: Font, width: int, lines: int) -> list[str]:
    """Break at spaces, or anywhere in Chinese and in a word that is too long for a line.

    Args:
        text: the text.
        font: what it is written in.
        width: pixels a line.
        lines: as many at most; what does not fit ends in an ellipsis.
    """
    rows = [""]
    for piece in text.split(" ") if text.isascii() else list(text):
        joint = " " if text.isascii() and rows[-1] else ""
        if font.getlength(f"{rows[-1]}{joint}{piece}") <= width:
            rows[-1] += f"{joint}{piece}"
            continue
        rows += [""] if rows[-1] else []
        for letter in piece:
            if rows[-1] and font.getlength(rows[-1] + letter) > width:
                rows.append("")
            rows[-1] += letter
    if len(rows) <= lines:
        return rows
    last = rows[lines - 1]
    while last and font.getlength(f"{last}…") > width:
        last = last[:-1]
    return [*rows[: lines - 1], f"{last.rstrip()}…"]
