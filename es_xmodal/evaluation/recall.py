"""What each kind of vector index finds and what its scores are worth, measured on a shop's own vectors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.cluster.capabilities import Capabilities, probe
from es_xmodal.cluster.client import Client
from es_xmodal.cluster.search import search
from es_xmodal.errors import ClusterAnswerError
from es_xmodal.evaluation.exact import FieldSample, Scores, exact_scores, recall
from es_xmodal.evaluation.recall_sample import Sample, documents, read_sample
from es_xmodal.index.body import IndexOptions
from es_xmodal.index.quantisation import KINDS, Choice, Facts, Measured, choose, kind_of, refusal
from es_xmodal.index.scratch import fill, scratch_index, settle
from es_xmodal.index.stored_vectors import count_vectors, facts_of
from es_xmodal.index.target import Target, load_target
from es_xmodal.ingest.document import WriteVector, as_base64, as_floats
from es_xmodal.query.legs import VectorLeg

SAMPLE = 5_000
WINDOW = 100
_WARM = 5
_TIMEOUT_S = 60.0
_OFF = {"oversample": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One field under one kind, with or without rescoring."""

    field: str
    asked: str
    rescored: bool
    recall_at_10: float
    recall_at_100: float
    max_error: float
    """Of `_score`, over all hits of all queries."""
    mean_error: float
    final_error: float
    """The largest error of the second request, which scores named products and makes the ranking."""
    median_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "field": self.field,
            "queries": self.asked,
            "rescored": self.rescored,
            "recall@10": round(self.recall_at_10, 4),
            "recall@100": round(self.recall_at_100, 4),
            "max_error": round(self.max_error, 7),
            "mean_error": round(self.mean_error, 7),
            "final_error": round(self.final_error, 7),
            "median_ms": round(self.median_ms, 2),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class KindReport:
    """Everything about one kind."""

    kind: str
    rows: tuple[Row, ...]
    disk_bytes: int
    build_s: float

    def summary(self) -> Measured:
        """Its worst field, rescored where that was possible."""
        used = [one for one in self.rows if one.rescored] or list(self.rows)
        return Measured(
            recall_at_10=min(one.recall_at_10 for one in used),
            max_error=max(one.final_error for one in used),
            median_ms=max(one.median_ms for one in used),
        )

    def to_json(self, memory_bytes: float) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "disk_bytes": self.disk_bytes,
            "build_s": round(self.build_s, 2),
            "memory_bytes": round(memory_bytes),
            "fields": [one.to_json() for one in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class RecallReport:
    """What was measured and what follows."""

    index: str
    products: int
    sampled: int
    held_out: int
    facts: Facts
    present: Mapping[str, str]
    """Field -> kind that the index has now."""
    kinds: tuple[KindReport, ...]
    left_out: Mapping[str, str]
    """Kind -> why it was not measured."""
    choice: Choice

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "index": self.index,
            "version": ".".join(map(str, self.facts.version)),
            "products": self.products,
            "sampled": self.sampled,
            "held_out": self.held_out,
            "vectors": {one.name: one.vectors for one in self.facts.fields},
            "present": dict(self.present),
            "kinds": {one.kind: one.to_json(self.facts.memory(one.kind)) for one in self.kinds},
            "left_out": dict(self.left_out),
            "choice": self.choice.to_json(),
        }


OnProgress = Callable[[str], None]


def measure_recall(
    client: Client,
    name: str,
    *,
    sample: int = SAMPLE,
    kinds: Sequence[str] = (),
    on_progress: OnProgress = lambda doing: None,
) -> RecallReport:
    """Index a sample of a shop's vectors under every kind, ask, and compare with the exact answer.

    The shop's own index is only read. The temporary indices are deleted, also on Ctrl-C.

    Args:
        client: see `es_xmodal.cluster.client.connect`.
        name: alias or index.
        sample: products to read at most; fewer where their vectors take more than `MOST_BYTES`.
        kinds: what to measure; empty: everything that the server takes.
        on_progress: called with what is being done.

    Returns:
        The report.

    Raises:
        SettingsError: a kind or the name is none.
        IndexStateError: the index is missing, foreign, or has too few vectors.
        ClusterError: the cluster cannot be reached, refuses, or has no room.
    """
    for one in kinds:
        kind_of(one)
    target = load_target(client, name)
    able = probe(client)
    products, counts = count_vectors(client, target)
    facts = facts_of(
        target, products=products, counts=counts, version=able.version, license=able.active_license
    )
    on_progress(f"reading vectors of {target.index}")
    drawn = read_sample(client, target, facts, most=sample)
    reports, left_out = _measure_all(client, target, drawn, facts, kinds=kinds, on_progress=on_progress)
    measured = {one.kind: one.summary() for one in reports}
    return RecallReport(
        index=target.index,
        products=products,
        sampled=drawn.size,
        held_out=drawn.held_out,
        facts=facts,
        present={field: str(options.get("type")) for field, options in target.index_options.items()},
        kinds=tuple(reports),
        left_out=left_out,
        choice=choose(facts, measured),
    )


def _measure_all(
    client: Client,
    target: Target,
    drawn: Sample,
    facts: Facts,
    *,
    kinds: Sequence[str],
    on_progress: OnProgress,
) -> tuple[list[KindReport], dict[str, str]]:
    exact = [exact_scores(one) for one in drawn.fields]
    reports, left_out = [], {}
    for name in kinds or KINDS:
        reason = refusal(name, facts)
        if reason and not kinds:
            left_out[name] = reason
            continue
        on_progress(f"measuring {name}")
        try:
            reports.append(_measure(client, name, target, drawn, exact))
        except ClusterAnswerError as error:
            if not reason:
                raise
            left_out[name] = f"{reason}: {error.message}"  # asked for by name: the server has the last word
    return reports, left_out


def _measure(
    client: Client,
    name: str,
    target: Target,
    drawn: Sample,
    exact: Sequence[tuple[Scores, NDArray[np.intp]]],
) -> KindReport:
    able = probe(client)
    write: WriteVector = as_base64 if able.base64_vectors else as_floats
    with scratch_index(client, _body(name, target, drawn)) as index:
        start = time.perf_counter()
        for chunk in documents(drawn, write):
            fill(client, index, chunk)
        size = settle(client, index)
        built = time.perf_counter() - start
        rows = [
            _ask(client, index, one, scores, columns, kind=name, rescored=rescored)
            for one, (scores, columns) in zip(drawn.fields, exact, strict=True)
            for rescored in _ways(name, able)
        ]
    return KindReport(kind=name, rows=tuple(rows), disk_bytes=size, build_s=built)


def _ways(name: str, able: Capabilities) -> tuple[bool, ...]:
    return (False, True) if KINDS[name].quantised and able.rescore_vector else (False,)


def _body(name: str, target: Target, drawn: Sample) -> dict[str, Any]:
    """The shop's vector fields under another kind, and nothing else; one shard, no replica."""
    options = IndexOptions(vector_index=name).index_options()
    properties: dict[str, Any] = {}
    for field in dict.fromkeys(one.field for one in drawn.fields):
        place, _, inner = field.rpartition(".")
        holder = properties
        if place:
            holder = properties.setdefault(place, {"type": "nested", "properties": {}})["properties"]
        holder[inner] = {**target.vectors[field], "index_options": options}
    return {
        "settings": {"index": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}},
        "mappings": {"dynamic": "strict", "_source": {"enabled": False}, "properties": properties},
    }


def _ask(
    client: Client,
    index: str,
    sample: FieldSample,
    scores: Scores,
    columns: NDArray[np.intp],
    *,
    kind: str,
    rescored: bool,
) -> Row:
    column_of = {int(product): column for column, product in enumerate(columns)}
    able = probe(client)
    legs = [_leg(sample.field, query, kind=kind, rescored=rescored) for query in sample.queries]
    off = not rescored and _rescores_by_default(kind, able)
    bodies = [_request(leg, off=off) for leg in legs]
    for body in bodies[:_WARM]:
        search(client, index, body, timeout_s=_TIMEOUT_S)
    tens, hundreds, errors, finals, times = [], [], [], [], []
    for leg, body, exact in zip(legs, bodies, scores, strict=True):
        start = time.perf_counter()
        hits = search(client, index, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]
        times.append(1000 * (time.perf_counter() - start))
        found = [column_of[int(hit["_id"])] for hit in hits]
        final = _final_scores(client, index, leg, [hit["_id"] for hit in hits], off=off)
        # A product that the request leaves without a score is off by all of it.
        finals += [abs(final.get(hit["_id"], 0.0) - exact[at]) for hit, at in zip(hits, found, strict=True)]
        tens.append(recall(exact, found, 10))
        hundreds.append(recall(exact, found, WINDOW))
        errors += [abs(hit["_score"] - exact[column]) for hit, column in zip(hits, found, strict=True)]
    return Row(
        field=sample.field,
        asked=sample.asked,
        rescored=rescored,
        recall_at_10=statistics.fmean(tens),
        recall_at_100=statistics.fmean(hundreds),
        max_error=float(max(errors, default=0.0)),
        mean_error=float(np.mean(errors)) if errors else 0.0,
        final_error=float(max(finals, default=0.0)),
        median_ms=statistics.median(times),
    )


def _final_scores(
    client: Client, index: str, leg: VectorLeg, ids: Sequence[str], *, off: bool
) -> dict[str, float]:
    """Score the found products as the second request of a search does."""
    query = leg.score(1.0, {"ids": {"values": list(ids)}}, len(ids))
    if "nested" in query:
        query["nested"].pop("inner_hits")  # the temporary index keeps no `ref` to show
    if off:
        (query["nested"]["query"] if "nested" in query else query)["knn"]["rescore_vector"] = _OFF
    body = {"query": query, "size": len(ids), "_source": False, "track_total_hits": False}
    hits = search(client, index, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]
    return {hit["_id"]: hit["_score"] for hit in hits}


def _rescores_by_default(kind: str, able: Capabilities) -> bool:
    """Since 8.19 and 9.1 a bbq mapping rescores by itself, and an oversample of 0 turns that off."""
    since = able.version >= (9, 1, 0) or (8, 19, 0) <= able.version < (9, 0, 0)
    return KINDS[kind].precision == "bbq" and since


def _leg(field: str, query: NDArray[np.float32], *, kind: str, rescored: bool) -> VectorLeg:
    return VectorLeg(
        name="image",
        path=field,
        weight=1.0,
        vector=query,
        quantised=rescored,
        oversample=KINDS[kind].oversample or 2.0,
    )


def _request(leg: VectorLeg, *, off: bool) -> dict[str, Any]:
    body = leg.retrieve(WINDOW, [])
    if off:
        body["knn"]["rescore_vector"] = _OFF
    return {**body, "_source": False, "track_total_hits": False}
