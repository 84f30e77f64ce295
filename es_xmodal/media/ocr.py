"""The words that stand on a picture, read by RapidOCR (PP-OCRv4 in ONNX Runtime, models inside its wheel).

This lies in `media/` and not in `encoders/`: what is read off a picture is a fact about it, like its size,
and no vector. An index with words from this reader can have any encoder, and no encoder knows of it.

The reader needs the extra `ocr`; its parts are imported when the first picture is to be read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from queue import LifoQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from es_xmodal.catalog.clean import clean_line
from es_xmodal.errors import MissingExtraError, PictureError, SettingsError
from es_xmodal.resources import silence_onnxruntime

if TYPE_CHECKING:
    from PIL.Image import Image

    from es_xmodal.media.picture import Picture

_log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Raised when the same picture gives other words than before."""
READ_SIDE: Final = 1280
"""Longer side at which a picture is read, in pixels; larger ones are made smaller (docs/ocr.md)."""
_SHORT_SIDE: Final = 736
"""Smaller pictures are enlarged until their shorter side is this long, the size the detector knows."""
_LEAST_SIDE: Final = 16
"""No letter can be told on a strip narrower than this, and the detector would enlarge it without end."""
_LEAST_SCORE: Final = 0.5
_MAX_WORDS: Final = 512
_PACKAGE: Final = "rapidocr-onnxruntime"
_TOO_NEW: Final = (3, 13)
_LOGGERS: Final = ("RapidOCR", "OrtInferSession", "download_file")


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One piece of text as it stands on a picture: a line or a word, however the reader cut it.

    Attributes:
        text: cleaned, one line, not empty.
        score: how sure the reader is, .5 to 1.
    """

    text: str
    score: float


class WordReader(Protocol):
    """Reads words off pictures; safe to use from several threads."""

    @property
    def fingerprint(self) -> str:
        """`ocr-` and 16 hexadecimal digits; two readers with the same one read the same words."""

    def read(self, picture: Picture) -> tuple[Word, ...]:
        """Read one picture.

        Args:
            picture: decoded with `max_side=READ_SIDE` or larger.

        Returns:
            The words from top to bottom; none where none are seen.

        Raises:
            PictureError: with code `not_read`, the reader failed on this picture.
            MissingExtraError: the reader is not installed.
            SettingsError: it is installed and cannot be loaded.
        """


class RapidReader:
    """RapidOCR with bounded threads and bounded size of what it reads.

    Args:
        engines: how many pictures are read at once; each engine keeps its own models (docs/ocr.md).
        threads: cores that one picture is read with.
    """

    def __init__(self, *, engines: int = 1, threads: int = 1) -> None:
        self._threads = threads
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(engines):
            self._free.put(None)
        self._load_lock = threading.Lock()

    @cached_property
    def fingerprint(self) -> str:
        """Of the package's version, its models' bytes, and how pictures are brought to it."""
        folder = _models()
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.onnx"))]
        parts = [FORMAT, metadata.version(_PACKAGE), digests, READ_SIDE, _SHORT_SIDE, _LEAST_SCORE]
        return f"ocr-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def read(self, picture: Picture) -> tuple[Word, ...]:
        """See `WordReader.read`."""
        image = _at_reading_size(picture.image)
        if image is None:
            return ()
        with self._engine() as engine:
            try:
                found, _ = engine(_bgr(image), use_cls=False)
            except Exception as error:  # OpenCV, Shapely, pyclipper and ONNX Runtime each have their own
                raise PictureError(
                    f"the words on {picture.source} cannot be read: {type(error).__name__}: {error}",
                    code="not_read",
                ) from error
        words = (
            Word(text=clean_line(str(text)).strip(), score=float(score)) for _, text, score in found or ()
        )
        return tuple(word for word in words if word.text)[:_MAX_WORDS]

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        """An engine that nobody else uses meanwhile: it keeps state between its steps."""
        engine = self._free.get()
        try:
            if engine is None:
                with self._load_lock:  # loading sets up loggers, which all engines share
                    engine = _load_engine(self._threads)
            yield engine
        finally:
            self._free.put(engine)


def load_reader(*, engines: int = 1, threads: int = 1) -> WordReader:
    """Return the reader of words; its models are loaded with the first picture.

    Args:
        engines: see `RapidReader`.
        threads: see `RapidReader`.

    Raises:
        MissingExtraError: it is not installed.
    """
    _models()
    return RapidReader(engines=engines, threads=threads)


def pack_words(words: tuple[Word, ...]) -> str:
    """Write words as one text, for the store."""
    return json.dumps([[word.text, round(word.score, 4)] for word in words], ensure_ascii=True)


def unpack_words(text: str) -> tuple[Word, ...]:
    """Read what `pack_words` wrote."""
    return tuple(Word(text=str(one), score=float(score)) for one, score in json.loads(text))


def _models() -> Path:
    try:
        package = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        if sys.version_info >= _TOO_NEW:
            raise SettingsError(
                f"words on pictures: {_PACKAGE} has no release for Python 3.{sys.version_info.minor}",
                hint="use Python 3.12 or older, or do without --ocr (--weight ocr=0 in a search)",
            ) from None
        raise MissingExtraError("words on pictures", extra="ocr") from None
    return Path(str(package.locate_file("rapidocr_onnxruntime/models")))


def _load_engine(threads: int) -> Any:
    silence_onnxruntime()
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "rapidocr_onnxruntime":
            raise MissingExtraError("words on pictures", extra="ocr") from None
        # Its OpenCV needs system libraries that a bare container may lack.
        raise SettingsError(
            f"words on pictures cannot be read on this machine: {error}",
            hint="without a screen, replace opencv-python by opencv-python-headless",
        ) from error
    import cv2

    cv2.setNumThreads(1)  # a pool of its own as large as the machine would stand in the encoder's way
    engine = RapidOCR(
        text_score=_LEAST_SCORE,
        intra_op_num_threads=threads,
        inter_op_num_threads=1,
        # The picture comes at the size at which it is to be looked at; the detector shall not enlarge it.
        det_limit_side_len=32,
    )
    for name in _LOGGERS:  # they print everything to standard error
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
    _log.debug("the reader of words is loaded, %d threads", threads)
    return engine


def _at_reading_size(image: Image) -> Image | None:
    """The picture enlarged or reduced to the size at which it is read; None where nothing can be read.

    However long and narrow a picture is, what the detector sees has at most `READ_SIDE` squared pixels.
    """
    from PIL import Image as Images

    width, height = image.size
    scale = min(READ_SIDE / max(width, height), max(1.0, _SHORT_SIDE / min(width, height)))
    size = round(width * scale), round(height * scale)
    if min(size) < _LEAST_SIDE:
        return None
    if size == image.size:
        return image
    how = Images.Resampling.BICUBIC if scale > 1 else Images.Resampling.LANCZOS
    return image.resize(size, how)


def _bgr(image: Image) -> Any:
    """Rows of pixels in OpenCV's order, blue first."""
    import numpy as np

    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
