"""What a searcher loads when it first needs it: encoder, tokeniser, reader of words on pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable

from es_xmodal.encoders.base import Encoder
from es_xmodal.index.target import Target
from es_xmodal.media.ocr import WordReader
from es_xmodal.text.analyzer import Analyzer


class LazyParts:
    """Loads each part once. Safe to use from several threads.

    Args:
        encoder_for: an index's SPEC to an encoder.
        analyzer_for: gives the tokeniser.
        reader_for: gives the reader of words on pictures.
    """

    def __init__(
        self,
        encoder_for: Callable[[str], Encoder],
        analyzer_for: Callable[[], Analyzer],
        reader_for: Callable[[], WordReader],
    ) -> None:
        self._encoder_for = encoder_for
        self._analyzer_for = analyzer_for
        self._reader_for = reader_for
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._encoder_of = ""
        """The SPEC of the index that asked for it; another one may stand in."""
        self._analyzer: Analyzer | None = None
        self._reader: WordReader | None = None

    def encoder(self, target: Target) -> Encoder:
        """Return the encoder of an index.

        Raises:
            EncoderError: it cannot be loaded.
            FingerprintMismatchError: it is another one than the index was built with.
        """
        with self._lock:
            wanted = target.meta.encoder.spec
            if self._encoder is None or self._encoder_of != wanted:
                self._encoder, self._encoder_of = self._encoder_for(wanted), wanted
            encoder = self._encoder
        target.meta.check_encoder(encoder.info.fingerprint)
        return encoder

    def analyzer(self) -> Analyzer:
        """Return the tokeniser."""
        with self._lock:
            if self._analyzer is None:
                self._analyzer = self._analyzer_for()
            return self._analyzer

    def reader(self) -> WordReader:
        """Return the reader of words on pictures.

        Raises:
            MissingExtraError: it is not installed.
        """
        with self._lock:
            if self._reader is None:
                self._reader = self._reader_for()
            return self._reader

    def close(self) -> None:
        """Release the encoder."""
        with self._lock:
            if self._encoder is not None:
                self._encoder.close()
            self._encoder = None
