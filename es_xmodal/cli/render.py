"""Results as tables for people."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from es_xmodal.search.result import Hit, SearchResult

_MARK = re.compile(r"<em>(.*?)</em>", re.DOTALL)
_NARROW_SCREEN = 100


def console() -> Console:
    """Standard output; wide enough for a table when it is not a terminal."""
    out = Console(highlight=False, emoji=False, markup=False)
    if not out.is_terminal:
        out = Console(highlight=False, emoji=False, markup=False, width=120)
    return out


def result_table(result: SearchResult) -> None:
    """Print the hits of one page."""
    out = console()
    if not result.hits:
        out.print("nothing found")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("#", "right"),
        ("score", "right"),
        ("id", "left"),
        ("title", "left"),
        ("price", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("best picture", overflow="fold")
    for hit in result.hits:
        table.add_row(
            str(hit.rank), f"{hit.score:.3f}", hit.id, _title(hit), _price(hit.source), hit.best_image or ""
        )
    out.print(table)
    sign = "at least " if result.total.at_least else ""
    out.print(
        f"{sign}{result.total.value} products, {result.total.reachable} ranked, {result.took_ms:.0f} ms,"
        f" {result.fusion} of {', '.join(result.legs)}"
    )
    if result.cursor:
        out.print(f"next page: --cursor {result.cursor}", soft_wrap=True)


def ledger_table(result: SearchResult) -> None:
    """Print every leg's part of every score: raw score, normalised, weight, contribution."""
    out = console()
    table = Table(
        box=None, pad_edge=False, header_style="bold", title="raw → normalised × weight = contribution"
    )
    table.add_column("#", justify="right")
    table.add_column("id", overflow="fold")
    for leg in result.legs:
        table.add_column(leg, justify="right")
    table.add_column("score", justify="right")
    for hit in result.hits:
        table.add_row(
            str(hit.rank), hit.id, *(_leg_cell(hit, leg) for leg in result.legs), f"{hit.score:.4f}"
        )
    out.print()
    out.print(table)


def _leg_cell(hit: Hit, leg: str) -> str:
    part = hit.ledger.legs.get(leg)
    if part is None or part.raw is None:
        return "–"
    return f"{part.raw:.3f} → {part.normalised:.3f} × {part.weight:.2f} = {part.contribution:.4f}"


def _title(hit: Hit) -> Text:
    marked = hit.highlight.get("title", str(hit.source.get("title", "")))
    text, end = Text(), 0
    for match in _MARK.finditer(marked):
        text.append(marked[end : match.start()])
        text.append(match[1], style="bold yellow")
        end = match.end()
    text.append(marked[end:])
    others = [f"title_{tag}" for tag in ("en", "zh") if f"title_{tag}" in hit.source]
    for name in others:
        text.append(f"\n{hit.source[name]}", style="dim")
    if len(text) > 4 * _NARROW_SCREEN:
        text.truncate(4 * _NARROW_SCREEN, overflow="ellipsis")
    return text


def _price(source: Any) -> str:
    price = source.get("price")
    return "" if price is None else f"{price:.2f} {source.get('currency') or ''}".strip()
