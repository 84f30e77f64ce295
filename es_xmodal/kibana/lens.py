"""Charts as Kibana's Lens keeps them: columns that become aggregations, and how they are drawn. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from es_xmodal.kibana.objects import SavedObject, reference, saved_object

Column = dict[str, Any]
Series = Literal["line", "bar_stacked"]

RECORDS: Final = "___records___"
"""What Lens calls the field of a count."""
LAYER: Final = "layer"
X: Final = "when"
SPLIT: Final = "split"
PERCENT: Final = {"id": "percent", "params": {"decimals": 1}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Numbers over time."""

    title: str
    description: str
    series: Series
    query: str
    """KQL: which documents it is about."""
    numbers: Mapping[str, Column]
    """Id -> column; several are drawn side by side, or on top of each other where `series` stacks."""
    time_field: str
    split: str | None = None
    """Field whose values are told apart; then there is one number."""


def number(label: str, operation: Literal["sum", "average", "max"], field: str, **params: Any) -> Column:
    """Return a column that is one number of many.

    Args:
        label: what people read.
        operation: how many become one.
        field: of a number.
        params: such as `format`.
    """
    return _column(label, operation, field, "number", scale="ratio", params=params)


def counted(label: str) -> Column:
    """Return a column that counts documents."""
    return _column(label, "count", RECORDS, "number", scale="ratio", params={"emptyAsNull": True})


def lens_object(id_: str, chart: Chart, *, data_view_id: str) -> SavedObject:
    """Return a chart.

    Args:
        id_: see `stable_id`.
        chart: what it shows.
        data_view_id: of what.

    Returns:
        The object.
    """
    columns = _columns(chart)
    state = {
        "visualization": _drawing(chart),
        "query": {"query": chart.query, "language": "kuery"},
        "filters": [],
        "datasourceStates": {
            "formBased": {
                "layers": {LAYER: {"columns": columns, "columnOrder": list(columns), "incompleteColumns": {}}}
            }
        },
        "internalReferences": [],
        "adHocDataViews": {},
    }
    attributes = {
        "title": chart.title,
        "description": chart.description,
        "visualizationType": "lnsXY",
        "state": state,
    }
    references = [reference(f"indexpattern-datasource-layer-{LAYER}", "index-pattern", data_view_id)]
    return saved_object("lens", id_, attributes, references)


def _columns(chart: Chart) -> dict[str, Column]:
    """Buckets first: that is their order in the request."""
    columns: dict[str, Column] = {}
    if chart.split is not None:
        (first,) = chart.numbers
        columns[SPLIT] = _values(chart.split, by=first)
    interval = {"interval": "auto", "includeEmptyRows": False, "dropPartials": False}
    columns[X] = _column(
        chart.time_field, "date_histogram", chart.time_field, "date", scale="interval", params=interval
    )
    return {**columns, **chart.numbers}


def _values(field: str, *, by: str) -> Column:
    params = {
        "size": 10,
        "orderBy": {"type": "column", "columnId": by},
        "orderDirection": "desc",
        "otherBucket": True,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
    }
    return _column(field, "terms", field, "string", scale="ordinal", params=params)


def _column(
    label: str, operation: str, field: str, kind: str, *, scale: str, params: Mapping[str, Any]
) -> Column:
    return {
        "label": label,
        "customLabel": True,
        "dataType": kind,
        "operationType": operation,
        "sourceField": field,
        "isBucketed": operation in ("date_histogram", "terms"),
        "scale": scale,
        "params": dict(params),
    }


def _drawing(chart: Chart) -> dict[str, Any]:
    layer: dict[str, Any] = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": chart.series,
        "xAccessor": X,
        "accessors": list(chart.numbers),
        "position": "top",
        "showGridlines": False,
    }
    if chart.split is not None:
        layer["splitAccessor"] = SPLIT
    shown = {"x": True, "yLeft": True, "yRight": True}
    return {
        "preferredSeriesType": chart.series,
        "layers": [layer],
        "legend": {"isVisible": True, "position": "right", "showSingleSeries": True},
        "valueLabels": "hide",
        "fittingFunction": "Linear" if chart.series == "line" else "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": shown,
        "gridlinesVisibilitySettings": shown,
        "yLeftExtent": {"mode": "full"},
        "yRightExtent": {"mode": "full"},
    }


def named(labels: Sequence[str], prefix: str, **params: Any) -> dict[str, Column]:
    """Return a sum of each of several fields below one object.

    Args:
        labels: last names of the fields.
        prefix: the object, such as `seconds_by_stage`.
        params: such as `format`.

    Returns:
        Id -> column.
    """
    return {one: number(one.replace("_", " "), "sum", f"{prefix}.{one}", **params) for one in labels}
