"""Before and after as pairs of bars, as an SVG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from es_xmodal.adapt.run import AdaptReport

# Colours that people with any kind of colour vision can tell apart (M. Okabe, K. Ito, 2008).
_BEFORE, _AFTER, _INK = "#999999", "#0072b2", "#19191e"
_WIDTH, _MARGIN, _NAMES, _BARS = 760, 16, 300, 360
_BAR, _PAIR, _HEAD = 16, 48, 56


def draw_comparisons(report: AdaptReport, path: Path) -> None:
    """Draw R@1 and R@10 of every comparison, before and after.

    Args:
        report: with comparisons.
        path: an .svg.

    Raises:
        OSError: the file cannot be written.
    """
    shapes = list(_shapes(report))
    height = _HEAD + 2 * _PAIR * len(report.comparisons) + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *shapes,
        "</svg>",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _shapes(report: AdaptReport) -> Iterator[str]:
    yield _label(_MARGIN, 24, f"{report.base}: what was held out, before and after")
    yield from (_box(_MARGIN, 34, 12, _BEFORE), _label(_MARGIN + 18, 44, "before"))
    yield from (_box(_MARGIN + 80, 34, 12, _AFTER), _label(_MARGIN + 98, 44, "after"))
    top = _HEAD
    for one in report.comparisons:
        pairs = (
            ("R@1", one.before.recall_1, one.after.recall_1),
            ("R@10", one.before.recall_10, one.after.recall_10),
        )
        for name, before, after in pairs:
            yield _label(_MARGIN, top + 20, f"{one.name}, {name}")
            for row, (value, colour) in enumerate(((before, _BEFORE), (after, _AFTER))):
                y = top + row * (_BAR + 2)
                yield _box(_MARGIN + _NAMES, y, value * _BARS, colour)
                yield _label(_MARGIN + _NAMES + value * _BARS + 6, y + 13, f"{value:.3f}")
            top += _PAIR


def _box(left: float, top: float, width: float, colour: str) -> str:
    height = 12 if width == 12 else _BAR
    size = f'width="{max(width, 0.5):.1f}" height="{height}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{colour}"/>'


def _label(left: float, base: float, text: str) -> str:
    return f'<text x="{left:.1f}" y="{base:.1f}" fill="{_INK}">{escape(text)}</text>'
