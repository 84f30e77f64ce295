"""What a refusal means: trouble that passes by itself, a block that somebody lifts, or a clash of types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from elastic_transport import ApiError

_PASSING_STATUS: Final = frozenset({429, 502, 503, 504})
_PASSING_TYPES: Final = frozenset(
    {
        "connect_transport_exception",
        "master_not_discovered_exception",
        "no_shard_available_action_exception",
        "node_closed_exception",
        "node_disconnected_exception",
        "node_not_connected_exception",
        "primary_missing_action_exception",
        "process_cluster_event_timeout_exception",
        "receive_timeout_transport_exception",
        "retry_on_primary_exception",
        "unavailable_shards_exception",
    }
)
"""Of a node that goes or a shard that moves; some of them come with status 500."""
_BLOCK: Final = "cluster_block_exception"
_BLOCKED_INDEX = re.compile(r"index \[([^\]]+)\] blocked by")
_FIELD = re.compile(r"field \[([^\]]+)\] of type \[([^\]]+)\]")
_PREVIEW = re.compile(r"Preview of field's value: '(.*)'$")
_OBJECT = re.compile(
    r"object mapping for \[([^\]]+)\] tried to parse field \[[^\]]*\] as object, but found a concrete value"
)
_STRICT = re.compile(r"dynamic introduction of \[([^\]]+)\] within \[([^\]]+)\] is not allowed")
_MAPPING_TYPES: Final = frozenset({"document_parsing_exception", "mapper_parsing_exception"})
_SHOWN: Final = 60


def passes(status: int, kind: str) -> bool:
    """Whether the same request may be taken a moment later.

    Args:
        status: of the answer, or of one item of a bulk request.
        kind: type of the error, such as `unavailable_shards_exception`.
    """
    return status in _PASSING_STATUS or kind in _PASSING_TYPES


def is_blocked(kind: str) -> bool:
    """Whether somebody, or a full disk, made the index or the cluster read-only.

    Args:
        kind: type of the error.
    """
    return kind == _BLOCK


def kind_of(error: BaseException | None) -> tuple[int, str]:
    """Return status and type of the answer behind an error; 0 and nothing where there was none.

    Args:
        error: as the client raised it.
    """
    if not isinstance(error, ApiError):
        return 0, ""
    body = error.body
    found = body.get("error") if isinstance(body, Mapping) else None
    return error.meta.status, str(found.get("type", "")) if isinstance(found, Mapping) else ""


def remedy_of(reason: str) -> str | None:
    """Say how a block is lifted.

    Args:
        reason: of the refusal, such as `index [shop-v0001] blocked by: [FORBIDDEN/8/index write (api)];`.

    Returns:
        One line; None where it is no block that is known.
    """
    found = _BLOCKED_INDEX.search(reason)
    index = found.group(1) if found else "INDEX"
    if "flood-stage" in reason or "index read-only / allow delete" in reason:
        return (
            "the disk of a data node is nearly full: make room on it or add a node; Elasticsearch lifts the"
            " block by itself, then run the same command again"
        )
    setting = next((name for sign, name in _INDEX_BLOCKS.items() if sign in reason), None)
    if setting:
        return f'lift it with PUT {index}/_settings {{"{setting}": null}}, then run the same command again'
    setting = next((name for sign, name in _CLUSTER_BLOCKS.items() if sign in reason), None)
    if setting:
        return (
            f'lift it with PUT _cluster/settings {{"persistent": {{"{setting}": null}}}},'
            " then run the same command again"
        )
    return None


_INDEX_BLOCKS: Final = {
    "index write (api)": "index.blocks.write",
    "index read-only (api)": "index.blocks.read_only",
    "index metadata (api)": "index.blocks.metadata",
    "index read (api)": "index.blocks.read",
}
_CLUSTER_BLOCKS: Final = {
    "cluster read-only (api)": "cluster.blocks.read_only",
    "cluster read-only / allow delete (api)": "cluster.blocks.read_only_allow_delete",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clash:
    """A document does not fit the mapping."""

    field: str
    reason: str
    """In one line, with what the index has and what the row says."""


def clash_of(error: Mapping[str, Any], body: bytes) -> Clash | None:
    """Explain why a document does not fit the mapping.

    Args:
        error: of the item, as Elasticsearch answers it.
        body: the document that was sent.

    Returns:
        The field, the type that the index has and the type that the row has; None: it is something else.
    """
    reason = str(error.get("reason", ""))
    strict = _STRICT.search(reason)
    if strict:
        name, within = strict.groups()
        path = name if within == "_doc" or name.startswith(f"{within}.") else f"{within}.{name}"
        return Clash(field=path, reason=f"mapping_clash: the index has no field {path} and takes no new ones")
    if error.get("type") not in _MAPPING_TYPES:
        return None
    as_object = _OBJECT.search(reason)
    found = _FIELD.search(reason)
    if as_object:
        path, has = as_object.group(1), "object"
    elif found:
        path, has = found.groups()
    else:
        return None
    preview = _PREVIEW.search(reason)
    said = _said(path, body, preview.group(1) if preview else None)
    return Clash(field=path, reason=f"mapping_clash: {path} is {has} in the index, {said}")


def _said(path: str, body: bytes, preview: str | None) -> str:
    """What the document has there: its type, and its beginning."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "and the row has something else"
    values = _values(document.get("doc", document), path)
    if not values:
        return "and the row has something else"
    # Of several values the one that Elasticsearch shows, in its own notation.
    bad = next((one for one in values if str(one) == preview or isinstance(one, Mapping)), values[0])
    shown = orjson.dumps(bad).decode()
    return f"the row has {_kind(bad)}: {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}"


def _values(value: Any, path: str) -> list[Any]:
    """Every value at a dotted path, whatever is a list on the way."""
    if isinstance(value, list):
        return [one for part in value for one in _values(part, path)]
    if not path:
        return [value]
    if not isinstance(value, Mapping):
        return []
    names = path.split(".")
    for at in range(len(names), 0, -1):  # a key may hold dots itself
        name = ".".join(names[:at])
        if name in value:
            return _values(value[name], ".".join(names[at:]))
    return []


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, Mapping):
        return "an object"
    return "null" if value is None else "a text"
