"""What travels between the driver of an ingest and the workers that embed for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.registry import load_encoder
from es_xmodal.index.combining import Combining
from es_xmodal.ingest.rows import Shot
from es_xmodal.media.ocr import WordReader
from es_xmodal.media.picture import PictureLimits
from es_xmodal.media.video import VideoLimits
from es_xmodal.vectors import Vector


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """How another process makes what an ingest works with."""

    encoder: Callable[[int, bool], Encoder]
    """Loads the encoder of the ingest, for so many cores, and for a GPU or not; can be pickled."""
    reader: Callable[[], WordReader] | None = None
    """Loads the reader of words on pictures; None: they are not read."""


def load_again(spec: str, options: EncoderOptions, cores: int, gpu: bool) -> Encoder:
    """Load the encoder of the ingest on another machine; see `Again.encoder`.

    Args:
        spec: as the driver was given it.
        options: likewise.
        cores: that the worker has.
        gpu: whether it has one, and that alone.

    Raises:
        EncoderError: it cannot be loaded there.
        EncoderServiceError: it is a service that cannot be reached from there.
        MissingExtraError: it needs a part that is not installed there.
    """
    device = options.device.partition(":")[0] if gpu else "cpu"
    return load_encoder(spec, replace(options, device=device, threads=options.threads or cores))


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that a worker needs to know before its first package."""

    version: str
    """Of this package, on the driver."""
    again: Again
    gpus: int
    """Of each worker."""
    encoder: str
    """Fingerprint of the driver's encoder."""
    reader: str
    """Fingerprint of the driver's reader of words; empty where there is none."""
    root: Path
    """The folder that pictures' paths start from, as the driver names it."""
    limits: PictureLimits
    videos: VideoLimits
    combining: Combining


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What is wanted of one row; a list of them, about one batch of the encoder, is a package."""

    shots: list[Shot]
    """Pictures to look at; those without `data` are read where the worker stands."""
    text: str | None
    """The text to embed; None: its vector is there, or none is wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What became of a `Piece`."""

    shots: list[list[Shot]]
    """For each picture itself, or the frames of the video that it is."""
    text_vector: Vector | None
    text_failure: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a worker can do nothing at all; ends the ingest."""

    message: str
    hint: str
    service: bool
    """Whether an embedding service is out of order, and not what was asked of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of a package."""

    pieces: list[Done] = field(default_factory=list)
    vectors: Mapping[bytes, Vector] = field(default_factory=dict)
    """New entries for the vector store."""
    words: Mapping[bytes, str] = field(default_factory=dict)
    """New entries for the store of texts."""
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    unseen: bool = False
    """The worker does not see the files that the driver sees: nothing was done, the bytes must be sent."""
    failure: Failure | None = None
