"""The words on the pictures of rows: read once per picture content, in threads, kept in the store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from es_xmodal.errors import PictureError
from es_xmodal.index.meta import OcrMeta
from es_xmodal.ingest.report import Tally
from es_xmodal.media.ocr import READ_SIDE, Word, WordReader, pack_words, unpack_words
from es_xmodal.media.picture import decode_picture
from es_xmodal.store.base import Keeps
from es_xmodal.store.texts import text_key
from es_xmodal.text import grams

if TYPE_CHECKING:
    from es_xmodal.ingest.rows import Shot

Words = tuple[Word, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OcrParts:
    """What reads the words on pictures, and where they are kept."""

    reader: WordReader
    store: Keeps[str]

    @property
    def meta(self) -> OcrMeta:
        """What the index says about them."""
        return OcrMeta(reader=self.reader.fingerprint, grams=grams.FORMAT)


class ShotWords:
    """Gives pictures the words that stand on them. Safe to use from several threads.

    Args:
        parts: what reads a picture, and what was read before.
        tally: counters and stop watches.
    """

    def __init__(self, parts: OcrParts, tally: Tally) -> None:
        self._reader = parts.reader
        self._store = parts.store
        self._tally = tally
        self._lock = threading.Lock()
        self._reading: dict[str, Future[Words]] = {}
        """Content hash -> the words that another thread is about to know."""

    @property
    def fingerprint(self) -> str:
        """Of the reader."""
        return self._reader.fingerprint

    def find(self, shots: Sequence[Shot]) -> None:
        """Look up what was read before.

        Args:
            shots: readable pictures; those that are known have their words afterwards.

        Raises:
            StoreError: the store cannot be read.
        """
        found = self._store.get_many([self._key(shot.content) for shot in shots]) if shots else []
        for shot, text in zip(shots, found, strict=True):
            if text is not None:
                shot.words = unpack_words(text)
        self._tally.add("reused_ocr", sum(text is not None for text in found))

    def read(self, shot: Shot, data: bytes) -> None:
        """Read the words of one picture; a picture that cannot be read notes why, and stays a picture.

        Args:
            shot: a readable picture without words.
            data: its bytes.

        Raises:
            StoreError: the store cannot be used.
            MissingExtraError: the reader is not installed.
        """
        try:
            shot.words = self._words(shot, data)
        except PictureError as error:
            shot.words = ()
            shot.words_failure = ("ocr", error.code, error.message)

    def _words(self, shot: Shot, data: bytes) -> Words:
        """Rows of one batch may share a picture: the first thread reads it, the others wait."""
        with self._lock:
            running = self._reading.get(shot.content)
            mine = self._reading[shot.content] = Future() if running is None else running
        if running is not None:
            words = running.result()
            self._tally.add("reused_ocr")
            return words
        try:
            mine.set_result(self._read(shot, data))
        except BaseException as error:  # also what stops the run: the waiting threads must not wait for ever
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._reading[shot.content]
        return mine.result()

    def _read(self, shot: Shot, data: bytes) -> Words:
        key = self._key(shot.content)
        (known,) = self._store.get_many([key])  # another row may have brought it since this one was loaded
        if known is not None:
            self._tally.add("reused_ocr")
            return unpack_words(known)
        with self._tally.time("ocr"):
            # Decoded for itself: what the encoder gets is smaller than what letters need.
            words = self._reader.read(decode_picture(data, source=shot.ref, max_side=READ_SIDE))
        self._tally.add("ocr_images")
        self._store.put_many({key: pack_words(words)})
        return words

    def _key(self, content: str) -> bytes:
        return text_key(fingerprint=self._reader.fingerprint, content=content)
