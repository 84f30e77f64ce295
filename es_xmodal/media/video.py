"""A video as pictures of a product: some frames, evenly spread, without the black and the repeated ones.

What a video is gets judged by its content. Only the containers and codecs that are named here are opened,
each by its own reader: FFmpeg knows formats that are lists of other files, and those are never guessed at.
Nothing but the given bytes is read. What a video may cost is bounded by its size, its length, its pixels and
the number of frames that are decoded on the way to those that are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from es_xmodal.errors import PictureError
from es_xmodal.media.picture import Picture, content_hash, printable

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_FRAMES: Final = 8
CODECS: Final = frozenset(
    {"av1", "h263", "h264", "hevc", "libdav1d", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "prores"}
    | {"vp8", "vp9", "libvpx", "libvpx-vp9"}
)
"""Decoders that are used; FFmpeg has hundreds, and old ones are where its faults are."""

HEAD_BYTES: Final = 32
"""Bytes that tell whether a file is a video."""

_STILL_BRANDS: Final = frozenset(
    {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"jxl "}
)
"""Pictures in the container of a video."""
_MOV_ATOMS: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide"})
_DECODED_A_FRAME: Final = 300
"""Frames decoded from the nearest key frame on to one that is wanted, at most."""
_THUMB: Final = 32
_DARK: Final = 20.0
"""Mean brightness below which a frame shows nothing, out of 255 (black in video is often 16)."""
_FLAT: Final = 10.0
"""And its standard deviation: a lamp in a dark room is a picture."""
_SAME: Final = 3.0
"""Mean difference of two frames below which the later one adds nothing, out of 255."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoLimits:
    """What a video may cost, and what is taken from it.

    Args:
        frames: taken at most.
        max_duration_s: of the video.
        max_pixels: width times height of one frame.
    """

    frames: int = DEFAULT_FRAMES
    max_duration_s: float = 3600.0
    max_pixels: int = 3840 * 2400


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame.

    Args:
        picture: upright; its hash is that of the video and the time.
        time_s: seconds from the start of the video, rounded to milliseconds.
    """

    picture: Picture
    time_s: float


DEFAULT_VIDEO_LIMITS: Final = VideoLimits()


def is_video(data: bytes) -> bool:
    """Whether these are, or begin as, the bytes of a video; its first `HEAD_BYTES` are enough to tell."""
    return bool(_container(data))


def frame_ref(ref: str, time_s: float) -> str:
    """Return the reference of a frame, as W3C media fragments write it: `clip.mp4#t=12.5`."""
    return f"{ref}#t={time_s:.3f}".rstrip("0").rstrip(".")


def frame_content(content: str, time_s: float) -> str:
    """Return what the vector store calls a frame: the content hash of the video, and the time."""
    return content_hash(f"{content}#t={time_s:.3f}".encode())


def video_frames(
    data: bytes,
    *,
    source: str,
    limits: VideoLimits = DEFAULT_VIDEO_LIMITS,
    max_side: int | None = None,
) -> list[Frame]:
    """Take frames of a video, evenly spread; black ones and repetitions are left out.

    Args:
        data: the encoded video; its size is bounded by the one that read it.
        source: where it came from, for messages.
        limits: what it may cost.
        max_side: make frames smaller so that their longer side is at most this; None keeps every pixel.

    Returns:
        At least one frame, at most `limits.frames`, in order.

    Raises:
        PictureError: with code `video_extra` (what reads videos is not installed), `too_many_pixels`,
            `too_long`, `no_video` (a container without a moving picture), `unsupported_codec`, `truncated`
            or `broken`.
    """
    name = printable(source)
    with _opened(data, name) as container:
        found = list(_seen(container, name, limits, max_side))
    content = content_hash(data)
    return [
        Frame(
            picture=Picture(
                image=image, content_hash=frame_content(content, time_s), source=frame_ref(source, time_s)
            ),
            time_s=time_s,
        )
        for time_s, image in _telling(found)
    ]


def video_frame(
    data: bytes,
    time_s: float,
    *,
    source: str,
    limits: VideoLimits = DEFAULT_VIDEO_LIMITS,
    max_side: int | None = None,
) -> Image:
    """Take one frame of a video.

    Args:
        data: the encoded video; its size is bounded by the one that read it.
        time_s: seconds from its start; beyond the end it is the last frame.
        source: where it came from, for messages.
        limits: what it may cost.
        max_side: as for `video_frames`.

    Returns:
        The frame that is shown at that time, upright.

    Raises:
        PictureError: as `video_frames` does.
    """
    name = printable(source)
    with _opened(data, name) as container:
        stream = _stream(container, name, limits)
        start, duration = _times(container, stream, name, limits)
        # A frame's time was rounded to milliseconds, so the frame itself may begin a little later.
        frame = _frame_at(container, stream, start + min(max(0.0, time_s), duration) + 0.0005)
        if frame is None:
            raise PictureError(f"{name} has no frame at {time_s:.1f} s", code="truncated")
        return _picture(frame, max_side)


def _container(data: bytes) -> str:
    """FFmpeg's name of the reader for these bytes; empty where they are no video."""
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    if data[4:8] in _MOV_ATOMS:
        return "" if data[4:8] == b"ftyp" and data[8:12] in _STILL_BRANDS else "mov"
    return ""


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Any]:
    """The container for a block; whatever FFmpeg says in it becomes a `PictureError`."""
    if find_spec("av") is None:
        raise PictureError(
            f"{name} is a video, and what reads videos is not installed: pip install 'es-xmodal[video]'",
            code="video_extra",
        )
    try:
        with _open(data) as container:
            yield container
    except PictureError:
        raise
    except Exception as error:  # FFmpeg answers hostile bytes with nearly every error that there is
        reason = printable(str(error)) or type(error).__name__
        raise PictureError(f"{name} cannot be decoded: {reason}", code="broken") from error


def _open(data: bytes) -> Any:
    import av

    # Named, not guessed; and a file in it that points to another file is not followed.
    form = _container(data)
    options = {"enable_drefs": "0", "use_absolute_path": "0"} if form == "mov" else {}
    return av.open(BytesIO(data), mode="r", format=form, options=options, metadata_errors="replace")


def _seen(
    container: Any, name: str, limits: VideoLimits, max_side: int | None
) -> Iterator[tuple[float, Image]]:
    """Time and picture of the wanted frames, each once."""
    stream = _stream(container, name, limits)
    start, duration = _times(container, stream, name, limits)
    last = -1.0
    for number in range(limits.frames):
        wanted = start + duration * (number + 0.5) / limits.frames
        frame = _frame_at(container, stream, wanted)
        if frame is None:
            raise PictureError(f"{name} ends too early: no frame at {wanted - start:.1f} s", code="truncated")
        time_s = max(0.0, round(float(frame.pts * stream.time_base) - start, 3))
        if time_s > last:
            last = time_s
            yield time_s, _picture(frame, max_side)


def _stream(container: Any, name: str, limits: VideoLimits) -> Any:
    """The moving picture; covers and thumbnails inside a container are none."""
    streams = [one for one in container.streams.video if not _is_cover(one)]
    if not streams:
        raise PictureError(f"{name} holds no moving picture", code="no_video")
    stream = streams[0]
    codec = stream.codec_context
    if codec.name not in CODECS:
        raise PictureError(f"{name} is coded as {codec.name}, which is not read", code="unsupported_codec")
    if codec.width * codec.height > limits.max_pixels:
        raise PictureError(
            f"{name} has {codec.width} x {codec.height} pixels, more than {limits.max_pixels}",
            code="too_many_pixels",
        )
    # Again for a stream that grows on the way; and one thread, since pictures are decoded in several.
    codec.options = {"max_pixels": str(limits.max_pixels)}
    codec.thread_count = 1
    return stream


def _is_cover(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _times(container: Any, stream: Any, name: str, limits: VideoLimits) -> tuple[float, float]:
    """Where the moving picture starts, and how long it is, in seconds."""
    start = float(stream.start_time * stream.time_base) if stream.start_time else 0.0
    duration = _duration_s(container, stream)
    if duration > limits.max_duration_s:
        raise PictureError(
            f"{name} is {duration:.0f} s long, more than {limits.max_duration_s:.0f}", code="too_long"
        )
    return start, duration


def _duration_s(container: Any, stream: Any) -> float:
    """Length of the moving picture, without decoding; where the file does not say it, its packets do."""
    import av

    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return float(container.duration) / av.time_base
    times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
    return float((max(times) - min(times)) * stream.time_base) if times else 0.0


def _frame_at(container: Any, stream: Any, wanted_s: float) -> Any:
    """The frame that is shown at a time; None where the file has none there.

    Seeking lands on the key frame before; the frames from there on are decoded, and no more than the limit.
    """
    container.seek(int(wanted_s / float(stream.time_base)), stream=stream, backward=True)
    shown = None
    for number, frame in enumerate(container.decode(stream)):
        if frame.pts is None or frame.is_corrupt:
            continue
        if shown is not None and float(frame.pts * stream.time_base) > wanted_s:
            break
        shown = frame
        if number >= _DECODED_A_FRAME:
            break
    return shown


def _picture(frame: Any, max_side: int | None) -> Image:
    """Upright RGB, small enough."""
    width, height = frame.width, frame.height
    scale = 1.0 if max_side is None else min(1.0, max_side / max(width, height))
    image: Image = frame.to_image(width=max(1, round(width * scale)), height=max(1, round(height * scale)))
    turned = round(getattr(frame, "rotation", 0)) % 360  # counter-clockwise, as Pillow turns
    return image.rotate(turned, expand=True) if turned else image


def _telling(found: Sequence[tuple[float, Image]]) -> list[tuple[float, Image]]:
    """Without frames that show nothing or what was seen; where all are like that, the brightest one."""
    import numpy as np

    small = [np.asarray(image.resize((_THUMB, _THUMB)), dtype=np.float32) for _, image in found]
    kept: list[int] = []
    for at, pixels in enumerate(small):
        dark = pixels.mean() < _DARK and pixels.std() < _FLAT
        if not dark and all(float(np.abs(pixels - small[one]).mean()) >= _SAME for one in kept):
            kept.append(at)
    if not kept:
        kept = [int(np.argmax([pixels.mean() for pixels in small]))]
    return [found[at] for at in kept]
