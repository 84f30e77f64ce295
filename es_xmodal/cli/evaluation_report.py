"""What `evaluate` found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.table import Table

from es_xmodal.cli.render import console
from es_xmodal.evaluation.compare import Difference, compare, worst
from es_xmodal.evaluation.measures import CONDENSED
from es_xmodal.evaluation.queries import JudgedQuery
from es_xmodal.evaluation.runner import Evaluation

MAIN = "nDCG@10"
"""The measure of the worst queries and of the groups' comparison."""
_SHOWN = (MAIN, f"{MAIN}{CONDENSED}", "R@10", "R@100", "RR@10", "Success@1", "Judged@10")
_COMPARED = (MAIN, f"{MAIN}{CONDENSED}", "R@10", "RR@10", "Success@1")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Several configurations, measured on the same queries.

    Attributes:
        done: name to configuration; the first one is what the others are compared with.
        queries: qid to query.
    """

    done: Mapping[str, Evaluation]
    queries: Mapping[str, JudgedQuery]

    @property
    def first(self) -> str:
        """Name of the configuration that the others are compared with."""
        return next(iter(self.done))

    @cached_property
    def against(self) -> dict[str, dict[str, dict[str, Difference]]]:
        """Group to (name to (measure to difference)); the group of all queries has the empty name."""
        first = self.done[self.first]
        others = {name: one for name, one in self.done.items() if name != self.first}
        groups = {"": first.qids, **first.groups} if others else {}
        return {group: compare(first, others, qids) for group, qids in groups.items()}

    def worst(self, name: str, count: int) -> list[dict[str, Any]]:
        """The biggest losses of a configuration against the first; of the first, its lowest values."""
        values = self.done[name].values[MAIN]
        first = None if name == self.first else self.done[self.first].values[MAIN]
        rows = []
        for qid, number in worst(values, first, count):
            query = self.queries[qid]
            row: dict[str, Any] = {"qid": qid, "mode": query.mode, "text": query.text}
            row["image"] = query.image.name if query.image else None
            row[MAIN] = values[qid]
            rows.append({**row, "first": first[qid], "difference": number} if first else row)
        return rows

    def to_json(self, *, per_query: bool, worst_count: int | None) -> dict[str, Any]:
        """Name to measures; see docs/evaluate.md for what else there is."""
        answer: dict[str, Any] = {}
        for name, one in self.done.items():
            entry = one.to_json()
            if name != self.first:
                entry["against"] = {"first": self.first, **_numbers(self.against[""][name])}
                for group, means in entry["by"].items():
                    means["against"] = _numbers(self.against[group][name])
            if worst_count:
                entry["worst"] = self.worst(name, worst_count)
            if per_query:
                entry["per_query"] = {key: dict(found) for key, found in one.values.items()}
            answer[name] = entry
        return answer


def _numbers(differences: Mapping[str, Difference]) -> dict[str, Any]:
    return {measure: one.to_json() for measure, one in differences.items()}


def show(report: Report, *, by: Collection[str], worst_count: int | None) -> None:
    """Print the measures, the comparison with the first configuration, and the worst queries.

    Args:
        report: what was found.
        by: kinds of groups to show: `mode`, `lang`, `tag`.
        worst_count: queries to show; None: none.
    """
    out = console()
    table = _table("configuration", "queries", "empty", *(_heading(name) for name in _SHOWN))
    for name, one in report.done.items():
        summary = one.to_json()
        table.add_row(name, *_cells(summary), style="bold")
        for group in _chosen(summary["by"], by):
            table.add_row(f"  {group}", *_cells(summary["by"][group]))
    out.print(table)
    if len(report.done) > 1:
        out.print()
        out.print(_comparison(report, by))
        out.print(_how_tested(len(report.done) - 1))
    for name in report.done if worst_count else ():
        if name != report.first or len(report.done) == 1:
            out.print()
            out.print(_worst_table(report, name, worst_count or 0))


def _how_tested(comparisons: int) -> str:
    how = f"corrected by Holm for {comparisons} comparisons" if comparisons > 1 else "one comparison"
    return f"two-sided paired t-test; {how} in each measure, not for the number of measures and groups"


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=bool(place), overflow="fold")
    return table


def _heading(measure: str) -> str:
    return measure.replace(CONDENSED, "\ncondensed")


def _chosen(groups: Iterable[str], by: Collection[str]) -> list[str]:
    """The groups to show; `mode=…,lang=…` only where both are asked for, and then not `lang=…` alone."""
    kinds = {group: {part.partition("=")[0] for part in _parts(group)} for group in groups}
    both = {"mode", "lang"} <= set(by)
    return [group for group, kind in kinds.items() if kind <= set(by) and not (both and kind == {"lang"})]


def _parts(group: str) -> list[str]:
    mode, comma, _ = group.partition(",lang=")
    if not group.startswith("mode="):
        return [group]  # a tag may hold anything
    return [mode, comma.lstrip(",")] if comma else [mode]


def _cells(means: Mapping[str, Any]) -> list[str]:
    empty = means.get("empty_queries")
    counts = [str(means["queries"]), "" if empty is None else str(empty)]
    return [*counts, *(f"{means[name]:.4f}" for name in _SHOWN)]


def _comparison(report: Report, by: Collection[str]) -> Table:
    """All queries in several measures, groups in the main one."""
    columns = ("measure", "difference", "95 % interval", "p", "p, Holm", "better", "worse", "queries")
    table = _table(f"against {report.first}", *columns)
    for name in report.against[""]:
        for place, measure in enumerate(_COMPARED):
            label = "" if place else name
            table.add_row(label, *_compared(measure, report.against[""][name][measure]), style="bold")
        for group in _chosen((one for one in report.against if one), by):
            table.add_row(f"  {group}", *_compared(MAIN, report.against[group][name][MAIN]))
    return table


def _compared(measure: str, one: Difference) -> list[str]:
    interval = "" if one.low is None else f"{one.low:+.4f} … {one.high:+.4f}"
    numbers = [f"{one.difference:+.4f}", interval, f"{one.p:.4f}", f"{one.p_holm:.4f}"]
    name = measure.replace(CONDENSED, " condensed")
    return [name, *numbers, str(one.better), str(one.worse), str(one.queries)]


def _worst_table(report: Report, name: str, count: int) -> Table:
    alone = name == report.first
    title = f"lowest {MAIN} of {name}" if alone else f"biggest losses of {name} in {MAIN}"
    columns = ("qid", "mode", "query", MAIN) if alone else ("qid", "mode", "query", report.first, name, "")
    table = _table(*columns, title=title)
    table.columns[1].justify = table.columns[2].justify = "left"
    table.columns[2].no_wrap = False
    for row in report.worst(name, count):
        asked = " + ".join(part for part in (row["text"], row["image"]) if part)
        numbers = [row[MAIN]] if alone else [row["first"], row[MAIN]]
        lost = [] if alone else [f"{row['difference']:+.4f}"]
        table.add_row(row["qid"], row["mode"], asked, *(f"{one:.4f}" for one in numbers), *lost)
    return table
