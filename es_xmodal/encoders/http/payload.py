"""Pictures on their way out, vectors on their way in."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from es_xmodal.errors import EncoderError

if TYPE_CHECKING:
    from PIL.Image import Image

PictureFormat = Literal["png", "jpeg"]

_ROOM: Final = 1 << 20
_CHARS_A_NUMBER: Final = 32


def picture_text(image: Image, form: PictureFormat) -> str:
    """Return a picture as base64 of PNG (every pixel as it is), or of JPEG (a fifth of the size)."""
    out = BytesIO()
    if form == "png":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=95, subsampling=0)
    return base64.b64encode(out.getvalue()).decode("ascii")


def answer_limit(rows: int, dims: int) -> int:
    """Bytes that an answer with so many rows of so many numbers may have, written out in JSON."""
    return _ROOM + rows * dims * _CHARS_A_NUMBER


def read_rows(found: Any, dim: int, *, what: str) -> NDArray[np.floating]:
    """Read vectors.

    Args:
        found: a list of lists of numbers, or base64 of little-endian float32, row after row.
        dim: numbers a row.
        what: service and space, for messages.

    Returns:
        Shape [n, dim'], as it came; the base class of encoders compares it with what was asked for.

    Raises:
        EncoderError: it is neither.
    """
    if isinstance(found, str):
        try:
            data = base64.b64decode(found, validate=True)
        except (binascii.Error, ValueError):
            raise EncoderError(f"{what}: base64 that cannot be read") from None
        if len(data) % (4 * dim):
            raise EncoderError(f"{what}: {len(data)} bytes are no rows of {dim} numbers")
        return np.frombuffer(data, dtype="<f4").reshape(-1, dim)
    try:
        rows = np.array(found, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise EncoderError(f"{what}: not rows of numbers, all of the same length") from None
    if rows.ndim != 2:
        raise EncoderError(f"{what}: not rows of numbers, all of the same length")
    return rows
