"""Bytes to an upright RGB picture, or one `PictureError`.

What a picture is gets judged by its content, never by its name, and only by the decoders in `FORMATS`:
none of them runs code (SVG, EPS, PDF) or follows a reference. The number of pixels is checked in the
header, before any pixel is decoded. A file that ends too early is refused: Pillow would fill the rest
with grey, and grey would be embedded.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final

from es_xmodal.errors import PictureError
from es_xmodal.media.pixels import to_rgb, upright

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's names of the formats that are read; AVIF only where this Pillow has it."""


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """What a picture may cost.

    Args:
        max_bytes: of the encoded picture.
        max_pixels: width times height, by its header.
        min_side: the shorter side, in pixels.
        video_max_bytes: of a video that stands among pictures.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    min_side: int = 1
    video_max_bytes: int = 200 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture.

    Args:
        image: mode RGB, upright, white where the original was transparent.
        content_hash: SHA-256 of the original bytes, hexadecimal.
        source: where it came from, for messages.
    """

    image: Image
    content_hash: str
    source: str


DEFAULT_LIMITS: Final = PictureLimits()


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of the bytes, hexadecimal: the name of this content in the vector store."""
    return hashlib.sha256(data).hexdigest()


def decode_picture(
    data: bytes,
    *,
    source: str,
    limits: PictureLimits = DEFAULT_LIMITS,
    max_side: int | None = None,
    roughly: bool = False,
) -> Picture:
    """Decode a picture.

    Args:
        data: the encoded picture.
        source: where it came from, for messages.
        limits: what it may cost.
        max_side: make it smaller so that its longer side is at most this; a JPEG is then decoded at a
            fraction of its size where that is still twice as large. None keeps every pixel.
        roughly: it is enough that the longer side is at most twice `max_side`: whoever resizes the picture
            anyway is spared a careful resampling that would cost more than the decoding.

    Returns:
        The picture; of an animation the first frame.

    Raises:
        PictureError: with code `empty`, `too_many_bytes`, `too_many_pixels`, `too_small`,
            `not_a_picture`, `truncated` or `broken`.
    """
    name = printable(source)
    if not data:
        raise PictureError(f"{name} is empty", code="empty")
    if len(data) > limits.max_bytes:
        raise PictureError(
            f"{name} has {len(data)} bytes, more than {limits.max_bytes}", code="too_many_bytes"
        )
    with _quiet_pillow():
        image = _decoded(data, name, limits, max_side, roughly)
    return Picture(image=image, content_hash=content_hash(data), source=source)


def check_header(data: bytes, *, source: str, limits: PictureLimits) -> None:
    """Look at the beginning of a picture, before the rest of it is here.

    Args:
        data: its first bytes.
        source: where it comes from, for messages.
        limits: what it may cost.

    Raises:
        PictureError: with code `too_many_pixels` or `too_small`. A beginning that tells no size is let
            through: the whole picture is judged by `decode_picture`.
    """
    from PIL import Image

    name = printable(source)
    with _quiet_pillow():
        try:
            _check_size(_webp_canvas(data), name, limits)
            with _opened(data) as image:
                size = image.size
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise PictureError(f"{name} has too many pixels: {error}", code="too_many_pixels") from error
        except Exception:  # a cut-off header makes decoders raise nearly anything, and tells nothing
            return
        _check_size(size, name, limits)


def printable(source: str) -> str:
    """Return a name that is safe in a message: short, one line, nothing that cannot be printed."""
    safe = "".join(char if char.isprintable() else "\ufffd" for char in source[:200])
    return safe if len(safe) <= 100 else f"{safe[:60]}...{safe[-30:]}"


def _decoded(data: bytes, name: str, limits: PictureLimits, max_side: int | None, roughly: bool) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        _check_size(_webp_canvas(data), name, limits)
        with _opened(data) as image:
            _check_size(image.size, name, limits)
            if max_side is not None and image.format in ("JPEG", "MPO"):
                least = max_side if roughly else 2 * max_side
                image.draft(None, (least, least))
            image.load()
            rgb = upright(to_rgb(image), image)
        if max_side is not None and (not roughly or max(rgb.size) > 2 * max_side):
            rgb.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        rgb.info.clear()  # the orientation in it is done, and nobody shall turn the picture twice
        return rgb
    except PictureError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise PictureError(f"{name} is not a picture", code="not_a_picture", hint=f"one of {known}") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} has too many pixels: {error}", code="too_many_pixels") from error
    except Exception as error:  # decoders answer hostile bytes with nearly every exception there is
        raise _broken(name, error) from error


def _opened(data: bytes) -> Image:
    from PIL import Image

    Image.init()  # registers every format, so that AVIF is known where it is there
    return Image.open(BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])


def _check_size(size: tuple[int, int] | None, name: str, limits: PictureLimits) -> None:
    if size is None:
        return
    width, height = size
    if width * height > limits.max_pixels:
        raise PictureError(
            f"{name} has {width} x {height} pixels, more than {limits.max_pixels}", code="too_many_pixels"
        )
    if min(size) < max(1, limits.min_side):
        raise PictureError(f"{name} has only {width} x {height} pixels", code="too_small")


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Read the canvas of a WebP: Pillow reserves the memory for it before it tells the size."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def _broken(name: str, error: Exception) -> PictureError:
    reason = printable(str(error)) or type(error).__name__
    if "truncated" in reason or isinstance(error, EOFError):
        return PictureError(f"{name} ends too early: {reason}", code="truncated")
    return PictureError(f"{name} cannot be decoded: {reason}", code="broken")


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters = warnings.catch_warnings()


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings (odd metadata; sizes, which are checked here) away from the caller.

    `warnings.catch_warnings` belongs to the whole process, so that threads that each enter and leave it
    would restore each other's filters: the first one in enters it, the last one out leaves it.
    """
    global _quiet_users, _quiet_filters  # noqa: PLW0603 - the filters that they count are global too
    with _quiet_lock:
        if _quiet_users == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0:
                _quiet_filters.__exit__(None, None, None)
