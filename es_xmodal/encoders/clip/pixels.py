"""From a decoded picture to what a picture tower reads, in Pillow and numpy alone.

The reference libraries resize, cut and normalise with the same few steps and differ in details: how an odd
border is halved, and in which order a byte becomes a float. `PixelRecipe` holds the details, so that one
implementation gives the bits of each library, in threads, without torch, and wherever a model runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Resize: TypeAlias = Literal["shortest", "longest", "squash"]
Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

LONGEST_RATIO = 32
"""A picture longer than this many times its breadth is first cut to its middle; what is cut is never seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelRecipe:
    """How a picture becomes the input of a tower.

    Args:
        resize: `shortest` side to `size`, then the middle; `longest` side to it, then a border; or `squash`.
        size: height and width after resizing (`squash`), else their target for the side in question.
        crop: height and width of the middle that is kept, filled up where the picture is smaller; None: all.
        resample: Pillow's number of the filter: 2 bilinear, 3 bicubic, 1 Lanczos.
        fill: value of the border.
        halving: how half of an odd number of pixels is rounded: `floor`, or `even` as Python's `round`.
        scale: what a byte is multiplied by (1/255), or None: it is divided by 255.
        mean: by channel, subtracted after scaling.
        std: by channel, divided by after that.
    """

    resize: Resize
    size: tuple[int, int]
    crop: tuple[int, int] | None
    resample: int
    fill: int = 0
    halving: Literal["floor", "even"]
    scale: float | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what comes out."""
        return self.crop or self.size

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> PixelRecipe:
        """Make one from `as_dict`, also after a trip through JSON."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return cls(**values)

    def pixels(self, image: Image) -> Bytes:
        """Resize and cut.

        Args:
            image: mode RGB, any size.

        Returns:
            uint8, shape [3, height, width].
        """
        image = self._middle(image)
        height, width = self._resized(image.height, image.width)
        resized = np.asarray(image.resize((width, height), resample=self.resample))
        cut = resized if self.crop is None else self._cut(resized, self.crop)
        return np.ascontiguousarray(cut.transpose(2, 0, 1))

    def table(self) -> Floats:
        """Return the value of every byte in every channel: float32, shape [3, 256], as the library rounds."""
        steps = np.arange(256)
        if self.scale is None:
            scaled = steps.astype(np.float32) / np.float32(255)
        else:
            scaled = (steps.astype(np.float64) * self.scale).astype(np.float32)
        mean, std = np.array(self.mean, np.float32)[:, None], np.array(self.std, np.float32)[:, None]
        return np.ascontiguousarray((scaled[None] - mean) / std)

    def normalised(self, pixels: Bytes) -> Floats:
        """Turn bytes into what the tower reads.

        Args:
            pixels: uint8, shape [n, 3, height, width].

        Returns:
            float32, the same shape.
        """
        table, found = self.table(), np.empty(pixels.shape, np.float32)
        for channel in range(3):
            np.take(table[channel], pixels[:, channel], out=found[:, channel], mode="clip")
        return found

    def _middle(self, image: Image) -> Image:
        """Cut what would be enlarged to hundreds of megabytes, of which only a square is kept."""
        if self.resize != "shortest" or self.crop is None:
            return image
        width, height = image.size
        longest = LONGEST_RATIO * min(width, height)
        if max(width, height) <= longest:
            return image
        left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
        return image.crop((left, top, width - left, height - top))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize == "squash":
            return self.size
        if self.resize == "longest":
            ratio = max(height / self.size[0], width / self.size[1])
            return max(1, round(height / ratio)), max(1, round(width / ratio))
        if self.size[0] != self.size[1]:
            ratio = min(height / self.size[0], width / self.size[1])
            return round(height / ratio), round(width / ratio)
        short, long = min(height, width), max(height, width)
        longer = int(self.size[0] * long / short)
        return (self.size[0], longer) if height <= width else (longer, self.size[0])

    def _cut(self, image: Bytes, crop: tuple[int, int]) -> Bytes:
        """Cut or fill up the middle; shape [h, w, 3]."""
        missing = [max(0, want - have) for want, have in zip(crop, image.shape[:2], strict=True)]
        if any(missing):
            before = [-(-gap // 2) if self.halving == "floor" else gap // 2 for gap in missing]
            around = [(first, gap - first) for first, gap in zip(before, missing, strict=True)]
            image = np.pad(image, (*around, (0, 0)), constant_values=self.fill)
        start = [self._half(have - want) for want, have in zip(crop, image.shape[:2], strict=True)]
        return image[start[0] : start[0] + crop[0], start[1] : start[1] + crop[1]]

    def _half(self, number: int) -> int:
        return number // 2 if self.halving == "floor" else round(number / 2)


def agrees(recipe: PixelRecipe, reference: Callable[[Image], NDArray[Any]]) -> bool:
    """Say whether a recipe gives the bits of the library's own preprocessing, on pictures of odd shapes.

    Args:
        recipe: to be tried.
        reference: picture to float32, shape [3, height, width], by the library.
    """
    from PIL import Image as Images

    source = np.random.default_rng(11)
    # Three columns too many: half of three is where the two ways of rounding differ.
    for height, width in ((37, 53), (91, 40), (recipe.size[0], recipe.size[1] + 3)):
        image = Images.fromarray(source.integers(0, 256, (height, width, 3), np.uint8))
        try:
            wanted = reference(image)
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        if not np.array_equal(recipe.normalised(recipe.pixels(image)[None])[0], wanted):
            return False
    return True
