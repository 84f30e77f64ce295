"""A small head on frozen features: what the training makes and the encoder applies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from es_xmodal.errors import EncoderError
from es_xmodal.vectors import Matrix

Floats: TypeAlias = NDArray[np.floating]

_GELU_SCALE = np.float32((2 / np.pi) ** 0.5)
_GELU_CUBE = np.float32(0.044715)
_PARTS = ("mean", "scale", "linear", "bias")
_HIDDEN = ("wide", "wide_bias", "narrow")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tower:
    """unit(x L + b + gelu(x W + c) N), with x = (features - mean) * scale.

    Args:
        mean: shape [features].
        scale: shape [features].
        linear: shape [features, dim].
        bias: shape [dim].
        wide: shape [features, hidden]; None: the linear part alone.
        wide_bias: shape [hidden], with `wide`.
        narrow: shape [hidden, dim], with `wide`.

    Raises:
        EncoderError: the shapes do not fit each other, or a number is not finite.
    """

    mean: Floats
    scale: Floats
    linear: Floats
    bias: Floats
    wide: Floats | None = None
    wide_bias: Floats | None = None
    narrow: Floats | None = None

    def __post_init__(self) -> None:
        features, dim = self.linear.shape if self.linear.ndim == 2 else (0, 0)
        wanted: dict[str, tuple[int, ...]] = {"mean": (features,), "scale": (features,), "bias": (dim,)}
        if self.wide is not None:
            hidden = self.wide.shape[-1]
            wanted |= {"wide": (features, hidden), "wide_bias": (hidden,), "narrow": (hidden, dim)}
        arrays = self.arrays()
        if not dim or any(
            name not in arrays or arrays[name].shape != shape for name, shape in wanted.items()
        ):
            raise EncoderError("the parts of a head do not fit each other")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise EncoderError("a head holds NaN or infinity")

    @property
    def features(self) -> int:
        """How many numbers it reads."""
        return int(self.linear.shape[0])

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        return int(self.linear.shape[1])

    def __call__(self, features: Floats) -> Matrix:
        """Place items.

        Args:
            features: shape [n, features].

        Returns:
            float32, shape [n, dim]; unit rows, but for a row without any direction, which stays zero.
        """
        x = (features - self.mean) * self.scale
        found = x @ self.linear + self.bias
        if self.wide is not None and self.wide_bias is not None and self.narrow is not None:
            found += gelu(x @ self.wide + self.wide_bias) @ self.narrow
        return unit(found)

    def arrays(self) -> dict[str, Floats]:
        """Return its parts by name, to be saved."""
        parts = {name: getattr(self, name) for name in (*_PARTS, *_HIDDEN)}
        return {name: array for name, array in parts.items() if array is not None}

    @classmethod
    def of(cls, arrays: Mapping[str, Floats]) -> Tower:
        """Make a tower of its saved parts.

        Raises:
            EncoderError: a part is missing, too much, or of the wrong shape.
        """
        try:
            return cls(**{name: np.asarray(array, np.float32) for name, array in arrays.items()})
        except (TypeError, ValueError) as error:
            raise EncoderError(f"a head lacks a part: {error}") from None


def gelu(x: Floats) -> Floats:
    """Gaussian error linear unit in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415)."""
    bent: Floats = np.tanh(_GELU_SCALE * (x + _GELU_CUBE * x * x * x))
    found: Floats = np.float32(0.5) * x * (1 + bent)
    return found


def gelu_slope(x: Floats) -> Floats:
    """Return the derivative of `gelu`."""
    bent: Floats = np.tanh(_GELU_SCALE * (x + _GELU_CUBE * x * x * x))
    inner = _GELU_SCALE * (1 + 3 * _GELU_CUBE * x * x)
    slope: Floats = np.float32(0.5) * (1 + bent) + np.float32(0.5) * x * (1 - bent * bent) * inner
    return slope


def unit(rows: Floats) -> Matrix:
    """Return rows of length 1; a row that is zero stays zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-8), np.float32)
