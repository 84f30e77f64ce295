"""Vectors: how they are checked and made unit length. float32 everywhere."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from es_xmodal.errors import EncoderError

Vector: TypeAlias = NDArray[np.float32]
"""float32, shape [dim]."""
Matrix: TypeAlias = NDArray[np.float32]
"""float32, shape [n, dim]."""

MAX_DIM = 4096
"""The largest `dims` that a `dense_vector` field takes (Elasticsearch 8.11 and later)."""


def unit_rows(rows: NDArray[np.floating]) -> Matrix:
    """Return the rows divided by their Euclidean length.

    Args:
        rows: shape [n, dim].

    Returns:
        float32, shape [n, dim], unit rows; C-contiguous.

    Raises:
        EncoderError: a row holds NaN or infinity, or is zero (cosine is not defined for it and
            Elasticsearch refuses it).
    """
    wide = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    if not np.isfinite(norms).all():
        raise EncoderError("an encoder returned a vector with NaN or infinity")
    if (norms == 0).any():
        raise EncoderError("an encoder returned a zero vector, which has no direction")
    return np.ascontiguousarray(wide / norms, dtype=np.float32)
