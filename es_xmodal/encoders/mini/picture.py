"""The side that sees: preprocessing of one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.encoders.mini.colour import histogram, object_box

SIDE = 224
VIEWS = 2
_CENTRE = 0.7
_WIDE_CENTRE = 0.85
_LONG = 2.0  # of a picture longer than that, a square from the middle shows too little
# A large photo is first reduced cheaply, then resampled with full care.
_REDUCING_GAP = 3.0
_SPARE = 1.5  # pixels a side of a reduced picture for each that a view shows, at least


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture as the tower reads it.

    Args:
        views: uint8, shape [2, 224, 224, 3]: the object, and the picture's centre in the mirror.
        colours: float32, shape [32], sum 1.
    """

    views: NDArray[np.uint8]
    colours: NDArray[np.float32]


def prepare_picture(image: Image.Image) -> Prepared:
    """Make the two views and count the colours.

    The first view is the object where it stands on a plain background, so that a small article on a wide
    table is seen as large as on the shop's own picture; else 85 % of the shorter side, from the middle.
    A product is the same product in the mirror, and often small in the middle of its photo: the mean of
    both views sees it more steadily than either.

    Args:
        image: RGB, upright, at least 1 x 1.
    """
    reduced = _reduced(image)
    fitted = _fitted(reduced)
    views = np.stack([_object(image, reduced, fitted), _centre(reduced, _CENTRE)[:, ::-1]])
    return Prepared(views=views, colours=histogram(fitted))


def _reduced(image: Image.Image) -> Image.Image:
    """Halve (or so) a large picture once, so that each view is resampled from fewer pixels."""
    factor = int(min(image.size) * _CENTRE / (_SPARE * SIDE))
    return image.reduce(factor) if factor > 1 else image


def _fitted(image: Image.Image) -> Image.Image:
    """Make the longer side the tower's."""
    width, height = image.size
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)


def _object(image: Image.Image, reduced: Image.Image, fitted: Image.Image) -> NDArray[np.uint8]:
    """Return the object on the square of its border colour, or a wider view where none stands out.

    The object may be small, so it is cut from the picture as it came.
    """
    box = object_box(fitted)
    width, height = image.size
    if box is None and max(width, height) > _LONG * min(width, height):
        return _on_square(np.asarray(fitted))
    if box is None:
        return _centre(reduced, _WIDE_CENTRE)
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(left + 1, int(box[2] * width)), max(top + 1, int(box[3] * height))
    return _on_square(np.asarray(_fitted(image.crop((left, top, right, bottom)))))


def _on_square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put the pixels in the middle of the square, on the median colour of their border."""
    height, width = pixels.shape[:2]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    square = np.empty((SIDE, SIDE, 3), np.uint8)
    square[:] = np.median(border, axis=0).astype(np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _centre(image: Image.Image, share: float) -> NDArray[np.uint8]:
    """Return the central square, that share of the shorter side, at the tower's size."""
    width, height = image.size
    side = max(1, int(min(width, height) * share))
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    # Cropped first: `box` of resize would let colours from outside bleed in.
    return np.asarray(
        image.crop(box).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    )
