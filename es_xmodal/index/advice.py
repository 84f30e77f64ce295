"""Everything that `es-xmodal doctor` can find, how bad it is, what it costs, and what to do about it.

docs/doctor.md shows this table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["ok", "note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("ok", "note", "warning", "error")
OK = "ok"
"""The code of everything that was looked at and is as it should be."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One kind of finding."""

    severity: Severity
    costs: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """One thing that was looked at."""

    code: str
    """A key of `ADVICE`, or `ok`."""
    severity: Severity
    about: str
    """What was looked at: an index, a field, a part of the cluster."""
    detail: str
    costs: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "about": self.about,
            "detail": self.detail,
            "costs": self.costs,
            "fix": self.fix,
        }


def found(code: str, about: str, detail: str) -> Diagnosis:
    """Return a finding of a kind.

    Args:
        code: a key of `ADVICE`.
        about: what was looked at.
        detail: what is there.

    Returns:
        The finding with its severity and its fix.
    """
    advice = ADVICE[code]
    return Diagnosis(
        code=code,
        severity=advice.severity,
        about=about,
        detail=detail,
        costs=advice.costs,
        fix=advice.fix,
    )


def good(about: str, detail: str) -> Diagnosis:
    """Return that something is as it should be."""
    return Diagnosis(code=OK, severity="ok", about=about, detail=detail)


def worst(findings: list[Diagnosis]) -> Severity:
    """Return the worst severity; `ok` where nothing was found."""
    return max((one.severity for one in findings), key=SEVERITIES.index, default="ok")


CLUSTER_ADVICE: Mapping[str, Advice] = {
    "not-asked": Advice(
        "note",
        "this part was not looked at",
        "run doctor with the cluster privilege `monitor` and the index privileges `monitor` and "
        "`view_index_metadata`",
    ),
    "no-retrievers": Advice(
        "note",
        "the server's own `rrf` and `linear` cannot be used: `rrf` and `convex` of this package rank "
        "instead of `server-rrf` (the same order) and `server-linear`, with a warning",
        "nothing to do; the server's own need a trial or Enterprise licence",
    ),
    "no-scripts": Advice(
        "note",
        "a `--lexical-query` with `script_score` or another script is refused; this package sends none",
        "nothing to do, or allow inline Painless scripts (`script.allowed_types`)",
    ),
    "few-analyzers": Advice(
        "note",
        "fields of the shop that name these analyzers cannot be made here; the token fields of this package "
        "need `whitespace` and `standard` only",
        "nothing to do; a full distribution of Elasticsearch has them",
    ),
    "no-base64": Advice(
        "note",
        "ingest sends vectors as lists of numbers, about four times the bytes",
        "upgrade to Elasticsearch 9.3 or later",
    ),
    "no-rescore": Advice(
        "note",
        "quantised vectors cannot be scored exactly, so only `hnsw` and `flat` rank as they should",
        "keep `vector_index` at `hnsw`, or upgrade to Elasticsearch 8.18 or later",
    ),
    "one-node": Advice(
        "note",
        "no replica can be kept: when the node is lost, the search is gone until the next ingest",
        "add a second data node; indices of this package then get a replica by themselves",
    ),
    "disk-low": Advice(
        "warning",
        "above the low watermark: no new index or replica is put on this node, so an ingest may not start",
        "delete old versions (`es-xmodal index list`, `index drop`), or add disk",
    ),
    "disk-high": Advice(
        "error",
        "above the high watermark: shards move away; at the flood stage every index here turns read-only",
        "free disk now: `es-xmodal index drop` old versions, then other data; the block goes by itself",
    ),
}

STATE_ADVICE: Mapping[str, Advice] = {
    "alias-several": Advice(
        "error",
        "every product is found as often as there are indices, and searches are refused",
        "point the alias at one index: `es-xmodal index swap VERSION`",
    ),
    "unreadable": Advice(
        "error",
        "the index does not say what is in it, so it is not searched",
        "upgrade es_xmodal, or build it anew: `es-xmodal ingest CATALOG --rebuild`",
    ),
    "unfinished": Advice(
        "error",
        "the index is still being built; hits are missing",
        "wait for the ingest that builds it, or run it again",
    ),
    "half-built": Advice(
        "warning",
        "versions that an ingest left behind take disk, and no one will finish them",
        "run the same ingest again, or delete them: `es-xmodal index drop VERSION`",
    ),
    "held-back": Advice(
        "error",
        "nobody can write: a process that swapped versions died and left a write block behind",
        "run `es-xmodal index check` with credentials that may change the index's settings",
    ),
    "encoder-missing": Advice(
        "error",
        "the encoder of the vectors cannot be loaded here: no search by picture, none by meaning",
        "install the encoder that the index names, or `es-xmodal ingest CATALOG --rebuild` with another one",
    ),
    "encoder-mismatch": Advice(
        "error",
        "the index holds vectors of another encoder; searches are refused",
        "use the encoder of the index, or build it anew: `es-xmodal ingest CATALOG --rebuild`",
    ),
    "tokeniser-mismatch": Advice(
        "error",
        "the index holds tokens of another tokeniser or dictionary; searches are refused",
        "use the same `user_dictionary` and version, or `es-xmodal ingest CATALOG --rebuild`",
    ),
    "not-calibrated": Advice(
        "warning",
        "scores of this leg are compared with those of the others without knowing what chance alone gives",
        "`es-xmodal ingest CATALOG --rebuild`, with two products or more whose titles differ",
    ),
    "not-counted": Advice(
        "error",
        "what is in the index could not be looked at",
        "see the health of the index, then run doctor again",
    ),
    "empty": Advice("error", "there is nothing to find", "`es-xmodal ingest CATALOG`"),
    "no-text-vectors": Advice(
        "warning",
        "these products are found by their words only, never by meaning",
        "give them a title, then run `es-xmodal ingest CATALOG` again; see the rejects of the last run",
    ),
    "no-pictures": Advice(
        "note",
        "these products are not found by a photo",
        "give them pictures, then run `es-xmodal ingest CATALOG` again; see the rejects of the last run",
    ),
    "foreign": Advice(
        "note",
        "the index was not made by es_xmodal: it cannot be searched by it as it is",
        "`es-xmodal enrich INDEX` adds what it lacks in place; or ingest the shop's catalogue beside it",
    ),
    "fields": Advice(
        "note",
        "fields that look like parts of a product, by name and type",
        "name the fields that are called otherwise: `es-xmodal enrich INDEX --map title=FIELD`",
    ),
}

BODY_ADVICE: Mapping[str, Advice] = {
    "implicit-options": Advice(
        "warning",
        "the server chooses `index_options` by version, dimension and licence: int8 today, bbq tomorrow",
        'write `index_options` in the mapping, such as `{"type": "hnsw"}`, and index anew',
    ),
    "vector-index": Advice(
        "note",
        "the rule for the kind of vector index (docs/quantisation.md) would choose another one for this "
        "index as it is now",
        "`es-xmodal bench recall` measures both; `es-xmodal ingest CATALOG --rebuild --vector-index auto`",
    ),
    "quantised": Advice(
        "note",
        "scores are approximate until they are rescored, which every search here asks for; of several "
        "pictures of a product the best may still be lost",
        'nothing to do, or `vector_index = "hnsw"` and `es-xmodal ingest CATALOG --rebuild`',
    ),
    "quantised-unrescored": Advice(
        "warning",
        "int8, int4 or bbq vectors (the server's default where the mapping named none), not rescored: scores "
        "are approximate and good hits are lost",
        'search with `rescore_vector: {"oversample": 2}` (8.18 and later), or index anew with `hnsw`',
    ),
    "source-lacks-vectors": Advice(
        "error",
        "the vector is left out of `_source`: every update and reindex of a document loses it in silence",
        "take `_source.excludes` out of the mapping and index anew; 9.2 and later hide vectors by themselves",
    ),
    "no-source": Advice(
        "error",
        "`_source` is off: no title can be shown, nothing can be updated",
        "index anew with `_source` on",
    ),
    "vector-not-indexed": Advice(
        "error",
        "`index: false`: a knn clause on this field is refused",
        "map it with `index: true` and `index_options`, and index anew",
    ),
    "vector-missing": Advice(
        "warning",
        "the encoder makes vectors that the index has no field for, so this leg is left out of every search",
        "`es-xmodal ingest CATALOG --rebuild`",
    ),
    "dims-mismatch": Advice(
        "error",
        "the encoder's vectors do not fit the field; searches on it fail",
        "use the encoder of the index, or `es-xmodal ingest CATALOG --rebuild`",
    ),
    "similarity-mismatch": Advice(
        "error",
        "scores of this field do not mean what calibration and cut-off take them for",
        "`es-xmodal ingest CATALOG --rebuild`",
    ),
    "shards": Advice(
        "note",
        "searches ask all shards for their word counts first (`dfs_query_then_fetch`), so that BM25 is one",
        "nothing to do; up to some ten million products one shard is faster (`--rebuild`)",
    ),
    "shards-bm25": Advice(
        "warning",
        "each shard counts words by itself, so the same product scores differently from shard to shard",
        "search with `search_type=dfs_query_then_fetch`, or use one shard",
    ),
    "health-yellow": Advice(
        "warning",
        "a replica has no node: when a node is lost, so is the search",
        "add a node, or lower `index.number_of_replicas`; `GET _cluster/allocation/explain` says why",
    ),
    "health-red": Advice(
        "error",
        "a part of the products is not there; searches are refused rather than answered in part",
        "bring the lost node back or restore a snapshot; `GET _cluster/allocation/explain` says why",
    ),
    "no-replicas": Advice(
        "warning",
        "there are several data nodes and no replica: when one node is lost, so is the search",
        "set `index.auto_expand_replicas` to `0-1`, or `index.number_of_replicas` to 1",
    ),
    "result-window": Advice(
        "warning",
        "`index.max_result_window` is below the candidate window: searches fail or pages end early",
        "raise `index.max_result_window` (10000 is the default), or lower `ES_XMODAL_WINDOW`",
    ),
    "refresh-off": Advice(
        "warning",
        "`index.refresh_interval` is -1 on a finished index: new and changed products are not found",
        "set `index.refresh_interval` to null; an ingest does that when it ends well",
    ),
    "blocked": Advice(
        "error",
        "the index is blocked: it cannot be written, perhaps not read",
        "free disk if it was the flood stage, then set the block to null in the index settings",
    ),
    "deleted-docs": Advice(
        "note",
        "replaced documents still lie in the index and slow searches down",
        "`POST INDEX/_forcemerge?only_expunge_deletes=true` in a quiet hour, or ingest with `--rebuild`",
    ),
    "segments": Advice(
        "note",
        "every vector search goes through the graph of every segment",
        "`POST INDEX/_forcemerge?max_num_segments=1` in a quiet hour, where the index is no longer written",
    ),
}

ADVICE: Mapping[str, Advice] = {**CLUSTER_ADVICE, **STATE_ADVICE, **BODY_ADVICE}
