"""The exact answer to a vector search, by comparing everything; and a sample of vectors to compare. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_xmodal.vectors import Matrix

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FieldSample:
    """Vectors of one field and what is asked of them.

    Attributes:
        field: dotted name.
        similarity: as in the mapping.
        vectors: float32, shape [n, dim]; the rows of one product stand together.
        owners: shape [n], ascending: number of the product of each row.
        queries: float32, shape [q, dim]; of products that are not among the owners.
        asked: what the queries are, such as `pictures` or `titles`.
    """

    field: str
    similarity: str
    vectors: Matrix
    owners: NDArray[np.intp]
    queries: Matrix
    asked: str


def exact_scores(sample: FieldSample) -> tuple[Scores, NDArray[np.intp]]:
    """Score every product for every query, as Elasticsearch defines `_score`; the best picture counts.

    Args:
        sample: vectors and queries.

    Returns:
        Scores, float64, shape [q, p]; and the product of each column, shape [p].
    """
    starts = np.flatnonzero(np.diff(sample.owners, prepend=-1))
    queries = sample.queries.astype(np.float64)
    scores = np.empty((len(queries), len(starts)))
    stored = sample.vectors.astype(np.float64)
    for at, query in enumerate(queries):  # one by one: a matrix of all pairs may not fit
        scores[at] = np.maximum.reduceat(_scores(query, stored, sample.similarity), starts)
    return scores, sample.owners[starts]


def _scores(query: Scores, stored: Scores, similarity: str) -> Scores:
    """`_score` by similarity, after Elasticsearch's page on `dense_vector`."""
    dots = stored @ query
    if similarity == "cosine":
        lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(query)
        return np.asarray((1 + dots / np.maximum(lengths, 1e-30)) / 2)
    if similarity == "l2_norm":
        distances = ((stored - query) ** 2).sum(axis=1)
        return np.asarray(1 / (1 + distances))
    if similarity == "max_inner_product":
        return np.asarray(np.where(dots < 0, 1 / (1 - np.minimum(dots, 0)), dots + 1))
    return np.asarray((1 + dots) / 2)


def recall(exact: Scores, found: Sequence[int], k: int) -> float:
    """Return the share of the exact best `k` that was found among the first `k`.

    Args:
        exact: scores of all products for one query, shape [p].
        found: columns of `exact`, best first.
        k: how many count; fewer where there are fewer products.

    Returns:
        0 to 1. Products that score like the last of the exact best count as one of them: ties have no order.
    """
    size = min(k, len(exact))
    least = np.partition(exact, -size)[-size]
    hits = sum(exact[column] >= least - 1e-6 for column in found[:size])
    return min(1.0, float(hits) / size)
