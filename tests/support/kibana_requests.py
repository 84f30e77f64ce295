"""What Kibana asks Elasticsearch for its objects: Lens as aggregations, sessions as requests for fields."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Any

from tests.support.kibana_shapes import DataView, LensColumn, LensLayer, Session

_CLAUSE = re.compile(r'(\w+) : "([^"]*)"')
_METRICS = {"sum": "sum", "average": "avg", "max": "max"}


def filters(kql: str) -> list[dict[str, Any]]:
    """The little of KQL that the objects use."""
    found = []
    for part in filter(None, kql.split(" and ")):
        match = _CLAUSE.fullmatch(part)
        assert match, part
        found.append({"term": {match[1]: match[2]}})
    return found


def lens_request(layer: LensLayer, kql: str) -> dict[str, Any]:
    """The search that a chart stands for."""
    columns = layer.columns
    metrics = {
        name: {_METRICS[one.operationType]: {"field": one.sourceField}}
        for name, one in columns.items()
        if one.operationType in _METRICS
    }
    inner: dict[str, Any] = dict(metrics)
    for name in reversed([one for one in layer.columnOrder if columns[one].isBucketed]):
        inner = {name: _bucket(columns[name], metrics, inner)}
    return {"size": 0, "query": {"bool": {"filter": filters(kql)}}, "aggs": inner}


def _bucket(column: LensColumn, metrics: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    if column.operationType == "date_histogram":
        body: dict[str, Any] = {"date_histogram": {"field": column.sourceField, "fixed_interval": "1d"}}
        body["date_histogram"]["min_doc_count"] = 0 if column.params["includeEmptyRows"] else 1
        return {**body, "aggs": inner}
    by = column.params["orderBy"]["columnId"]
    order = {by if by in metrics else "_count": column.params["orderDirection"]}
    own = {by: metrics[by]} if by in metrics else {}
    terms = {"field": column.sourceField, "size": column.params["size"], "order": order}
    return {"terms": terms, "aggs": {**own, **inner}}


def numbers_of(aggregations: dict[str, Any], layer: LensLayer) -> list[dict[str, float | None]]:
    """The points of a chart: what each innermost bucket says of each number."""
    points: list[dict[str, float | None]] = []

    def walk(found: dict[str, Any], buckets: list[str]) -> None:
        if buckets:
            for bucket in found[buckets[0]]["buckets"]:
                walk(bucket, buckets[1:])
            return
        wanted = [name for name, one in layer.columns.items() if not one.isBucketed]
        points.append({n: found[n]["value"] if n in found else found["doc_count"] for n in wanted})

    walk(aggregations, [one for one in layer.columnOrder if layer.columns[one].isBucketed])
    return points


def session_request(session: Session, view: DataView, fields: Iterable[str]) -> dict[str, Any]:
    """The documents of a session: every field that the data view does not hide."""
    attributes = session.attributes
    hidden = [one.value for one in view.attributes.sourceFilters]
    asked = [one for one in fields if not any(fnmatch.fnmatchcase(one, pattern) for pattern in hidden)]
    kql = attributes.kibanaSavedObjectMeta.searchSourceJSON.query.query
    sort = [{field: {"order": order, "unmapped_type": "boolean"}} for field, order in attributes.sort]
    return {
        "size": 50,
        "_source": False,
        "fields": [{"field": one} for one in asked],
        "query": {"bool": {"filter": filters(kql)}},
        **({"sort": sort} if sort else {}),
    }
