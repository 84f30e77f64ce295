"""The side that sees: preprocessing of one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.encoders.mini.colour import histogram

SIDE = 224
VIEWS = 2
_CENTRE = 0.7
# A large photo is first halved cheaply, then resampled with full care.
_REDUCING_GAP = 3.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture as the tower reads it.

    Args:
        views: uint8, shape [2, 224, 224, 3]: the whole picture, and its centre in the mirror.
        colours: float32, shape [32], sum 1.
    """

    views: NDArray[np.uint8]
    colours: NDArray[np.float32]


def prepare_picture(image: Image.Image) -> Prepared:
    """Make the two views and count the colours.

    A product is the same product in the mirror, and often small in the middle of its photo: the mean of
    both views sees it more steadily than either.

    Args:
        image: RGB, upright, at least 1 x 1.
    """
    width, height = image.size
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    views = np.stack([_on_square(np.asarray(fitted)), _centre(image)[:, ::-1]])
    return Prepared(views=views, colours=histogram(fitted))


def _on_square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put the pixels in the middle of the square, on the median colour of their border."""
    height, width = pixels.shape[:2]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    square = np.empty((SIDE, SIDE, 3), np.uint8)
    square[:] = np.median(border, axis=0).astype(np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _centre(image: Image.Image) -> NDArray[np.uint8]:
    """Return the central square, 70 % of the shorter side, at the tower's size."""
    width, height = image.size
    side = max(1, int(min(width, height) * _CENTRE))
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    # Cropped first: `box` of resize would let colours from outside bleed in.
    return np.asarray(
        image.crop(box).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    )
