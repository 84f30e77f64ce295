"""Every mode that Pillow decodes to, as upright RGB with 8 bits a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

_ORIENTATION_TAG: Final = 0x0112
_ALPHA_MODES: Final = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


def to_rgb(image: Image) -> Image:
    """Return the picture in mode RGB.

    Transparent pixels become white, as on a shop's page. Wide greyscale (16 or 32 bits, float) is
    scaled to 8 bits; Pillow's own conversion would clip it to white.

    Args:
        image: a loaded picture of any mode.

    Returns:
        A new picture of the same size.
    """
    from PIL import Image as Images

    if image.mode.startswith(("I", "F")):
        return _narrowed(image).convert("RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        front = _with_alpha(image)
        white = Images.new("RGBA", front.size, (255, 255, 255, 255))
        return Images.alpha_composite(white, front).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def upright(rgb: Image, original: Image) -> Image:
    """Return `rgb` turned as the EXIF orientation of the loaded original says."""
    turn = _transposition(original)
    return rgb if turn is None else rgb.transpose(turn)


def _with_alpha(image: Image) -> Image:
    """Some modes reach RGBA only through another one."""
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGBA")


def _narrowed(image: Image) -> Image:
    """Scale wide greyscale to 8 bits.

    Integers that fit 16 bits are taken as 0 to 65535, whatever they reach; anything else is stretched
    from its smallest to its largest value.
    """
    import numpy as np
    from PIL import Image as Images

    values = np.nan_to_num(np.array(image, dtype=np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I") and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    values -= low
    values *= 255.0 / ((high - low) or 1.0)
    return Images.fromarray(np.clip(np.rint(values, out=values), 0, 255).astype(np.uint8))


def _transposition(image: Image) -> Transpose | None:
    """Return the turn that makes the picture upright, or None."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # metadata that cannot be read says nothing about the pixels, which are good
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation) if isinstance(orientation, int) else None
