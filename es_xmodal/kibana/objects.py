"""Kibana's saved objects: data views and Discover sessions, and what all of them share. Pure.

Shapes are those of Kibana 8.8, which every later version reads and brings up to date while it imports:
https://www.elastic.co/docs/api/doc/kibana/operation/operation-post-saved-objects-import
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID, uuid5

SavedObject = dict[str, Any]
Kind = Literal["index-pattern", "search", "lens", "dashboard"]

CORE_VERSION: Final = "8.8.0"
TYPE_VERSIONS: Final[Mapping[str, str]] = {
    "index-pattern": "8.0.0",
    "search": "8.0.0",
    "lens": "8.9.0",
    "dashboard": "8.9.0",
}
"""The last version of each type that is older than every Kibana that is supported (8.15 and later)."""
SEARCH_SOURCE: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"
"""Name of a session's reference to its data view."""
_NAMESPACE: Final = UUID("6f0a8c0e-3c1b-5b7e-9f5d-3a1f0f5f2c41")


def stable_id(*parts: str) -> str:
    """Return the id of an object: the same parts, the same id, so that a second import replaces the first.

    Args:
        parts: what makes it this object and no other.

    Returns:
        A UUID.
    """
    return str(uuid5(_NAMESPACE, "\n".join(parts)))


def reference(name: str, kind: Kind, id_: str) -> dict[str, str]:
    """Return one entry of an object's `references`."""
    return {"name": name, "type": kind, "id": id_}


def compact(value: Any) -> str:
    """Return the JSON text that Kibana keeps within its objects."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def saved_object(
    kind: Kind, id_: str, attributes: Mapping[str, Any], references: Sequence[Mapping[str, str]] = ()
) -> SavedObject:
    """Return a saved object.

    Args:
        kind: its type.
        id_: see `stable_id`.
        attributes: as the type has them.
        references: the objects that it needs.

    Returns:
        One line of an export.
    """
    return {
        "type": kind,
        "id": id_,
        "attributes": dict(attributes),
        "references": [dict(one) for one in references],
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": TYPE_VERSIONS[kind],
        "managed": False,
    }


def data_view(
    id_: str,
    *,
    index: str,
    name: str,
    formats: Mapping[str, Any],
    hidden: Sequence[str] = (),
    time_field: str | None = None,
) -> SavedObject:
    """Return a data view.

    Args:
        id_: see `stable_id`.
        index: alias or index that it shows; it need not exist yet.
        name: what people call it.
        formats: field -> formatter.
        hidden: fields that Discover does not show, `*` stands for anything.
        time_field: by which the time picker chooses; None: there is none.

    Returns:
        The object.
    """
    attributes: dict[str, Any] = {
        "title": index,
        "name": name,
        "fields": "[]",
        "fieldAttrs": "{}",
        "fieldFormatMap": compact(dict(formats)),
        "runtimeFieldMap": "{}",
        "sourceFilters": compact([{"value": one} for one in hidden]),
        "typeMeta": "{}",
        "allowNoIndex": True,
    }
    if time_field is not None:
        attributes["timeFieldName"] = time_field
    return saved_object("index-pattern", id_, attributes)


def session(
    id_: str,
    *,
    title: str,
    description: str,
    data_view_id: str,
    columns: Sequence[str],
    query: str = "",
    newest_first: str | None = None,
    widths: Mapping[str, int] | None = None,
    row_height: int | None = None,
) -> SavedObject:
    """Return a Discover session, called saved search before 8.18.

    Args:
        id_: see `stable_id`.
        title: what people call it.
        description: one line.
        data_view_id: whose documents it shows.
        columns: fields.
        query: KQL.
        newest_first: field that orders it; None: as they come.
        widths: column -> pixels.
        row_height: lines of a row; -1: as many as it needs; None: the reader's own.

    Returns:
        The object.
    """
    source = {
        "query": {"query": query, "language": "kuery"},
        "filter": [],
        "indexRefName": SEARCH_SOURCE,
    }
    attributes: dict[str, Any] = {
        "title": title,
        "description": description,
        "columns": list(columns),
        "sort": [[newest_first, "desc"]] if newest_first else [],
        "grid": {"columns": {name: {"width": width} for name, width in (widths or {}).items()}},
        "hideChart": True,
        "isTextBasedQuery": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": compact(source)},
        "timeRestore": False,
    }
    if row_height is not None:
        attributes["rowHeight"] = row_height
    return saved_object("search", id_, attributes, [reference(SEARCH_SOURCE, "index-pattern", data_view_id)])
