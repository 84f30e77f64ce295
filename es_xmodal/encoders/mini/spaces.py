"""From what the towers say to vectors in the three spaces.

`text`    the sentence vector less the mean of its language.
`visual`  the picture's pooled features, less what the tower sees on average (known without a picture from
          its last batch norm), and its colours.
`joint`   three blocks, on both sides:
          prototypes  a text is a mixture of the classifier's class vectors, weighted by how well the
                      text fits the names of each class; a picture is its pooled features. Both are
                      projected on the leading directions in which the class vectors differ; that takes
                      away most of what all pictures share, so that no mean picture is needed.
          names       a picture is the mixture of the class names' text vectors, weighted by the
                      classifier's probabilities (ConSE: Norouzi et al., arXiv 1312.5650); a text is itself.
          colours     see `colour.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.mini.colour import COLOURS, text_colours
from es_xmodal.encoders.mini.files import open_session
from es_xmodal.vectors import Matrix

Floats: TypeAlias = NDArray[np.floating]

PROTOTYPE_DIM = 512
NAME_DIM = 192
COLOUR_DIM = len(COLOURS)
JOINT_DIM = PROTOTYPE_DIM + NAME_DIM + COLOUR_DIM
VISUAL_POOLED_DIM = 736
VISUAL_DIM = VISUAL_POOLED_DIM + COLOUR_DIM

_TEMPERATURE = 0.06
# The two sides carry the square roots, so that products weigh 1 : 0.4 : 0.2.
_NAME_WEIGHT = 0.4**0.5
_COLOUR_WEIGHT = 0.2**0.5
_HISTOGRAM_LENGTH = 0.4  # the usual length of a histogram whose sum is 1
_VISUAL_COLOUR_WEIGHT = 0.4
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


class Spaces:
    """The fitted numbers that join the two towers.

    Args:
        folder: where `spaces.npz` and `product.onnx` lie, made by the build script.
        threads: cores that the runtime may use; None: all, at most 8.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        with np.load(folder / "spaces.npz") as file:
            held = {name: file[name] for name in file.files}
        self._session = open_session(folder / "product.onnx", threads)
        self._classes: NDArray[np.int16] = held["name_class"]
        self._names = _wide(held["names"].T)
        self._means = _wide(held["text_means"])
        self._prototypes = _wide(held["prototypes"])
        self._class_texts = _wide(held["class_texts"])
        self._name_axes = _wide(held["name_axes"])
        self._picture_axes = _wide(held["picture_axes"])
        self._picture_mean = _wide(held["picture_mean"])
        # Where each class begins in the list of names, which is in the order of the classes.
        self._starts = np.searchsorted(self._classes, np.arange(len(self._prototypes)))

    def texts(self, sentences: Matrix, texts: Sequence[str]) -> dict[str, Matrix]:
        """Place texts.

        Args:
            sentences: float32, shape [n, 384], from the text tower.
            texts: the n texts, for their script and their colour words.
        """
        language = np.array([1 if _HAN.search(text) else 0 for text in texts])
        centred = _unit(_unit(sentences) - self._means[language])
        best = np.maximum.reduceat(self._product(centred, self._names), self._starts, axis=1)
        blocks = [
            _unit(self._product(_softmax(best / _TEMPERATURE), self._prototypes)),
            _NAME_WEIGHT * _unit(self._product(centred, self._name_axes)),
            _COLOUR_WEIGHT * np.stack([text_colours(text) for text in texts]),
        ]
        return {"joint": np.concatenate(blocks, axis=1), "text": centred}

    def pictures(self, pooled: Floats, logits: Floats, colours: Matrix) -> dict[str, Matrix]:
        """Place pictures.

        Args:
            pooled: float32, shape [n, 1280].
            logits: float32, shape [n, 1000].
            colours: float32, shape [n, 32], each row a histogram of sum 1.
        """
        seen = self._product(pooled, self._picture_axes)
        blocks = [
            _unit(seen[:, :PROTOTYPE_DIM]),
            _NAME_WEIGHT * _unit(self._product(_softmax(logits), self._class_texts)),
            _COLOUR_WEIGHT / _HISTOGRAM_LENGTH * colours,
        ]
        # The root makes a histogram's few large bins count less (Hellinger).
        tint = _VISUAL_COLOUR_WEIGHT * _unit(np.sqrt(colours))
        visual = [_unit(seen - self._picture_mean), tint]
        return {"joint": np.concatenate(blocks, axis=1), "visual": np.concatenate(visual, axis=1)}

    def _product(self, left: Floats, right: Matrix) -> Matrix:
        """Multiply in the runtime of the towers.

        The threads of numpy's own BLAS go on spinning after a product and would take the cores from the
        towers: on two busy cores a query cost 50 ms that way instead of 10.
        """
        (rows,) = self._session.run(["c"], {"a": left, "b": right})
        return np.asarray(rows, np.float32)


def _wide(array: NDArray[np.floating]) -> Matrix:
    return np.ascontiguousarray(array, np.float32)


def _unit(rows: Floats) -> Matrix:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-8), np.float32)


def _softmax(rows: Floats) -> Matrix:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
