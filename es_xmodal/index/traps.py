"""What can be wrong with an index, read from its body, its health and its statistics. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from es_xmodal.cluster.capabilities import Capabilities
from es_xmodal.encoders.base import EncoderInfo
from es_xmodal.index.advice import Diagnosis, found, good
from es_xmodal.index.combining import vector_fields
from es_xmodal.index.fused import spaces_of
from es_xmodal.index.meta import IndexMeta
from es_xmodal.index.quantisation import Choice, Facts, FieldFacts, choose
from es_xmodal.query.legs import fields_of

DELETED_SHARE = 0.33
"""Lucene merges by itself from about here on; above it, it could not keep up."""
DELETED_LEAST = 1000
SEGMENTS_PER_SHARD = 30
DEFAULT_RESULT_WINDOW = 10_000
_QUANTISED = ("int8", "int4", "bbq")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFacts:
    """What is known about one index."""

    index: str
    body: Mapping[str, Any]
    """Its aliases, mappings and settings, as `GET INDEX` answers them."""
    capabilities: Capabilities
    meta: IndexMeta | None = None
    """None: not made by this project."""
    encoder: EncoderInfo | None = None
    """The encoder that searches would use; None: not known."""
    health: Mapping[str, Any] = field(default_factory=dict)
    """`GET _cluster/health/INDEX`; empty: not known."""
    stats: Mapping[str, Any] = field(default_factory=dict)
    """`_all.primaries` of `GET INDEX/_stats`; empty: not known."""
    unused: frozenset[str] = frozenset()
    """Vector fields that no document has."""
    window: int = 100
    """Candidates a leg."""
    documents: int | None = None
    """Products in it; None: not known."""

    @property
    def mappings(self) -> Mapping[str, Any]:
        """The mappings; empty where there are none."""
        return self.body.get("mappings") or {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings below `index`."""
        return (self.body.get("settings") or {}).get("index") or {}

    @property
    def shards(self) -> int:
        """Number of primary shards."""
        return int(self.settings.get("number_of_shards", 1))

    def vectors(self) -> dict[str, Mapping[str, Any]]:
        """Dotted name -> mapping of every `dense_vector` field."""
        return {
            name: one
            for name, one in walk(self.mappings.get("properties") or {})
            if one.get("type") == "dense_vector"
        }

    def parts(self) -> dict[str, Mapping[str, Any]]:
        """The same for the fields of this project, named as in an index of our own."""
        start = len(self.meta.names.prefix) if self.meta else 0
        prefix = self.meta.names.prefix if self.meta else ""
        return {name[start:]: one for name, one in self.vectors().items() if name.startswith(prefix)}


def walk(properties: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every field of a mapping, those below objects and multi-fields included.

    Args:
        properties: `properties` of a mapping.
        prefix: the dotted name that they stand below, with its dot.

    Yields:
        Dotted name and mapping of one field.
    """
    for name, one in properties.items():
        yield f"{prefix}{name}", one
        yield from walk(one.get("properties") or {}, f"{prefix}{name}.")
        yield from walk(one.get("fields") or {}, f"{prefix}{name}.")


def look(facts: IndexFacts) -> list[Diagnosis]:
    """Look for every trap.

    Args:
        facts: what is known about the index.

    Returns:
        What was found, and for each part without a finding that it is as it should be.
    """
    findings: list[Diagnosis] = []
    for about, (trap, praise) in _TRAPS.items():
        bad = list(trap(facts))
        fine = praise(facts)
        findings += bad or ([good(about, fine)] if fine else [])
    return findings


def _vector_fields(facts: IndexFacts) -> Iterator[Diagnosis]:
    rescored = facts.meta is not None and facts.capabilities.rescore_vector
    for name, one in facts.vectors().items():
        options = one.get("index_options") or {}
        kind = str(options.get("type", ""))
        if not one.get("index", True):
            yield found("vector-not-indexed", name, "index: false")
        elif not kind:
            yield found("implicit-options", name, "no index_options")
        elif kind.startswith(_QUANTISED):
            by_mapping = float((options.get("rescore_vector") or {}).get("oversample", 0)) > 0
            code = "quantised" if rescored or by_mapping else "quantised-unrescored"
            yield found(code, name, f"index_options.type {kind}")


def _vector_index(facts: IndexFacts) -> Iterator[Diagnosis]:
    """Of this project's own indices: would the rule choose the same now?"""
    choice = _rule(facts)
    if choice is None:
        return
    kinds = {str((one.get("index_options") or {}).get("type", "")) for one in facts.vectors().values()}
    # A graph where comparing all would do is exact too, and no slower: that is no finding.
    fine = {choice.type, "hnsw"} if choice.type == "flat" else {choice.type}
    for kind in sorted(kinds - fine):
        yield found("vector-index", facts.index, f"{kind}; by the rule {choice.type}: {choice.reason}")


def _rule(facts: IndexFacts) -> Choice | None:
    if facts.meta is None or not facts.documents or not facts.parts():
        return None
    lucene = int((facts.stats.get("docs") or {}).get("count", facts.documents))
    pictures = max(lucene - facts.documents, 0)  # Lucene counts each nested picture as a document
    fields = tuple(
        FieldFacts(
            name=name,
            dims=int(one.get("dims", 1)),
            vectors=pictures if "." in name else facts.documents,
            nested="." in name,
        )
        for name, one in facts.parts().items()
        if name not in facts.unused
    )
    able = facts.capabilities
    several = pictures > facts.documents and any(one.nested for one in fields)
    return choose(
        Facts(fields=fields, version=able.version, license=able.active_license, several_pictures=several)
    )


def _rule_followed(facts: IndexFacts) -> str:
    choice = _rule(facts)
    return f"by the rule {choice.type}: {choice.reason}" if choice else ""


def _source(facts: IndexFacts) -> Iterator[Diagnosis]:
    source = facts.mappings.get("_source") or {}
    mode = source.get("mode") or ((facts.settings.get("mapping") or {}).get("source") or {}).get("mode")
    if source.get("enabled", True) in (False, "false") or mode == "disabled":
        yield found("no-source", facts.index, "_source is off")
        return
    includes, excludes = _patterns(source.get("includes")), _patterns(source.get("excludes"))
    for name in facts.vectors():
        hit = next((one for one in excludes if _covers(one, name)), None)
        if hit is not None:
            yield found("source-lacks-vectors", name, f"_source.excludes {hit}")
        elif includes and not any(_covers(one, name) for one in includes):
            yield found("source-lacks-vectors", name, f"_source.includes {', '.join(includes)}")


def _patterns(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _covers(pattern: str, name: str) -> bool:
    """A pattern covers what it names and all below that."""
    pieces = name.split(".")
    return any(fnmatchcase(".".join(pieces[: n + 1]), pattern) for n in range(len(pieces)))


def _vectors_and_encoder(facts: IndexFacts) -> Iterator[Diagnosis]:
    """Of this project's own fields: do the encoder's vectors fit them?"""
    if facts.meta is None:
        return
    there = facts.parts()
    for name, (dims, similarity) in _wanted(facts.meta, facts.encoder).items():
        one = there.get(name)
        if one is None:
            yield found("vector-missing", name, "no such field")
            continue
        if int(one.get("dims", dims)) != dims:
            yield found("dims-mismatch", name, f"{one['dims']} in the index, {dims} from the encoder")
        if one.get("similarity", "cosine") != similarity:
            yield found(
                "similarity-mismatch", name, f"{one.get('similarity')} in the index, not {similarity}"
            )


def _wanted(meta: IndexMeta, encoder: EncoderInfo | None) -> dict[str, tuple[int, str]]:
    """Vector field -> dimension and similarity that the encoder in use, else the one that built it, makes."""
    spaces = spaces_of(meta) if encoder is None else encoder.spaces
    text_space = meta.encoder.text_space if encoder is None else encoder.text_space
    fields = vector_fields(meta.combining, spaces, text_space)
    return {one.path: (one.dim, one.similarity) for one in fields.values()}


def _calibration(facts: IndexFacts) -> Iterator[Diagnosis]:
    if facts.meta is None or facts.meta.state != "complete":
        return
    used = facts.parts().keys() - facts.unused
    for leg, name in fields_of(facts.parts()).items():
        if name in used and leg not in facts.meta.calibration:
            yield found("not-calibrated", f"leg {leg}", f"no floor and spread for {name}")


def _shards(facts: IndexFacts) -> Iterator[Diagnosis]:
    if facts.shards > 1:
        yield found("shards-bm25" if facts.meta is None else "shards", facts.index, f"{facts.shards} shards")


def _health(facts: IndexFacts) -> Iterator[Diagnosis]:
    status = facts.health.get("status")
    if status in ("yellow", "red"):
        yield found(
            f"health-{status}",
            facts.index,
            f"{facts.health.get('unassigned_shards', 0)} shards have no node",
        )
    nodes = facts.capabilities.data_nodes or 1
    if nodes > 1 and int(facts.settings.get("number_of_replicas", 1)) == 0:
        yield found("no-replicas", facts.index, f"0 replicas, {nodes} data nodes")


def _result_window(facts: IndexFacts) -> Iterator[Diagnosis]:
    reach = int(facts.settings.get("max_result_window", DEFAULT_RESULT_WINDOW))
    if reach < facts.window:
        yield found("result-window", facts.index, f"max_result_window {reach}, window {facts.window}")


def _refresh(facts: IndexFacts) -> Iterator[Diagnosis]:
    finished = facts.meta is None or facts.meta.state == "complete"
    if finished and str(facts.settings.get("refresh_interval", "")).startswith("-1"):
        yield found("refresh-off", facts.index, "refresh_interval -1")


def _blocks(facts: IndexFacts) -> Iterator[Diagnosis]:
    blocks = facts.settings.get("blocks") or {}
    closed = [name for name, value in blocks.items() if str(value).lower() == "true"]
    if closed:
        yield found("blocked", facts.index, ", ".join(f"index.blocks.{name}" for name in sorted(closed)))


def _segments(facts: IndexFacts) -> Iterator[Diagnosis]:
    docs = facts.stats.get("docs") or {}
    there, deleted = int(docs.get("count", 0)), int(docs.get("deleted", 0))
    if deleted >= DELETED_LEAST and deleted / (there + deleted) > DELETED_SHARE:
        share = f"{100 * deleted / (there + deleted):.0f} %"
        yield found("deleted-docs", facts.index, f"{deleted} of {there + deleted} documents ({share})")
    segments = int((facts.stats.get("segments") or {}).get("count", 0))
    if segments > SEGMENTS_PER_SHARD * facts.shards:
        yield found("segments", facts.index, f"{segments} segments in {facts.shards} shards")


def _kinds(facts: IndexFacts) -> str:
    kinds = {name: (one.get("index_options") or {}).get("type") for name, one in facts.vectors().items()}
    return ", ".join(f"{name} {kind}" for name, kind in kinds.items())


def _ours_with_vectors(facts: IndexFacts) -> bool:
    return facts.meta is not None and bool(facts.vectors())


def _replicas(facts: IndexFacts) -> str:
    if not facts.health:
        return ""
    return f"{facts.health.get('status')}, {facts.settings.get('number_of_replicas', 1)} replicas"


def _merged(facts: IndexFacts) -> str:
    docs, segments = facts.stats.get("docs") or {}, facts.stats.get("segments") or {}
    return f"{segments.get('count', 0)} segments, {docs.get('deleted', 0)} deleted" if facts.stats else ""


_Trap = Callable[[IndexFacts], Iterator[Diagnosis]]
_Praise = Callable[[IndexFacts], str]
"""What to say where a trap found nothing; empty where there was nothing to look at."""
_TRAPS: Mapping[str, tuple[_Trap, _Praise]] = {
    "vector fields": (_vector_fields, _kinds),
    "vector index": (_vector_index, _rule_followed),
    "vectors and encoder": (
        _vectors_and_encoder,
        lambda facts: "dimensions and similarity fit" if _ours_with_vectors(facts) else "",
    ),
    "calibration": (
        _calibration,
        lambda facts: ", ".join(facts.meta.calibration) if facts.meta is not None else "",
    ),
    "source": (_source, lambda facts: "keeps the vectors" if facts.vectors() else ""),
    "shards": (_shards, lambda facts: str(facts.shards)),
    "health": (_health, _replicas),
    "result window": (
        _result_window,
        lambda facts: str(facts.settings.get("max_result_window", DEFAULT_RESULT_WINDOW)),
    ),
    "refresh": (_refresh, lambda facts: str(facts.settings.get("refresh_interval", "the server's own"))),
    "blocks": (_blocks, lambda facts: "none"),
    "segments": (_segments, _merged),
}
