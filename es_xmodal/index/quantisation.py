"""Which kind of vector index, and why: one written rule. Pure; docs/quantisation.md shows it as a table.

A kind is a precision and a structure: `int8_hnsw` keeps one byte a dimension in memory and walks a graph,
`flat` keeps floats and compares every vector. Quantised kinds keep the floats on disk, to score the best
candidates again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from es_xmodal.errors import SettingsError

Version = tuple[int, int, int]

AUTO = "auto"
GIB = 2**30
EXACT_VECTORS = 10_000
"""Up to so many vectors in the largest field, comparing all of them is as fast as a graph, and exact."""
MEMORY_BYTES = 4 * GIB
"""Memory outside the heap that the vectors of one index may take before precision is given up for it."""
LEAST_DIMS_BBQ = 384
"""Below so many dimensions one bit a dimension keeps too little; Elasticsearch's default starts here."""
LEAST_RECALL = 0.98
"""A kind that finds less than this of the exact ten best products, after rescoring, is not chosen."""
MOST_ERROR = 1e-3
"""A kind whose final scores are off by more than this, a fiftieth of a leg's usual spread, is not chosen."""
RESCORING: Version = (8, 18, 0)
"""The first server that scores the best candidates again with the floats on request."""
NESTED_RESCORING: Version = (9, 0, 0)
"""The first server line whose int8 gets the best of several pictures nearly right, to .001 of `_score`."""
FREE = frozenset({"trial", "enterprise"})
"""Licences under which Elasticsearch writes `bbq_disk`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One value of `index_options.type`."""

    name: str
    precision: str
    """`float`, `int8`, `int4` or `bbq`."""
    structure: str
    """`hnsw`, `flat` or `disk`."""
    since: Version = (8, 15, 0)
    least_dims: int = 1
    even_dims: bool = False
    licensed: bool = False
    """Needs an Enterprise or a trial licence (enforced from 9.3 on, when documents are written)."""
    oversample: float | None = None
    """So many times `k` candidates are scored again with the floats; None: scores are exact already."""

    @property
    def quantised(self) -> bool:
        """Whether scores are approximate until they are rescored."""
        return self.oversample is not None

    def bytes_a_vector(self, dims: int, m: int = 16) -> float:
        """Estimate the memory that one vector takes for a search to stay fast.

        Args:
            dims: dimensions of the vector.
            m: links of the graph.

        Returns:
            Bytes outside the heap. Sizes and corrections are those of Elastic's page "Tune approximate kNN
            search"; level 0 of a graph has 2 m links of 4 bytes.
        """
        codes = {"float": 4.0 * dims, "int8": dims + 16.0, "int4": dims / 2 + 16.0, "bbq": dims / 8 + 14.0}
        if self.structure == "disk":  # centroids, one for 384 vectors, and a tenth of the codes
            return 4.0 * dims / 384 + codes[self.precision] / 10
        return codes[self.precision] + (8.0 * m if self.structure == "hnsw" else 0.0)


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        Kind(name="hnsw", precision="float", structure="hnsw"),
        Kind(name="flat", precision="float", structure="flat"),
        Kind(name="int8_hnsw", precision="int8", structure="hnsw", oversample=2.0),
        Kind(name="int8_flat", precision="int8", structure="flat", oversample=2.0),
        Kind(name="int4_hnsw", precision="int4", structure="hnsw", even_dims=True, oversample=2.0),
        Kind(name="int4_flat", precision="int4", structure="flat", even_dims=True, oversample=2.0),
        Kind(
            name="bbq_hnsw",
            precision="bbq",
            structure="hnsw",
            since=(8, 16, 0),
            least_dims=64,
            oversample=3.0,
        ),
        Kind(
            name="bbq_flat",
            precision="bbq",
            structure="flat",
            since=(8, 16, 0),
            least_dims=64,
            oversample=3.0,
        ),
        Kind(
            name="bbq_disk",
            precision="bbq",
            structure="disk",
            since=(9, 2, 0),
            least_dims=64,
            licensed=True,
            oversample=3.0,
        ),
    )
}
LADDER = ("int8_hnsw", "int4_hnsw", "bbq_hnsw", "bbq_disk")
"""What is tried when floats do not fit, the most precise first."""
NESTED_LADDER = ("int8_hnsw",)
"""The same where a product may have several pictures: coarser codes mistake one picture for another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldFacts:
    """One field of vectors."""

    name: str
    dims: int
    vectors: int | None
    """How many there are, or will be; None: not known."""
    nested: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All that the rule looks at."""

    fields: tuple[FieldFacts, ...]
    version: Version
    license: str | None = None
    """Type of an active licence; None: none, or not known."""
    several_pictures: bool = False
    """Whether a product may have more than one vector in a nested field."""
    m: int = 16

    @property
    def most_vectors(self) -> int | None:
        """Vectors in the largest field; None: not known."""
        counts = [one.vectors for one in self.fields if one.vectors is not None]
        return max(counts) if len(counts) == len(self.fields) and counts else None

    def memory(self, kind: str) -> float:
        """Bytes that all fields take in memory, unknown numbers counted as 0."""
        return sum((one.vectors or 0) * KINDS[kind].bytes_a_vector(one.dims, self.m) for one in self.fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured of one kind: its worst field, after rescoring where the server can."""

    recall_at_10: float
    max_error: float
    median_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A kind, and why."""

    type: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return both as JSON values."""
        return {"type": self.type, "reason": self.reason}


def kind_of(name: str) -> Kind:
    """Return the kind of that name.

    Args:
        name: a key of `KINDS`.

    Raises:
        SettingsError: there is none.
    """
    if name not in KINDS:
        raise SettingsError(f"vector_index: {name!r} is none", hint=f"one of {', '.join([AUTO, *KINDS])}")
    return KINDS[name]


def refusal(name: str, facts: Facts) -> str | None:
    """Say why a server would not take a kind for these fields.

    Args:
        name: a key of `KINDS`.
        facts: version, licence, fields.

    Returns:
        The reason, to stand after the name of the kind; None where it takes it.
    """
    kind = kind_of(name)
    if facts.version < kind.since:
        return f"needs Elasticsearch {_dotted(kind.since)}, this is {_dotted(facts.version)}"
    if kind.licensed and facts.license not in FREE:
        return "needs an Enterprise licence"
    for field in facts.fields:
        if field.dims < kind.least_dims:
            return f"needs {kind.least_dims} dimensions, {field.name} has {field.dims}"
        if kind.even_dims and field.dims % 2:
            return f"needs an even number of dimensions, {field.name} has {field.dims}"
    return None


def price(name: str, facts: Facts) -> str | None:
    """Say what a kind costs in exactness on this server.

    Args:
        name: a key of `KINDS`.
        facts: version, pictures.

    Returns:
        The price in words; None where scores are exact.
    """
    kind = kind_of(name)
    if not kind.quantised:
        return None
    if facts.version < RESCORING:
        return f"before Elasticsearch {_dotted(RESCORING)} its scores stay approximate"
    if facts.several_pictures:
        return "the best of a product's pictures may be lost before rescoring"
    return None


def choose(facts: Facts, measured: Mapping[str, Measured] | None = None) -> Choice:
    """Choose the kind of vector index.

    The rows of the rule, the first that holds:

    1. the number of vectors is not known: `hnsw`;
    2. at most `EXACT_VECTORS` in the largest field: `flat`;
    3. floats and graph of all fields fit `MEMORY_BYTES`: `hnsw`;
    4. the server cannot rescore (before 8.18): `hnsw`, and the memory that it takes;
    5. products have several pictures and the server is 8.x: `hnsw`, and the memory that it takes;
    6. the first of `LADDER` (of `NESTED_LADDER` where products have several pictures) that the server takes,
       that is precise enough and that fits `MEMORY_BYTES`; where none fits, the smallest of them. `bbq` is
       passed over below `LEAST_DIMS_BBQ` dimensions.

    Args:
        facts: numbers, dimensions, version, licence, pictures.
        measured: kind -> what was measured of it on the shop's own vectors; a kind that is not exact enough
            (`LEAST_RECALL`, `MOST_ERROR`) is passed over.

    Returns:
        The kind and the reason in one sentence.
    """
    known = measured or {}
    most = facts.most_vectors
    if most is None:
        return Choice(type="hnsw", reason="how many vectors there will be is not known: exact, at any size")
    if most <= EXACT_VECTORS:
        return Choice(
            type="flat",
            reason=f"{most:,} vectors in the largest field: up to {EXACT_VECTORS:,} comparing all of them is "
            "exact and about as fast as a graph",
        )
    floats = facts.memory("hnsw")
    if floats <= MEMORY_BYTES:
        return Choice(
            type="hnsw",
            reason=f"exact scores; floats and graph of {most:,} vectors a field take "
            f"{_gib(floats)}, within {_gib(MEMORY_BYTES)}",
        )
    cost = price("int8_hnsw", facts)
    if cost is not None and facts.version < NESTED_RESCORING:
        return Choice(
            type="hnsw",
            reason=f"exact scores at the price of {_gib(floats)} of memory: int8_hnsw would take "
            f"{_gib(facts.memory('int8_hnsw'))}, but {cost}",
        )
    return _from_ladder(facts, known, floats)


def _from_ladder(facts: Facts, measured: Mapping[str, Measured], floats: float) -> Choice:
    """Row 6."""
    ladder = NESTED_LADDER if facts.several_pictures else LADDER
    possible = [name for name in ladder if _is_able(name, facts) and _is_exact(measured.get(name))]
    if not possible:
        return Choice(
            type="hnsw",
            reason=f"no smaller kind was measured as exact enough; floats take {_gib(floats)}",
        )
    fitting = next((name for name in possible if facts.memory(name) <= MEMORY_BYTES), None)
    name = fitting or min(possible, key=facts.memory)
    cost = price(name, facts)
    fits = f"within {_gib(MEMORY_BYTES)}" if fitting else f"the least there is, above {_gib(MEMORY_BYTES)}"
    return Choice(
        type=name,
        reason=f"floats and graph would take {_gib(floats)}; {name} takes {_gib(facts.memory(name))}, "
        f"{fits}, and the best {KINDS[name].oversample:g} k candidates are scored again exactly"
        + (f"; {cost}" if cost else ""),
    )


def _is_able(name: str, facts: Facts) -> bool:
    narrow = any(field.dims < LEAST_DIMS_BBQ for field in facts.fields)
    return refusal(name, facts) is None and not (KINDS[name].precision == "bbq" and narrow)


def _is_exact(measured: Measured | None) -> bool:
    return measured is None or (measured.recall_at_10 >= LEAST_RECALL and measured.max_error <= MOST_ERROR)


def kinds_for(facts: Facts) -> Sequence[str]:
    """Return every kind that the server takes for these fields.

    Args:
        facts: version, licence, fields.

    Returns:
        Keys of `KINDS`, in their order.
    """
    return [name for name in KINDS if refusal(name, facts) is None]


def oversample_of(options: Mapping[str, object]) -> float | None:
    """Read how far a field is to be oversampled from its `index_options`.

    Args:
        options: `index_options` of a mapping.

    Returns:
        What the mapping says (`rescore_vector.oversample`), else the default of its kind, 2 for a quantised
        kind that is not known here; None where scores are exact.
    """
    name = str(options.get("type", ""))
    known = KINDS.get(name)
    default = known.oversample if known else (2.0 if name.startswith(("int", "bbq")) else None)
    own = options.get("rescore_vector")
    stated = own.get("oversample") if isinstance(own, Mapping) else None
    if default is not None and isinstance(stated, (int, float)) and stated >= 1:
        return float(stated)
    return default


def _dotted(version: Version) -> str:
    return ".".join(map(str, version[:2]))


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= 0.05 * GIB else f"{math.ceil(size / 2**20)} MiB"
