"""Colour: a histogram of what stands before the background, and the colour words of two languages.

Both sides speak the same 32 named colours. A picture's pixels are shared out among them by their
distance in CIE L*a*b*; a text's colour words give the same 32 weights through a Gaussian of that
distance, so that "burgundy" also likes maroon a little.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

# name: (red, green, blue), then the words for it; two-character keys only where one would mislead.
_COLOURS: dict[str, tuple[tuple[int, int, int], str]] = {
    "black": ((20, 20, 22), "black jet 黑"),
    "white": ((245, 245, 245), "white 白"),
    "grey": ((135, 135, 135), "grey gray steel 灰"),
    "silver": ((190, 190, 195), "silver metallic chrome 银"),
    "charcoal": ((65, 65, 70), "charcoal graphite anthracite 炭灰 深灰 石墨"),
    "red": ((200, 25, 30), "red scarlet crimson 红"),
    "maroon": ((105, 20, 30), "maroon 栗色 褐红 枣红"),
    "burgundy": ((105, 20, 40), "burgundy wine bordeaux 酒红"),
    "orange": ((240, 120, 30), "orange tangerine 橙 橘"),
    "rust": ((170, 75, 35), "rust copper terracotta 铁锈 锈红 铜色 砖红"),
    "peach": ((245, 190, 155), "peach apricot salmon 桃色 杏色 蜜桃色"),
    "yellow": ((245, 215, 50), "yellow lemon 黄"),
    "mustard": ((205, 160, 40), "mustard ochre 芥末 姜黄"),
    "gold": ((205, 170, 80), "gold golden brass 金色"),
    "green": ((50, 140, 60), "green emerald 绿"),
    "lime": ((150, 205, 60), "lime chartreuse 青柠 柠檬绿 草绿 荧光绿"),
    "olive": ((105, 105, 55), "olive army 橄榄 军绿"),
    "khaki": ((170, 155, 115), "khaki taupe 卡其"),
    "teal": ((20, 125, 125), "teal petrol 青色 蓝绿 孔雀蓝"),
    "turquoise": ((60, 195, 195), "turquoise aqua cyan mint 绿松石 湖蓝 青绿 薄荷绿"),
    "blue": ((40, 80, 175), "blue cobalt 蓝"),
    "light blue": ((150, 190, 225), "light_blue sky_blue baby_blue 浅蓝 天蓝 淡蓝"),
    "navy": ((28, 35, 75), "navy navy_blue dark_blue indigo 藏青 海军蓝 深蓝 藏蓝"),
    "purple": ((115, 50, 130), "purple violet plum 紫"),
    "lavender": ((185, 165, 215), "lavender lilac mauve 薰衣草 淡紫 浅紫"),
    "magenta": ((200, 40, 140), "magenta fuchsia hot_pink 洋红 品红 玫红 桃红"),
    "pink": ((235, 140, 170), "pink rose 粉红 粉色 粉"),
    "brown": ((100, 60, 35), "brown chocolate 棕 褐 巧克力色"),
    "tan": ((200, 160, 115), "tan camel bronze 棕褐 驼 古铜 肤色"),
    "beige": ((222, 205, 175), "beige nude sand 米色 裸色 沙色"),
    "cream": ((242, 232, 205), "cream ivory off_white 米白 奶油 象牙"),
    "coffee": ((75, 50, 40), "coffee_brown dark_brown espresso 咖啡色 深棕"),
}

COLOURS = tuple(_COLOURS)
_LIGHTNESS_WEIGHT = 0.6  # light and shadow move L* more than they change the name of a colour
_PIXEL_SIGMA = 6.0
_WORD_SIGMA = 14.0
_BACKGROUND_STEP = 10.0
_OBJECT_STEP = 12.0
_SIDE = 64
_DUST = 0.02


_STEPS = np.arange(256) / 255
_LINEAR = np.where(_STEPS > 0.04045, ((_STEPS + 0.055) / 1.055) ** 2.4, _STEPS / 12.92)


def lab(rgb: NDArray[np.integer]) -> Floats:
    """Convert sRGB 0..255, whole numbers of shape [..., 3], to CIE L*a*b* under D65, L* made smaller."""
    c = _LINEAR[np.asarray(rgb)]
    to_xyz = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    # einsum, not @: the threads of numpy's BLAS would spin on the cores that the towers need.
    f = np.einsum("...i,ij->...j", c, to_xyz) / np.array([0.95047, 1, 1.08883])
    f = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([(116 * y - 16) * _LIGHTNESS_WEIGHT, 500 * (x - y), 200 * (y - z)], axis=-1)


_CENTRES = lab(np.array([rgb for rgb, _ in _COLOURS.values()]))


def histogram(image: Image.Image) -> NDArray[np.float32]:
    """Return how much of the object has which of the 32 colours; float32, shape [32], sum 1.

    Args:
        image: RGB, any size.
    """
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    pixels = lab(np.asarray(small))
    flat = pixels.reshape(-1, 3).astype(np.float32)
    centres = _CENTRES.astype(np.float32)
    # |p - c|^2 without |p|^2, which is the same for every colour and falls out below.
    distance = (centres**2).sum(axis=1) - 2 * np.einsum("pi,ci->pc", flat, centres)
    share = np.exp((distance.min(axis=1, keepdims=True) - distance) / np.float32(2 * _PIXEL_SIGMA**2))
    share /= share.sum(axis=1, keepdims=True)
    total = np.einsum("p,pc->c", _foreground(pixels).reshape(-1), share)
    shares: NDArray[np.float32] = (total / total.sum()).astype(np.float32)
    return shares


def object_box(image: Image.Image) -> tuple[float, float, float, float] | None:
    """Return where the object stands on a plain background: left, top, right, bottom as shares of the sides.

    Args:
        image: RGB, any size.

    Returns:
        The smallest box around what is unlike the background; None where the border is not plain or
        nothing stands before it.
    """
    unlike = _unlike(lab(np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))))
    if unlike is None:
        return None
    # A row or column counts from two pixels in a hundred: dust and noise of the sensor do not.
    rows = np.flatnonzero(unlike.mean(axis=1) > _DUST)
    columns = np.flatnonzero(unlike.mean(axis=0) > _DUST)
    if not rows.size or not columns.size:
        return None
    return (
        float(columns[0] / _SIDE),
        float(rows[0] / _SIDE),
        float((columns[-1] + 1) / _SIDE),
        float((rows[-1] + 1) / _SIDE),
    )


def _unlike(pixels: Floats) -> NDArray[np.bool_] | None:
    """Return which pixels are unlike a plain background, or None where there is none or nothing before it."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    background = np.median(border, axis=0)
    plain = (np.sqrt(((border - background) ** 2).sum(axis=1)) < _BACKGROUND_STEP).mean() > 0.6
    unlike: NDArray[np.bool_] = np.sqrt(((pixels - background) ** 2).sum(axis=2)) > _OBJECT_STEP
    return unlike if plain and unlike.mean() > 0.03 else None


def _foreground(pixels: Floats) -> Floats:
    """Weigh pixels by how central they are and, on a plain background, by being unlike it."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    dy, dx = (y - height / 2) / (0.35 * height), (x - width / 2) / (0.35 * width)
    centre: Floats = np.exp(-0.75 * (dy**2 + dx**2))
    unlike = _unlike(pixels)
    return centre if unlike is None else unlike * centre


@lru_cache(maxsize=1)
def _words() -> list[tuple[re.Pattern[str], int]]:
    """Patterns with their colour, longest first, so that 深蓝 is not read as 蓝."""
    found = []
    for colour, (_, words) in enumerate(_COLOURS.values()):
        for word in words.split():
            plain = word.replace("_", " ")
            found.append((plain, rf"\b{plain.replace(' ', '[ -]')}\b" if plain.isascii() else plain, colour))
    found.sort(key=lambda row: (-len(row[0]), row[0]))
    return [(re.compile(pattern), colour) for _, pattern, colour in found]


def text_colours(text: str) -> NDArray[np.float32]:
    """Return the weights of the 32 colours that a text names; float32, shape [32], unit or all zero."""
    rest, total = text.lower(), np.zeros(len(COLOURS))
    for pattern, colour in _words():
        rest, count = pattern.subn(" ", rest)
        if count:
            distance = ((_CENTRES - _CENTRES[colour]) ** 2).sum(axis=-1)
            total += np.exp(-distance / 2 / _WORD_SIGMA**2)
    norm = float(np.linalg.norm(total))
    return (total / norm if norm else total).astype(np.float32)
