"""Results as tables for people."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from es_xmodal.query.facet_counts import FacetCounts
from es_xmodal.query.fusion import LegScore
from es_xmodal.search.explain import Explanation
from es_xmodal.search.result import Hit, SearchResult

_MARK = re.compile(r"<em>(.*?)</em>", re.DOTALL)
_NARROW_SCREEN = 100


def console() -> Console:
    """Standard output; wide enough for a table when it is not a terminal."""
    out = Console(highlight=False, emoji=False, markup=False)
    if not out.is_terminal:
        out = Console(highlight=False, emoji=False, markup=False, width=120)
    return out


def counts_table(counts: Mapping[str, int], *, always: Collection[str]) -> Table:
    """Make a table of counters.

    Args:
        counts: name to number; those that are 0 are left out.
        always: names that are shown also where they are 0.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for name, count in counts.items():
        if count or name in always:
            table.add_row(f"{count:,}", name.replace("_", " "))
    return table


def result_table(result: SearchResult) -> None:
    """Print the hits of one page."""
    out = console()
    if not result.hits:
        out.print("nothing found")
        _facets(out, result)
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
    if result.sort:
        out.print(f"these {result.total.reachable} by {', '.join(result.sort)}, not by score")
    _facets(out, result)
    if result.cursor:
        out.print(f"next page: --cursor {result.cursor}", soft_wrap=True)


def _facets(out: Console, result: SearchResult) -> None:
    for name, counts in result.facets.items():
        out.print(f"{name}, {counts.scope}: {_counted(counts)}")


def _counted(counts: FacetCounts) -> str:
    values = [f"{one.value} ({one.count})" for one in counts.values]
    values += [f"others ({counts.other})"] if counts.other else []
    return (", ".join(values) or "none") + ("" if counts.exact else "; some counts may be too low")


def ledger_table(explained: Sequence[tuple[Hit, Explanation]]) -> None:
    """Print every leg's part of every score, and what else is known of why a hit stands there."""
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("hit, legs", overflow="fold")
    for name in ("rank in leg", "raw", "normalised", "× weight", "= contribution"):
        table.add_column(name, justify="right", no_wrap=True)
    for hit, why in explained:
        table.add_row(str(hit.rank), _reasons(hit, why), "", "", "", "", f"{why.score:.6f}", style="bold")
        for name, leg in why.legs.items():
            table.add_row("", f"  {name}", *_leg_cells(leg, why.ranks[name]))
    out.print()
    out.print(table)


def _reasons(hit: Hit, why: Explanation) -> Text:
    """The id, and below it words, picture and filters."""
    parts = [f"{field}: {', '.join(words)}" for field, words in why.matched.items()]
    parts += [f"picture: {why.best_image}"] if why.best_image else []
    parts += [f"filter: {field} is {_shown(value)}" for field, value in why.filters.items()]
    return Text(hit.id).append("".join(f"\n  {part}" for part in parts), style="not bold dim")


def _shown(value: Any) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, (list, tuple)) else str(value)


def _leg_cells(leg: LegScore, rank: int | None) -> list[str]:
    if leg.raw is None:
        return ["–", "–", f"{leg.normalised:.4f}", f"{leg.weight:.3f}", f"{leg.contribution:.6f}"]
    place = "–" if rank is None else str(rank)
    return [place, f"{leg.raw:.4f}", f"{leg.normalised:.4f}", f"{leg.weight:.3f}", f"{leg.contribution:.6f}"]


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
