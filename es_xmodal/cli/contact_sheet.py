"""A picture of several searches: each query beside its best hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from es_xmodal.catalog.images import primary_image
from es_xmodal.cli.drawing import font_for, wrap
from es_xmodal.search.result import Hit, SearchResult

_CELL, _GAP, _TEXT = 170, 14, 66
_INK, _FAINT, _PAPER, _QUERY = (25, 25, 30), (110, 110, 120), (255, 255, 255), (236, 242, 250)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One search of the sheet.

    Attributes:
        text: the words; may be empty.
        gloss: the words in English, for a machine without a font for them.
        picture: the query's picture; None when there is none.
        result: the answer.
    """

    text: str
    gloss: str
    picture: Path | None
    result: SearchResult


def draw(searches: Sequence[Shown], *, images_root: Path, hits: int = 5) -> Image.Image:
    """Draw the sheet.

    Args:
        searches: one row each.
        images_root: folder below which the products' pictures lie.
        hits: how many hits of each search.

    Returns:
        An RGB picture.
    """
    row_height = _CELL + _TEXT + _GAP
    width = (_CELL + _GAP) * (hits + 1) + 3 * _GAP
    sheet = Image.new("RGB", (width, row_height * len(searches) + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, search in enumerate(searches):
        top = _GAP + number * row_height
        pen.rectangle((_GAP // 2, top - 6, _GAP + _CELL + 6, top + _CELL + _TEXT - 4), fill=_QUERY)
        _query_cell(sheet, pen, search, (_GAP, top))
        for place, hit in enumerate(search.result.hits[:hits]):
            left = 3 * _GAP + (place + 1) * (_CELL + _GAP)
            _hit_cell(sheet, pen, hit, images_root, (left, top))
    return sheet


def _query_cell(sheet: Image.Image, pen: ImageDraw.ImageDraw, search: Shown, at: tuple[int, int]) -> None:
    left, top = at
    if search.picture:
        _paste(sheet, search.picture, at)
        _write(pen, (left, top + _CELL + 4), _words(search) or "a photo", 14, lines=3)
    else:
        _write(pen, (left + 6, top + 50), _words(search), 20, lines=4)


def _hit_cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, hit: Hit, images_root: Path, at: tuple[int, int]
) -> None:
    left, top = at
    shown = hit.best_image or primary_image(hit.source.get("images", ()))
    if shown:
        _paste(sheet, images_root / shown, at)
    else:
        pen.rectangle((left, top, left + _CELL, top + _CELL), outline=_FAINT)
    _write(pen, (left, top + _CELL + 4), str(hit.source.get("title", hit.id)), 13, lines=2)
    _write(pen, (left, top + _CELL + 42), f"{hit.rank}.  {hit.score:.3f}", 12, lines=1, fill=_FAINT)


def _paste(sheet: Image.Image, path: Path, at: tuple[int, int]) -> None:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_CELL, _CELL))
    left, top = at
    sheet.paste(small, (left + (_CELL - small.width) // 2, top + (_CELL - small.height) // 2))


def _words(search: Shown) -> str:
    if not search.text:
        return ""
    quoted = f"“{search.text}”"
    if font_for(quoted, 14) is not None:
        return quoted
    return f"“{search.gloss}”, in Chinese"


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    *,
    lines: int,
    fill: tuple[int, int, int] = _INK,
) -> None:
    font = font_for(text, size) or font_for("", size)
    if font is None:
        return
    left, top = at
    for number, line in enumerate(wrap(text, font, _CELL, lines)):
        pen.text((left, top + number * (size + 5)), line, font=font, fill=fill)
