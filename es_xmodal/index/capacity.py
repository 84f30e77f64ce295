"""How much a catalogue of a given size takes: workers, hours, bytes, memory, shards. Pure arithmetic.

What depends on the shop or on the hardware is an input with its measured default beside it; every formula
names its source. docs/many-machines.md shows plans and how far a prediction was from a real index.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from es_xmodal.errors import SettingsError
from es_xmodal.index.quantisation import AUTO, KINDS, Choice, Facts, FieldFacts, Version, choose, kind_of

GB: Final = 10**9
GIB: Final = 2**30
LARGEST_SHARD_BYTES: Final = 50 * GB
"""Elastic, "Size your shards": aim for shards between 10 GB and 50 GB."""
LARGEST_SHARD_DOCUMENTS: Final = 200_000_000
"""Elastic, "Size your shards": keep the number of documents on each shard below 200 million."""
LARGEST_HEAP_BYTES: Final = 31 * GIB
"""Elastic, "JVM settings": at most half of the memory, and below the limit of compressed pointers."""
FULL_DISK: Final = 0.85
"""`cluster.routing.allocation.disk.watermark.low`: beyond it a node gets no more shards."""
VERSIONS_AT_ONCE: Final = 2
"""While a new version is built, the old one serves."""
NO_VECTORS_IN_SOURCE: Final[Version] = (9, 2, 0)
"""The first server that takes vectors out of `_source` (`index.mapping.exclude_source_vectors`)."""
SOURCE_BYTES_A_DIM: Final = 8.6
"""Measured on 8.19.21: numbers as text, compressed; 512 and 384 dimensions of random unit vectors."""
LMDB_PAGE: Final = 4096
LMDB_HEADER: Final = 16
LMDB_FILL: Final = 0.69
"""Pages of a B-tree whose keys come in random order are so full on average: ln 2 (Yao, "On random 2-3 trees",
Acta Informatica 9, 1978)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorField:
    """One field of vectors.

    Args:
        name: such as `joint`.
        dims: of a vector.
        of_pictures: one for each picture, or one for each product.
    """

    name: str
    dims: int
    of_pictures: bool


MINI: Final = (
    VectorField(name="joint", dims=736, of_pictures=True),
    VectorField(name="visual", dims=768, of_pictures=True),
    VectorField(name="text", dims=384, of_pictures=False),
)
"""The fields of an index of the encoder `mini`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is to be indexed, by what, into what.

    Args:
        products: in the catalogue.
        pictures_per_product: on average.
        pictures_per_second: of one worker (decoding included).
        texts_per_second: of one worker.
        hours: in which the first ingest is to be done; says how many workers.
        fields: of vectors.
        vector_index: a kind, or `auto`.
        picture_bytes: of one picture as it comes, on average.
        text_bytes: in the index of one product, everything but vectors; most of it is the row itself.
        hot_bytes: of them, what searches by words read again and again: inverted index, norms, doc values.
        rows_per_second: that the driver reads, checks, tokenises and sends.
        docs_per_second: that one data node indexes, graphs included.
        network_bytes_per_second: of the driver.
        files_seen: workers read the pictures from a file system; else the driver fetches and sends them.
        replicas: of each shard.
        node_memory_bytes: of one data node.
        node_disk_bytes: of one data node.
        server: version of Elasticsearch.

    Raises:
        SettingsError: a number that must be above 0 is not.
    """

    products: int
    pictures_per_product: float
    pictures_per_second: float
    texts_per_second: float
    hours: float = 24.0
    fields: Sequence[VectorField] = MINI
    vector_index: str = AUTO
    picture_bytes: float = 100_000.0
    text_bytes: float = 1_500.0
    hot_bytes: float = 700.0
    rows_per_second: float = 900.0
    docs_per_second: float = 250.0
    network_bytes_per_second: float = 1.25e9
    files_seen: bool = False
    replicas: int = 1
    node_memory_bytes: float = 64 * GIB
    node_disk_bytes: float = 2_000 * GB
    server: Version = (9, 2, 0)

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            least = 0 if name in _MAY_BE_NOTHING else sys.float_info.min
            if is_number and not least <= value < math.inf:
                raise SettingsError(f"{name} {value:g} makes no sense", hint="give a number above 0")

    @property
    def pictures(self) -> float:
        """In all."""
        return self.products * self.pictures_per_product

    def vectors(self, field: VectorField) -> float:
        """How many a field has."""
        return self.pictures if field.of_pictures else float(self.products)


_MAY_BE_NOTHING: Final = frozenset({"pictures_per_product", "replicas"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What one kind of vector index takes, without replicas.

    Args:
        kind: of vector index.
        disk_bytes: floats, codes and graphs of all fields.
        memory_bytes: outside the heap, for searches to stay fast.
    """

    kind: str
    disk_bytes: float
    memory_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a load takes. Hours are those of a stage by itself; stages overlap, so the longest one counts."""

    load: Load
    choice: Choice
    sizes: tuple[Size, ...]
    workers: int
    hours_by_stage: Mapping[str, float]
    text_bytes: float
    primary_bytes: float
    shards: int
    cluster_bytes: float
    peak_bytes: float
    memory_bytes: float
    data_nodes: int
    nodes_because: str
    store_bytes: float

    @property
    def slowest(self) -> str:
        """The stage that says how long it takes."""
        return max(self.hours_by_stage, key=lambda stage: self.hours_by_stage[stage])

    @property
    def hours(self) -> float:
        """For the first ingest; a new encoder takes as long, since every picture is needed again."""
        return self.hours_by_stage[self.slowest]

    @property
    def hours_from_store(self) -> float:
        """For a new version whose vectors the store has: another dictionary, mapping or kind of index."""
        return max(self.hours_by_stage[stage] for stage in ("driver", "index"))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as one JSON object."""
        return {
            **asdict(self),
            "slowest": self.slowest,
            "hours": self.hours,
            "hours_model_change": self.hours,
            "hours_from_store": self.hours_from_store,
        }


def plan_capacity(load: Load) -> Plan:
    """Compute what a load takes.

    Args:
        load: what is to be indexed.

    Returns:
        The plan.

    Raises:
        SettingsError: there is no such kind of vector index.
    """
    choice = _choice(load)
    sizes = tuple(
        size_of(load, name) for name in KINDS if KINDS[name].structure != "flat" or name == choice.type
    )
    chosen = next(one for one in sizes if one.kind == choice.type)
    text_bytes = load.products * load.text_bytes + _in_source(load)
    primary = text_bytes + chosen.disk_bytes
    copies = 1 + load.replicas
    memory = copies * (chosen.memory_bytes + load.products * load.hot_bytes)
    peak = VERSIONS_AT_ONCE * copies * primary
    nodes, because = _nodes(load, memory, peak)
    workers = _workers(load)
    return Plan(
        load=load,
        choice=choice,
        sizes=sizes,
        workers=workers,
        hours_by_stage=_hours(load, workers, nodes),
        text_bytes=text_bytes,
        primary_bytes=primary,
        shards=_shards(load, primary),
        cluster_bytes=copies * primary,
        peak_bytes=peak,
        memory_bytes=memory,
        data_nodes=nodes,
        nodes_because=because,
        store_bytes=store_bytes(load),
    )


def size_of(load: Load, name: str) -> Size:
    """What one kind of vector index takes.

    Disk: the floats are kept in any case (4 bytes a dimension), quantised kinds keep their codes beside them
    (Elastic, "Tune approximate kNN search": "storing both the quantized and the unquantized vectors"), and a
    graph has 2 m links on level 0; Lucene packs them into less than the 4 bytes that are reckoned here.

    Args:
        load: fields and numbers.
        name: a key of `KINDS`.

    Raises:
        SettingsError: there is no such kind.
    """
    kind = kind_of(name)
    disk = memory = 0.0
    for field in load.fields:
        count, floats = load.vectors(field), 4.0 * field.dims
        held = kind.bytes_a_vector(field.dims)
        # On disk a `disk` kind has all of its codes, of which a search reads a part.
        codes = KINDS["bbq_flat"].bytes_a_vector(field.dims) if kind.structure == "disk" else held
        disk += count * (floats + codes if kind.quantised else held)
        memory += count * held
    return Size(kind=name, disk_bytes=disk, memory_bytes=memory)


def store_bytes(load: Load) -> float:
    """What the vector store takes on the driver's disk.

    An entry is a key of 32 bytes and 12 + 4 dims bytes. LMDB puts an entry of more than half a page on pages
    of its own (LMDB, `mdb.c`: `me_nodemax`), and the others together on pages that are filled as a B-tree's.

    Args:
        load: fields and numbers.
    """
    total = 0.0
    for field in load.fields:
        value, leaf = 12 + 4 * field.dims, 8 + 32 + 2
        if leaf + value > (LMDB_PAGE - LMDB_HEADER) // 2:
            own = LMDB_PAGE * math.ceil((LMDB_HEADER + value) / LMDB_PAGE)
            entry = own + (leaf + 8) / LMDB_FILL
        else:
            entry = LMDB_PAGE / (((LMDB_PAGE - LMDB_HEADER) // (leaf + value)) * LMDB_FILL)
        total += load.vectors(field) * entry
    return total


def _in_source(load: Load) -> float:
    """What the vectors take in `_source`: servers before 9.2 keep them there too, as they were sent."""
    if load.server >= NO_VECTORS_IN_SOURCE:
        return 0.0
    return sum(load.vectors(field) * field.dims * SOURCE_BYTES_A_DIM for field in load.fields)


def _choice(load: Load) -> Choice:
    if load.vector_index != AUTO:
        return Choice(type=kind_of(load.vector_index).name, reason="as asked for")
    fields = tuple(
        FieldFacts(
            name=field.name, dims=field.dims, vectors=math.ceil(load.vectors(field)), nested=field.of_pictures
        )
        for field in load.fields
    )
    several = load.pictures_per_product > 1
    return choose(Facts(fields=fields, version=load.server, several_pictures=several))


def _workers(load: Load) -> int:
    """So many that embedding alone takes the hours that there are."""
    return max(1, math.ceil(_embedding_s(load) / (3600 * load.hours)))


def _embedding_s(load: Load) -> float:
    return load.pictures / load.pictures_per_second + load.products / load.texts_per_second


def _hours(load: Load, workers: int, nodes: int) -> dict[str, float]:
    """Of each stage by itself."""
    # Pictures come in and go out to the workers, or are read once for their hash.
    through = load.pictures * load.picture_bytes * (1 if load.files_seen else 2)
    seconds = {
        "fetch": through / load.network_bytes_per_second,
        "embed": _embedding_s(load) / workers,
        "driver": load.products / load.rows_per_second,
        # A replica indexes all over again, its graphs too.
        "index": load.products * (1 + load.replicas) / (load.docs_per_second * nodes),
    }
    return {stage: spent / 3600 for stage, spent in seconds.items()}


def _shards(load: Load, primary_bytes: float) -> int:
    """As few as Elastic's two bounds allow; nested pictures are documents of their own."""
    documents = load.products + (load.pictures if any(one.of_pictures for one in load.fields) else 0)
    return max(
        1,
        math.ceil(primary_bytes / LARGEST_SHARD_BYTES),
        math.ceil(documents / LARGEST_SHARD_DOCUMENTS),
    )


def _nodes(load: Load, memory_bytes: float, peak_bytes: float) -> tuple[int, str]:
    """Data nodes, and what asks for them."""
    cache = load.node_memory_bytes - min(load.node_memory_bytes / 2, LARGEST_HEAP_BYTES)
    wanted = {
        "memory": math.ceil(memory_bytes / cache),
        "disk": math.ceil(peak_bytes / (load.node_disk_bytes * FULL_DISK)),
        "replicas": 1 + load.replicas,
    }
    because = max(wanted, key=lambda what: wanted[what])
    return wanted[because], because
