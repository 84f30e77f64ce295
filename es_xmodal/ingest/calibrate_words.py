"""How the words on unrelated pictures score in the leg `ocr`: what a chance likeness of pieces is worth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from es_xmodal.index.meta import LegCalibration
from es_xmodal.ingest.calibrate import TITLES, Sampled

_SATURATION = 1 / 2.2
"""BM25's factor for a term that counts once in a field without length: tf / (tf + k1), k1 = 1.2."""


def calibrate_words(sample: Sequence[Sampled], *, documents: int) -> LegCalibration | None:
    """Score unrelated pairs as Elasticsearch will: the words on a product's pictures against another product.

    The floor is 0, the score of a product that shares nothing. IDF grows with the index, so the sample's
    counts are taken as shares of it. BM25 as in Lucene, idf = ln(1 + (N − n + .5) / (n + .5)); after
    S. Robertson, H. Zaragoza: The Probabilistic Relevance Framework (2009).

    Args:
        sample: with the pieces of each product's field, and of what stands on its pictures.
        documents: products in the index.

    Returns:
        Floor and root mean square; None where fewer than two pairs can be made.
    """
    asked = [one for one in sample if one.shown][:TITLES]
    counts = Counter(piece for one in sample for piece in one.said)
    share = max(documents, len(sample)) / len(sample) if sample else 1.0
    total = max(documents, len(sample))
    worth = {piece: _SATURATION * _idf(count * share, total) for piece, count in counts.items()}
    squares = [
        sum(worth[piece] for piece in one.shown & other.said) ** 2
        for one in asked
        for other in sample
        if one.group != other.group and one.title != other.title
    ]
    if len(squares) < 2:
        return None
    return LegCalibration(floor=0.0, spread=round(math.sqrt(sum(squares) / len(squares)), 6))


def _idf(holding: float, total: int) -> float:
    return math.log(1 + (total - holding + 0.5) / (holding + 0.5))
