"""The side that sees: preprocessing of one picture, and the tower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.encoders.mini.colour import histogram

SIDE = 224


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture as the tower reads it.

    Args:
        pixels: uint8, shape [224, 224, 3].
        colours: float32, shape [32], sum 1.
    """

    pixels: NDArray[np.uint8]
    colours: NDArray[np.float32]


def prepare_picture(image: Image.Image) -> Prepared:
    """Fit the whole picture into a square, on the median colour of its border, and count its colours.

    Args:
        image: RGB, upright, at least 1 x 1.
    """
    width, height = image.size
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # reducing_gap: a large photo is first halved cheaply, then resampled with full care.
    fitted = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    a = np.asarray(fitted)
    border = np.median(np.concatenate([a[0], a[-1], a[:, 0], a[:, -1]]), axis=0)
    square = np.empty((SIDE, SIDE, 3), np.uint8)
    square[:] = border.astype(np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = a
    return Prepared(pixels=square, colours=histogram(fitted))
