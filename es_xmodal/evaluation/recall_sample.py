"""The vectors of a shop that a measurement of recall is made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_xmodal.cluster.client import Client
from es_xmodal.errors import IndexStateError
from es_xmodal.evaluation.exact import FieldSample
from es_xmodal.index.quantisation import Facts
from es_xmodal.index.stored_vectors import sampled_products
from es_xmodal.index.target import Target
from es_xmodal.ingest.document import WriteVector, dump_json

LEAST = 100
"""Products with vectors below which nothing can be said about recall@100."""
MOST_BYTES = 256 * 2**20
"""Vectors that are held at once, whatever sample is asked for."""
QUERIES = 100
_CHUNK = 200


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The shop's vectors that are indexed, and those that are asked with.

    Attributes:
        size: products that are indexed.
        held_out: products that are asked with.
        fields: what each field holds; a field is there once for each kind of query.
    """

    size: int
    held_out: int
    fields: tuple[FieldSample, ...]


def read_sample(client: Client, target: Target, facts: Facts, *, most: int) -> Sample:
    """Draw products evenly and hold some of them back as queries.

    Args:
        client: see `connect`.
        target: the index.
        facts: its fields.
        most: products to read at most.

    Returns:
        The sample; at most `MOST_BYTES` of vectors.

    Raises:
        IndexStateError: there are fewer than `LEAST` products with vectors.
        ClusterError: the cluster cannot be reached or refuses.
    """
    fields = [one.name for one in facts.fields]
    rows: list[dict[str, NDArray[np.float32]]] = []
    held = 0
    for _, found in sampled_products(client, target.index, fields, most=most, names=target.meta.names):
        rows.append({name: np.array(vectors, dtype=np.float32) for name, vectors in found.items()})
        held += sum(one.nbytes for one in rows[-1].values())
        if held >= MOST_BYTES:
            break
    if len(rows) < LEAST:
        raise IndexStateError(
            f"index {target.index} gave {len(rows)} products with vectors; {LEAST} are needed to measure",
            hint="so few are best compared one by one: `vector_index = flat`",
        )
    aside = min(QUERIES, len(rows) // 5)
    asking, stored = rows[:aside], rows[aside:]
    return Sample(
        size=len(stored),
        held_out=aside,
        fields=tuple(_field_samples(target, fields, stored, asking)),
    )


def _field_samples(
    target: Target,
    fields: Sequence[str],
    stored: Sequence[Mapping[str, NDArray[np.float32]]],
    asking: Sequence[Mapping[str, NDArray[np.float32]]],
) -> Iterator[FieldSample]:
    for name in fields:
        rows = [(at, one[name]) for at, one in enumerate(stored) if name in one]
        sources = {"titles" if name == "text_vector" else "pictures": name}
        if name == "images.joint" and target.meta.encoder.text_space == "joint" and "text_vector" in fields:
            sources["titles"] = "text_vector"  # words and pictures share the space: ask pictures with words
        for asked, source in sources.items():
            queries = [one[source][0] for one in asking if source in one]
            if rows and queries:
                yield FieldSample(
                    field=name,
                    similarity=str(target.vectors[name].get("similarity", "cosine")),
                    vectors=np.concatenate([vectors for _, vectors in rows]),
                    owners=np.repeat([at for at, _ in rows], [len(vectors) for _, vectors in rows]),
                    queries=np.stack(queries),
                    asked=asked,
                )


def documents(drawn: Sample, write: WriteVector) -> Iterator[list[tuple[str, bytes]]]:
    """Return the documents that hold a sample's vectors.

    Args:
        drawn: the sample.
        write: how the server reads vectors.

    Yields:
        Pairs of id and JSON, some at a time.
    """
    fields = list({one.field: one for one in drawn.fields}.values())
    edges = [np.searchsorted(one.owners, np.arange(drawn.size + 1)) for one in fields]
    chunk = []
    for product in range(drawn.size):
        document: dict[str, Any] = {}
        for one, edge in zip(fields, edges, strict=True):
            rows = [write(row) for row in one.vectors[edge[product] : edge[product + 1]]]
            _place(document, one.field, rows)
        chunk.append((str(product), dump_json(document)))
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _place(document: dict[str, Any], field: str, rows: Sequence[Any]) -> None:
    """Which picture's vectors share a nested document does not matter to a search of one field."""
    place, _, inner = field.rpartition(".")
    if not place:
        if rows:
            document[inner] = rows[0]
        return
    pictures = document.setdefault(place, [])
    pictures += [{} for _ in range(len(rows) - len(pictures))]
    for picture, row in zip(pictures, rows, strict=False):
        picture[inner] = row
