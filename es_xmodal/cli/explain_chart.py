"""The parts of every score as stacked bars, as a PNG or an SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw

from es_xmodal.cli.drawing import font_for, wrap
from es_xmodal.errors import UsageError
from es_xmodal.query.legs import leg_kind
from es_xmodal.search.result import Hit, SearchResult

Colour = tuple[int, int, int]

# Colours that people with any kind of colour vision can tell apart (M. Okabe, K. Ito, 2008).
COLOURS: dict[str, Colour] = {
    "lexical": (0, 114, 178),
    "text": (230, 159, 0),
    "image": (0, 158, 115),
    "visual": (204, 121, 167),
    "identifier": (213, 94, 0),
    "fused": (86, 180, 233),
    "ocr": (240, 228, 66),
}
_OTHER: Colour = (120, 120, 120)
_INK, _FAINT, _PAPER = (25, 25, 30), (110, 110, 120), (255, 255, 255)
WIDTH = 900
_NAMES, _BARS, _SUMS = 250, 540, 80
_MARGIN, _HEAD, _ROW, _BAR = 16, 44, 44, 24
_TITLE_SIZE, _NUMBER_SIZE = 13, 12


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float
    fill: Colour


@dataclass(frozen=True, slots=True)
class Label:
    """A line of text; `left` and `top` are its corner."""

    left: float
    top: float
    text: str
    size: int
    fill: Colour = _INK


Shape = Box | Label


def check_chart_path(path: Path) -> None:
    """Refuse a file that no chart can be written to.

    Raises:
        UsageError: neither .png nor .svg, or its folder does not exist.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--explain-chart: {path.name!r} is neither .png nor .svg")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--explain-chart: {path}: there is no such folder")


def draw_chart(result: SearchResult, path: Path) -> None:
    """Draw one row a hit: its title, a bar of its legs' contributions, and their sum.

    Args:
        result: the page.
        path: a .png or an .svg.

    Raises:
        UsageError: the file cannot be written.
    """
    svg = path.suffix.lower() == ".svg"
    # An SVG is shown with the reader's fonts, so any title will do there.
    shapes = layout(result, can_show=(lambda text: True) if svg else _has_font)
    height = round(max(one.top for one in shapes)) + _ROW + _MARGIN
    try:
        if svg:
            path.write_text(_as_svg(shapes, height), encoding="utf-8")
        else:
            _as_picture(shapes, height).save(path, format="PNG")
    except OSError as error:
        raise UsageError(f"--explain-chart: {path} cannot be written: {error.strerror or error}") from None


def layout(result: SearchResult, *, can_show: Callable[[str], bool]) -> list[Shape]:
    """Place everything on the chart.

    Args:
        result: the page.
        can_show: whether a font has all letters of a text.

    Returns:
        Rectangles and lines of text, those at the back first.
    """
    legs = _legs(result)
    shapes, top = _legend(result, legs)
    if not result.hits:
        return [*shapes, Label(_MARGIN, top, "nothing found", _TITLE_SIZE, _FAINT)]
    low = min(0.0, *(_sum(hit, -1) for hit in result.hits))
    high = max(*(_sum(hit, 1) for hit in result.hits), low + 1e-9)
    scale = _BARS / (high - low)
    zero = _MARGIN + _NAMES - low * scale
    shapes.append(Box(zero - 1, top - 4, zero, top + _ROW * len(result.hits) - 8, _FAINT))
    for number, hit in enumerate(result.hits):
        shapes += _row(hit, legs, (zero, top + number * _ROW), scale, can_show)
    return shapes


def _legs(result: SearchResult) -> dict[str, Colour]:
    """Every leg that is in a ledger, with its colour."""
    names = dict.fromkeys([*result.legs, *(leg for hit in result.hits for leg in hit.ledger.legs)])
    seen: Counter[str] = Counter()
    colours = {}
    for name in names:
        kind = leg_kind(name)
        # Several legs of a kind, as a late composition has them, are shades of one colour.
        colours[name] = _lighter(COLOURS.get(kind, _OTHER), min(seen[kind], 4))
        seen[kind] += 1
    return colours


def _lighter(colour: Colour, steps: int) -> Colour:
    red, green, blue = (round(255 - (255 - part) * 0.72**steps) for part in colour)
    return red, green, blue


def _legend(result: SearchResult, legs: dict[str, Colour]) -> tuple[list[Shape], float]:
    """The legs and their weights, and where the legend ends."""
    shapes: list[Shape] = []
    left, top = float(_MARGIN), float(_MARGIN)
    for name, colour in [*legs.items(), (f"fusion {result.fusion}", None)]:
        text = _with_weight(name, result) if colour else name
        width = 20 + _width(text, _NUMBER_SIZE)
        if left > _MARGIN and left + width > WIDTH - _MARGIN:
            left, top = float(_MARGIN), top + 22
        if colour:
            shapes.append(Box(left, top, left + 14, top + 14, colour))
        shapes.append(Label(left + 20 * bool(colour), top, text, _NUMBER_SIZE, _INK if colour else _FAINT))
        left += width + 24
    return shapes, top + _HEAD


def _with_weight(name: str, result: SearchResult) -> str:
    weights = (hit.ledger.legs[name].weight for hit in result.hits if name in hit.ledger.legs)
    weight = next(weights, None)
    return f"{name}, found nothing" if weight is None else f"{name}, weight {weight:.3g}"


def _row(
    hit: Hit,
    legs: dict[str, Colour],
    at: tuple[float, float],
    scale: float,
    can_show: Callable[[str], bool],
) -> Iterator[Shape]:
    zero, top = at
    for number, line in enumerate(_lines(_title(hit, can_show))):
        yield Label(_MARGIN, top - 3 + number * 16, line, _TITLE_SIZE)
    ends = {-1: zero, 1: zero}
    for name, colour in legs.items():
        part = hit.ledger.legs[name].contribution if name in hit.ledger.legs else 0.0
        side = 1 if part >= 0 else -1
        start, ends[side] = ends[side], ends[side] + part * scale
        left, right = sorted((start, ends[side]))
        if right - left >= 0.5:
            yield Box(left, top, right, top + _BAR, colour)
            number_text = f"{part:.3f}"
            if right - left > _width(number_text, _NUMBER_SIZE) + 8:
                fill = _PAPER if sum(colour) < 330 else _INK
                yield Label(left + 4, top + 5, number_text, _NUMBER_SIZE, fill)
    if zero - ends[-1] >= 0.5:  # the score is not where the bar ends
        end = zero + hit.score * scale
        yield Box(end - 1, top - 3, end + 1, top + _BAR + 3, _INK)
    yield Label(max(ends[1], zero) + 8, top + 4, f"{hit.score:.4f}", _TITLE_SIZE)


def _sum(hit: Hit, sign: int) -> float:
    parts = (leg.contribution for leg in hit.ledger.legs.values())
    return sum(part for part in parts if part * sign > 0)


def _title(hit: Hit, can_show: Callable[[str], bool]) -> str:
    """The first title that can be shown, else the id."""
    names = ["title", *sorted(name for name in hit.source if name.startswith("title_"))]
    titles = [" ".join(str(hit.source[name]).split()) for name in names if hit.source.get(name)]
    chosen = next((title for title in titles if can_show(title)), hit.id)
    return f"{hit.rank}. {chosen}"


def _lines(text: str) -> list[str]:
    font = font_for(text, _TITLE_SIZE) or font_for("", _TITLE_SIZE)
    return wrap(text, font, _NAMES - 20, 2) if font else [text[:30]]


def _width(text: str, size: int) -> float:
    font = font_for(text, size)
    return font.getlength(text) if font else len(text) * size


def _has_font(text: str) -> bool:
    return font_for(text, _TITLE_SIZE) is not None


def _as_picture(shapes: Sequence[Shape], height: int) -> Image.Image:
    chart = Image.new("RGB", (WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(chart)
    for shape in shapes:
        if isinstance(shape, Box):
            right, bottom = max(shape.left, shape.right - 1), max(shape.top, shape.bottom - 1)
            pen.rectangle((shape.left, shape.top, right, bottom), fill=shape.fill)
        else:
            font = font_for(shape.text, shape.size) or font_for("", shape.size)
            pen.text((shape.left, shape.top), shape.text, font=font, fill=shape.fill)
    return chart


def _as_svg(shapes: Sequence[Shape], height: int) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="{_hex(_PAPER)}"/>',
    ]
    for shape in shapes:
        if isinstance(shape, Box):
            size = f'width="{shape.right - shape.left:.2f}" height="{shape.bottom - shape.top:.2f}"'
            at = f'x="{shape.left:.2f}" y="{shape.top:.2f}"'
            lines.append(f'<rect {at} {size} fill="{_hex(shape.fill)}"/>')
        else:
            at = f'x="{shape.left:.2f}" y="{shape.top + shape.size:.2f}" font-size="{shape.size}"'
            lines.append(f'<text {at} fill="{_hex(shape.fill)}">{escape(shape.text)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
