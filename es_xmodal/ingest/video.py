"""A video among the pictures of a row: its frames, as pictures of the same product.

Which frames of a video tell something is known only once it is decoded. The times of those are kept in the
vector store beside the vectors themselves, so that a second ingest decodes and encodes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from es_xmodal.ingest.rows import Shot
from es_xmodal.media.video import Frame, VideoLimits, frame_content, frame_ref, video_frames
from es_xmodal.store.base import Keeps
from es_xmodal.store.vectors import vector_key
from es_xmodal.vectors import Vector

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture

_FORMAT: Final = "video-frames-1"
"""Raised whenever other frames of the same video would be taken."""


class Videos:
    """Turns videos into pictures. Safe to use from several threads.

    Args:
        store: where vectors are kept.
        limits: what a video may cost, and how many frames are taken.
        max_side: pixels a side that the encoder needs.
        prepare: of the encoder.
    """

    def __init__(
        self, store: Keeps[Vector], limits: VideoLimits, *, max_side: int, prepare: Callable[[Picture], Any]
    ) -> None:
        self._store = store
        self._limits = limits
        self._max_side = max_side
        self._prepare = prepare

    @property
    def frames(self) -> int:
        """Frames that are taken at most."""
        return self._limits.frames

    def known(self, shot: Shot) -> list[Shot]:
        """Return the frames of a video that was looked at before; empty where it was not.

        Raises:
            StoreError: the store cannot be read.
        """
        (times,) = self._store.get_many([self._key(shot.content)])
        return [] if times is None else _shots(shot, [round(float(time), 3) for time in times])

    def look_at(self, shot: Shot, data: bytes) -> list[Shot]:
        """Decode a video.

        Args:
            shot: the video.
            data: its bytes.

        Returns:
            Its frames, prepared for the encoder.

        Raises:
            PictureError: it cannot be used.
            StoreError: the store cannot be written.
        """
        frames: list[Frame] = video_frames(
            data, source=shot.ref, limits=self._limits, max_side=self._max_side
        )
        times = [frame.time_s for frame in frames]
        self._store.put_many({self._key(shot.content): np.array(times, np.float32)})
        shots = _shots(shot, times)
        for one, frame in zip(shots, frames, strict=True):
            one.prepared = self._prepare(frame.picture)
        return shots

    def _key(self, content: str) -> bytes:
        space = f"{_FORMAT}:{self._limits.frames}"
        return vector_key(fingerprint="", space=space, kind="picture", content=content)


def _shots(video: Shot, times: Sequence[float]) -> list[Shot]:
    """Pictures of one place in the row; in a mean of the product's pictures all count as one."""
    return [
        Shot(
            number=video.number,
            ref=frame_ref(video.ref, time_s),
            content=frame_content(video.content, time_s),
            role=video.role,
            own_weight=video.own_weight,
            weight=video.weight / len(times),
            words=(),  # the words on frames are not read
            part=part,
            stale=video.stale if part == 0 else None,
            file=video.content,
        )
        for part, time_s in enumerate(times)
    ]
