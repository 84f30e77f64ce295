"""The dashboard of coverage and of the health of ingests, from what `index/audit.py` writes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from es_xmodal.kibana.lens import PERCENT, Chart, Column, counted, lens_object, named, number
from es_xmodal.kibana.objects import (
    Kind,
    SavedObject,
    compact,
    data_view,
    reference,
    saved_object,
    session,
    stable_id,
)

TIME: Final = "@timestamp"
COVERAGE: Final = {
    "picture": "with a picture",
    "vector": "with a picture's vector",
    "text_vector": "with a text vector",
}
RUN_COLUMNS: Final = (
    "command",
    "outcome",
    "catalog",
    "counts.read",
    "counts.indexed",
    "counts.updated",
    "counts.rejected",
    "counts.without_image",
    "documents",
    "seconds",
    "error",
)
REASON_COLUMNS: Final = ("reason", "count", "example", "run")
_WIDTH: Final = 48
"""Columns of a dashboard's grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What the dashboard is about."""

    alias: str
    audit_index: str
    space: str
    """Objects of two spaces are two objects; empty: the default one."""


def health_objects(watched: Watched, stages: Sequence[str]) -> list[SavedObject]:
    """Return a data view of the runs, charts, two tables, and the dashboard that holds them.

    Args:
        watched: of which index, and where its runs are recorded.
        stages: names below `seconds_by_stage`.

    Returns:
        The objects, each after those that it refers to.
    """
    view = audit_view(watched)
    charts = [
        lens_object(_id(watched, f"chart/{key}"), chart, data_view_id=view["id"])
        for key, chart in _charts(watched, stages).items()
    ]
    tables = [_runs(watched, view["id"]), _reasons(watched, view["id"])]
    return [view, *charts, *tables, _dashboard(watched, charts, tables)]


def audit_view(watched: Watched) -> SavedObject:
    """Return the data view of the runs; all indices whose runs are recorded in one place share it."""
    number_of = {"id": "number", "params": {"pattern": "0,0.[0]"}}
    formats: dict[str, Any] = {
        f"coverage.{name}": {"id": "percent", "params": {"pattern": "0.[0]%"}} for name in COVERAGE
    }
    formats |= {"seconds": number_of, "rows_per_second": number_of}
    return data_view(
        stable_id(watched.space, "ingests", watched.audit_index),
        index=watched.audit_index,
        name=f"Ingests ({watched.audit_index})",
        formats=formats,
        time_field=TIME,
    )


def _id(watched: Watched, what: str) -> str:
    return stable_id(watched.space, "health", watched.audit_index, watched.alias, what)


def _query(watched: Watched, kind: str) -> str:
    """KQL; an alias holds no character that would have to be escaped between quotes."""
    return f'kind : "{kind}" and alias : "{watched.alias}"'


def _charts(watched: Watched, stages: Sequence[str]) -> dict[str, Chart]:
    runs, reasons = _query(watched, "run"), _query(watched, "reason")

    def chart(title: str, description: str, numbers: Mapping[str, Column], **more: Any) -> Chart:
        given = {"query": runs, "series": "line", "time_field": TIME, **more}
        return Chart(title=f"{watched.alias}: {title}", description=description, numbers=numbers, **given)

    covered = {
        name: number(label, "average", f"coverage.{name}", format=PERCENT) for name, label in COVERAGE.items()
    }
    rejects = {"rejects": number("rejects", "sum", "count", emptyAsNull=True)}
    rate = {"rate": number("rows a second", "average", "rows_per_second")}
    stacked: dict[str, Any] = {"series": "bar_stacked"}
    return {
        "coverage": chart("coverage", "Of the products in the index after a run.", covered),
        "outcomes": chart(
            "runs by outcome",
            "Complete, failed, interrupted.",
            {"runs": counted("runs")},
            split="outcome",
            **stacked,
        ),
        "rejects": chart(
            "rejects by reason",
            "Rows, pictures and texts that did not make it.",
            rejects,
            split="reason",
            **{**stacked, "query": reasons},
        ),
        "products": chart(
            "products in the index", "After a run.", {"documents": number("products", "max", "documents")}
        ),
        "rate": chart("rows a second", "Rows read, by the seconds of the whole run.", rate, split="command"),
        "stages": chart(
            "seconds by stage",
            "Threads add up, so the sum may exceed the seconds of a run.",
            named(stages, "seconds_by_stage", emptyAsNull=True),
            **stacked,
        ),
    }


def _runs(watched: Watched, view: str) -> SavedObject:
    return session(
        _id(watched, "runs"),
        title=f"{watched.alias}: last runs",
        description="Each ingest, update, rebuild and enrichment, the last one first.",
        data_view_id=view,
        columns=RUN_COLUMNS,
        query=_query(watched, "run"),
        newest_first=TIME,
    )


def _reasons(watched: Watched, view: str) -> SavedObject:
    return session(
        _id(watched, "reasons"),
        title=f"{watched.alias}: why rows did not make it",
        description="A reason of a run, how often, and the id of one product.",
        data_view_id=view,
        columns=REASON_COLUMNS,
        query=_query(watched, "reason"),
        newest_first=TIME,
    )


def _dashboard(watched: Watched, charts: Sequence[SavedObject], tables: Sequence[SavedObject]) -> SavedObject:
    places = [(one, _WIDTH // 2, 11) for one in charts] + [(one, _WIDTH, 12) for one in tables]
    panels, references = _grid(places)
    options = {
        "useMargins": True,
        "syncColors": False,
        "syncCursor": True,
        "syncTooltips": False,
        "hidePanelTitles": False,
    }
    attributes = {
        "title": f"{watched.alias}: ingest health",
        "description": "Coverage of the index, and what became of every ingest.",
        "panelsJSON": compact(panels),
        "optionsJSON": compact(options),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": compact({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "timeRestore": True,
        "timeFrom": "now-30d",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60000},
        "version": 1,
    }
    return saved_object("dashboard", _id(watched, "dashboard"), attributes, references)


def _grid(
    places: Sequence[tuple[SavedObject, int, int]],
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """From left to right, row by row; what shares a row is of one height."""
    panels: list[dict[str, Any]] = []
    references: list[dict[str, str]] = []
    x = y = 0
    for place, (one, width, height) in enumerate(places, start=1):
        panel, link = _panel(f"p{place}", one, {"x": x, "y": y, "w": width, "h": height})
        panels.append(panel)
        references.append(link)
        x += width
        if x >= _WIDTH:
            x, y = 0, y + height
    return panels, references


def _panel(key: str, shown: SavedObject, place: dict[str, int]) -> tuple[dict[str, Any], dict[str, str]]:
    """By reference: each chart can be opened and changed on its own."""
    kind: Kind = shown["type"]
    panel: dict[str, Any] = {
        "version": "8.9.0",
        "type": kind,
        "panelIndex": key,
        "gridData": {**place, "i": key},
        "embeddableConfig": {"enhancements": {}},
        "panelRefName": f"panel_{key}",
    }
    return panel, reference(f"{key}:panel_{key}", kind, shown["id"])
