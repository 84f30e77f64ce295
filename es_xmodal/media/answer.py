"""What a picture server's answer is worth: taken, refused, or asked for again."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Final

import httpx

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import PictureLimits, check_header
from es_xmodal.media.video import HEAD_BYTES, is_video

_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSED_TYPES: Final = ("text/", "application/json", "application/xml", "application/javascript")
_HEADER_BYTES: Final = 64 * 1024
"""Enough of a picture to know its size in pixels."""


class Again(Exception):
    """Not now; `error` is what it comes to when there is no attempt left.

    Args:
        error: for the reject.
        retry_after_s: what the host asks to wait; None where it says nothing.
        silent: the host gave no whole answer.
        final: it is not worth waiting for.
    """

    def __init__(
        self,
        error: PictureError,
        *,
        retry_after_s: float | None = None,
        silent: bool = False,
        final: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after_s = retry_after_s
        self.silent = silent
        self.final = final


def moved_to(answer: httpx.Response) -> httpx.Request | None:
    """Return the request that a redirect leads to; None where the answer is no redirect."""
    return answer.next_request if answer.has_redirect_location else None


def judge(answer: httpx.Response, name: str, *, longest_pause_s: float, clock: Callable[[], float]) -> None:
    """Look at status and headers before the body is read.

    Args:
        answer: with its body unread.
        name: of the picture, for messages.
        longest_pause_s: a host that asks for a longer one is given up.
        clock: seconds since 1970.

    Raises:
        PictureError: it is no picture, or there is none; with code `missing`, `refused`, `http_NNN`,
            `busy`, `not_a_picture` or `encoded`.
        Again: the host is busy or in trouble.
    """
    status = answer.status_code
    if status in _BUSY:
        code = "busy" if status in (429, 503) else f"http_{status}"
        error = PictureError(f"picture {name!r}: the host answers {status}", code=code)
        pause_s = _retry_after_s(answer.headers.get("retry-after"), clock())
        if pause_s is not None and pause_s > longest_pause_s:
            error = PictureError(f"{error.message} and asks to wait {pause_s:.0f} s", code=code)
            raise Again(error, final=True)
        raise Again(error, retry_after_s=pause_s)
    if status in (404, 410):
        raise PictureError(f"picture {name!r} does not exist: the host answers {status}", code="missing")
    if status in (401, 403):
        raise PictureError(f"picture {name!r}: the host refuses with {status}", code="refused")
    if status != httpx.codes.OK:
        raise PictureError(f"picture {name!r}: the host answers {status}", code=f"http_{status}")
    kind = answer.headers.get("content-type", "").strip().lower()
    if kind.startswith(_REFUSED_TYPES):
        raise PictureError(f"picture {name!r} is {kind.partition(';')[0]}", code="not_a_picture")
    if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise PictureError(
            f"picture {name!r} comes compressed, though that was not asked for", code="encoded"
        )


def read_body(answer: httpx.Response, name: str, limits: PictureLimits, deadline: float) -> bytes:
    """Read the body, and stop as soon as it is too much.

    Args:
        answer: with its body unread.
        name: of the picture, for messages.
        limits: bytes, and pixels as far as the picture's header tells.
        deadline: by `time.monotonic`.

    Returns:
        The bytes, at least one.

    Raises:
        PictureError: with code `too_many_bytes`, `too_many_pixels`, `too_small` or `empty`.
        Again: it came too slowly.
    """
    announced = answer.headers.get("content-length", "")
    most = max(limits.max_bytes, limits.video_max_bytes)
    if announced.isdecimal() and int(announced) > most:
        raise _too_many(name, int(announced), most)
    body = BytesIO()
    looked = False
    for piece in answer.iter_raw():
        body.write(piece)
        size = body.tell()
        if size >= HEAD_BYTES:
            video = is_video(body.getbuffer()[:HEAD_BYTES].tobytes())
            most = limits.video_max_bytes if video else limits.max_bytes
        if size > most:
            raise _too_many(name, size, most)
        if not looked and size >= _HEADER_BYTES:
            looked = True
            check_header(body.getvalue(), source=name, limits=limits)
        if time.monotonic() > deadline:
            raise Again(PictureError(f"picture {name!r} came too slowly", code="timeout"), silent=True)
    data = body.getvalue()
    if not data:
        raise PictureError(f"picture {name!r} is empty", code="empty")
    return data


def _too_many(name: str, size: int, most: int) -> PictureError:
    return PictureError(
        f"picture {name!r} has {size} bytes or more, the limit is {most}", code="too_many_bytes"
    )


def _retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds, from seconds or from a date (RFC 9110, 10.2.3); None where there is neither."""
    if not value:
        return None
    value = value.strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
