"""What every ingest leaves behind for people who watch: documents in an index that Kibana can chart.

One document `kind: run` for each run, and one `kind: reason` for each reason why rows did not make it. The
bodies are pure functions of a `RunRecord`; `write_audit` sends them, and raises nothing: the ingest is over.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, Literal

from elasticsearch import BadRequestError, Elasticsearch

from es_xmodal.cluster.errors import cluster_errors, reason_of
from es_xmodal.errors import ClusterAnswerError, IndexStateError, XModalError
from es_xmodal.index.target import find_indices
from es_xmodal.resources import index_template

_log = logging.getLogger(__name__)

AUDIT_INDEX: Final = "es-xmodal-ingests"
AUDIT_KEY: Final = "es_xmodal_ingests"
"""Where the mapping says in its `_meta` that the index is this one's."""
TIMEOUT_S: Final = 10.0
"""A cluster that hangs must not hold an ingest that is done."""
MAX_ERROR: Final = 1000
"""Characters of an error line."""

Command = Literal["ingest", "update", "rebuild", "enrich"]
RunState = Literal["complete", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run, as it is kept."""

    run: str
    """Id of the run."""
    at: datetime
    """When it ended, with its time zone."""
    command: Command
    outcome: RunState
    alias: str
    index: str | None = None
    """Physical name; None where none was written."""
    catalog: str | None = None
    """Name of the catalogue, without its folder; None: there is no catalogue."""
    error: str | None = None
    """The line that the person saw, where the run did not end well."""
    encoder_spec: str | None = None
    encoder_fingerprint: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    """`stage/code` -> how many rows or pictures."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """`stage/code` -> id of one product."""
    documents: int | None = None
    """Products in the index afterwards; None: not known."""
    coverage: Mapping[str, float] = field(default_factory=dict)
    """`picture`, `vector`, `text_vector` -> the part of the documents that have one, 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """Whether a run was recorded."""

    index: str
    documents: int
    """Documents that were written."""
    warning: str | None = None
    """Why they were not, in one line."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"index": self.index, "documents": self.documents, "warning": self.warning}


def audit_documents(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Return the documents of a run.

    Args:
        record: the run.

    Returns:
        Id -> document, the run first; the same record gives the same documents, so that writing them twice
        leaves one of each.
    """
    at = record.at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    common = {"@timestamp": at, "run": record.run, "command": record.command, "alias": record.alias}
    run = {
        **common,
        "kind": "run",
        "outcome": record.outcome,
        "counts": dict(record.counts),
        "seconds": record.seconds,
        "seconds_by_stage": dict(record.seconds_by_stage),
        "rows_per_second": _rate(record.counts.get("read", 0), record.seconds),
        "coverage": dict(record.coverage),
        "encoder": _known(spec=record.encoder_spec, fingerprint=record.encoder_fingerprint),
    }
    run |= _known(
        index=record.index,
        catalog=record.catalog,
        error=record.error and record.error[:MAX_ERROR],
        documents=record.documents,
    )
    documents = {f"{record.run}-run": run}
    for number, (reason, count) in enumerate(sorted(record.reasons.items()), start=1):
        stage, _, code = reason.partition("/")
        said = _known(index=record.index, example=record.examples.get(reason))
        documents[f"{record.run}-{number}"] = {
            **common,
            "kind": "reason",
            "stage": stage,
            "code": code,
            "reason": reason,
            "count": count,
            **said,
        }
    return documents


def audit_properties(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mapping's properties that these documents need.

    Args:
        documents: see `audit_documents`.

    Returns:
        Those of `mappings/ingests.json`, and a field for each counter and stage that it does not know.
    """
    properties = copy.deepcopy(index_template("ingests")["mappings"]["properties"])
    for document in documents.values():
        for group, kind in (("counts", "long"), ("seconds_by_stage", "float")):
            for name in document.get(group, ()):
                properties[group]["properties"].setdefault(name, {"type": kind})
    return dict(properties)


def write_audit(client: Elasticsearch, record: RunRecord, *, index: str = AUDIT_INDEX) -> Audited:
    """Write the documents of a run; the index is made where there is none.

    Args:
        client: see `connect`.
        record: the run.
        index: index, alias or data stream.

    Returns:
        How many were written, and why not where they were not; nothing is raised.
    """
    documents = audit_documents(record)
    patient = client.options(request_timeout=TIMEOUT_S, max_retries=1)
    try:
        _prepare(patient, index, audit_properties(documents))
        written = _send(patient, index, documents)
    except XModalError as error:
        _log.info("the run %s is not recorded: %s", record.run, error)
        warning = f"this run is not recorded in {index}: {error}; ES_XMODAL_AUDIT=false leaves the record out"
        shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in warning)
        return Audited(index=index, documents=0, warning=shown)
    return Audited(index=index, documents=written)


def _prepare(client: Elasticsearch, index: str, properties: Mapping[str, Any]) -> None:
    """Let the index be there, be ours, and know every field."""
    found = find_indices(client, index)
    if not found:
        found = _create(client, index)
    missing: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    for physical, body in found.items():
        mappings = body.get("mappings") or {}
        has, meta = mappings.get("properties") or {}, mappings.get("_meta") or {}
        if AUDIT_KEY not in meta and set(has) - {"@timestamp"}:
            raise IndexStateError(
                f"{physical} holds something else", hint="name another one with --audit-index NAME"
            )
        _merge(missing, _missing(physical, has, properties))
    if missing:
        # Only what is missing: a later version of this package may have added more than is known here.
        ours = index_template("ingests")["mappings"]["_meta"]
        with cluster_errors(client, f"adding fields to {index}"):
            client.indices.put_mapping(index=index, properties=missing, meta={**meta, **ours})


def _create(client: Elasticsearch, index: str) -> dict[str, Any]:
    """Make the index; where another run made it first, or a template wants a data stream, take that."""
    body = index_template("ingests")
    with cluster_errors(client, f"creating {index}"):
        try:
            client.indices.create(index=index, settings=body["settings"], mappings=body["mappings"])
        except BadRequestError as error:
            if "data stream" in reason_of(error.body):
                client.indices.create_data_stream(name=index)
            elif "resource_already_exists_exception" not in reason_of(error.body):
                raise
    return find_indices(client, index)


def _missing(physical: str, has: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a mapping lacks, in the form that adds them.

    Raises:
        IndexStateError: a field is there with another type.
    """
    missing: dict[str, Any] = {}
    for name, one in wanted.items():
        there = has.get(name)
        if there is None:
            missing[name] = one
        elif "properties" in one:
            inner = _missing(f"{physical}: {name}", there.get("properties") or {}, one["properties"])
            missing |= {name: {"properties": inner}} if inner else {}
        elif there.get("type") != one["type"]:
            raise IndexStateError(
                f"{physical}: field {name} is {there.get('type', 'object')}, not {one['type']}",
                hint="name another index with --audit-index NAME",
            )
    return missing


def _merge(fields: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add fields of one index to those that another one lacks."""
    for name, one in more.items():
        if name in fields and "properties" in one:
            _merge(fields[name]["properties"], one["properties"])
        else:
            fields[name] = copy.deepcopy(one)


def _send(client: Elasticsearch, index: str, documents: Mapping[str, Mapping[str, Any]]) -> int:
    # `create` is the one write that a data stream takes; a conflict says that an earlier try got through.
    lines = [part for id_, one in documents.items() for part in ({"create": {"_id": id_}}, one)]
    with cluster_errors(client, f"writing to {index}"):
        # The server, too, would wait for an index that is blocked or not started, for a minute.
        answer = client.bulk(index=index, operations=lines, timeout=f"{TIMEOUT_S / 2:g}s").body
    refused = [one["create"] for one in answer["items"] if "error" in one["create"]]
    bad = next((one for one in refused if one["status"] != 409), None)
    if bad is not None:
        raise ClusterAnswerError(f"writing to {index}: {reason_of(bad)}")
    return len(documents)


def _rate(rows: int, seconds: float) -> float:
    return round(rows / seconds, 3) if seconds > 0 else 0.0


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
