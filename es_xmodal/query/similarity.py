"""Elasticsearch's `_score` of a kNN hit for each similarity, for vectors of unit length.

Sources: the reference of the field type `dense_vector`, parameter `similarity`, and of the knn query,
parameter `similarity`. With unit vectors the inner product is the cosine c, and the squared Euclidean
distance is 2 - 2c, so every score is a rising function of c and every similarity gives the same order.

What an index knows of unrelated pairs (its calibration) is kept as `(1 + c) / 2`, whatever the similarity:
the numbers of two indices can be compared, and a cut-off lets the same products through in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

DEFAULT = "cosine"
LINEAR = ("cosine", "dot_product")
"""Similarities whose score is `(1 + c) / 2`."""

_SCORES: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda c: (1 + c) / 2,
    "dot_product": lambda c: (1 + c) / 2,
    "l2_norm": lambda c: 1 / (1 + max(0.0, 2 - 2 * c)),
    "max_inner_product": lambda c: 1 / (1 - c) if c < 0 else c + 1,
}


def score_of(similarity: str, level: float) -> float:
    """Return the `_score` that a calibrated level comes to.

    Args:
        similarity: of the field.
        level: `(1 + c) / 2` of a cosine c.

    Returns:
        The score; the level itself where the score is linear in the cosine.
    """
    return level if similarity in LINEAR else _SCORES[similarity](2 * level - 1)


def least_similarity(similarity: str, level: float) -> float | None:
    """Return the parameter `similarity` of a knn clause that lets through what reaches a level.

    Args:
        similarity: of the field.
        level: `(1 + c) / 2` of the least cosine c.

    Returns:
        The cosine, which is the inner product, or for `l2_norm` the greatest distance; None where no
        vector can be so near.
    """
    cosine = 2 * level - 1
    if similarity != "l2_norm":
        return cosine
    return math.sqrt(2 - 2 * cosine) if cosine <= 1 else None
