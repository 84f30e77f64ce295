"""Small videos, made by PyAV: a colour for each part of the time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np

RED, GREEN, BLUE, BLACK = (220, 30, 30), (30, 200, 30), (30, 30, 220), (0, 0, 0)
Colour = tuple[int, int, int]


def video(
    colours: Sequence[Colour],
    *,
    form: str = "mp4",
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    frames_each: int = 10,
    rate: int = 10,
) -> bytes:
    """A video that shows one colour after the other, each for `frames_each / rate` seconds.

    A disc keeps its place in each of them, so that a frame is more than one colour.
    """
    import av

    out = BytesIO()
    with av.open(out, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for colour in colours:
            for _ in range(frames_each):
                frame = av.VideoFrame.from_ndarray(picture(colour, size), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def picture(colour: Colour, size: tuple[int, int]) -> Any:
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = colour
    if colour != BLACK:
        pixels[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 5) ** 2] = (240, 240, 240)
    return pixels
