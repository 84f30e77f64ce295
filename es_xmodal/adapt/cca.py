"""Heads in closed form: regularised canonical correlation analysis (Vinod 1976), about a second."""

from __future__ import annotations

import numpy as np

from es_xmodal.adapt.contrast import Examples, spread
from es_xmodal.encoders.adapted.tower import Floats, Tower

_SMALLEST = 1e-4
"""Correlations below this are noise of the arithmetic."""


def fit_cca(
    examples: Examples, *, dim: int = 128, picture_ridge: float = 1.0, text_ridge: float = 1.0
) -> tuple[Tower, Tower]:
    """Find directions of pictures and of texts that vary together.

    With x a standardised picture and y the mean text of its product, S the ridged covariances:
    Sxx^(-1/2) Sxy Syy^(-1/2) = U D V'; pictures go to Sxx^(-1/2) U D^(1/2), texts to Syy^(-1/2) V D^(1/2).

    Args:
        examples: pictures and texts of products.
        dim: directions kept, at most.
        picture_ridge: added to the diagonal of the pictures' covariance, whose variances are about 1.
        text_ridge: added to the texts', times their mean variance.

    Returns:
        The picture head and the text head.
    """
    mean, scale = spread(examples.pictures)
    x = (examples.pictures - mean) * scale
    means = _means_by_product(examples)
    y_mean = examples.texts.mean(axis=0)
    y = means[examples.products] - y_mean
    texts = examples.texts - y_mean
    root_x = _root(x.T @ x / len(x), picture_ridge)
    cov_y = texts.T @ texts / len(texts)
    root_y = _root(cov_y, text_ridge * float(np.trace(cov_y)) / len(cov_y))
    cross = np.linalg.solve(root_x, (x.T @ y / len(x)).astype(np.float64))
    cross = np.linalg.solve(root_y, cross.T).T
    # The leading part of an SVD, by way of the smaller Gram matrix: a tenth of the time.
    squares, right = np.linalg.eigh(cross.T @ cross)
    sizes, right = np.sqrt(np.maximum(squares[::-1], 0)), right[:, ::-1]
    kept = max(1, min(dim, int((sizes > _SMALLEST).sum())))
    right = right[:, :kept]
    # U D^(1/2) = C V D^(-1/2)
    weights = np.sqrt(np.maximum(sizes[:kept], _SMALLEST))
    see = np.linalg.solve(root_x.T, cross @ right / weights)
    read = np.linalg.solve(root_y.T, right * weights)
    return _linear(mean, scale, see), _linear(y_mean, np.ones_like(y_mean), read)


def _means_by_product(examples: Examples) -> Floats:
    count = int(max(examples.text_products.max(), examples.products.max())) + 1
    sums = np.zeros((count, examples.texts.shape[1]), np.float64)
    np.add.at(sums, examples.text_products, examples.texts * examples.text_weights[:, None])
    totals = np.zeros(count)
    np.add.at(totals, examples.text_products, examples.text_weights)
    return np.asarray(sums / np.maximum(totals, 1e-12)[:, None], np.float32)


def _root(covariance: Floats, ridge: float) -> np.ndarray:
    wide = covariance.astype(np.float64)
    wide[np.diag_indices_from(wide)] += ridge
    return np.linalg.cholesky(wide)


def _linear(mean: Floats, scale: Floats, matrix: np.ndarray) -> Tower:
    return Tower(
        mean=np.asarray(mean, np.float32),
        scale=np.asarray(scale, np.float32),
        linear=np.asarray(matrix, np.float32),
        bias=np.zeros(matrix.shape[1], np.float32),
    )
