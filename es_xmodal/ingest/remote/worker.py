"""What a machine that embeds for an ingest does; it has neither the index nor a store of its own."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

import numpy as np

from es_xmodal._version import __version__
from es_xmodal.catalog.product import Product
from es_xmodal.errors import EncoderError, EncoderServiceError, PictureError, XModalError
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.kept import KeptBytes
from es_xmodal.ingest.remote.package import Answer, Done, Failure, Piece, Recipe
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Loader, Row, Shot
from es_xmodal.ingest.video import Videos
from es_xmodal.ingest.words import OcrParts, ShotWords
from es_xmodal.media.picture import content_hash
from es_xmodal.media.source import PictureSource
from es_xmodal.vectors import Vector

T = TypeVar("T")

_NOBODY: Final = Product(id="", title="")
_KNOWN: Final[Vector] = np.zeros(0, np.float32)
"""Stands for a vector that the driver has."""


class Worker:
    """Decodes, reads and embeds, as the local engine does. Safe to use from two threads at once.

    Args:
        recipe: what the driver works with.
        threads: cores that it may use.

    Raises:
        EncoderError: the encoder cannot be loaded here, or is not the driver's.
        EncoderServiceError: an embedding service cannot be reached from here.
        MissingExtraError: a part is not installed here.
    """

    def __init__(self, recipe: Recipe, *, threads: int) -> None:
        self._recipe = recipe
        _same("es-xmodal", __version__, recipe.version)
        self._encoder = recipe.again.encoder(threads, bool(recipe.gpus))
        _same("encoder", self._encoder.info.fingerprint, recipe.encoder)
        self._reader = recipe.again.reader() if recipe.again.reader else None
        _same("reader of words", self._reader.fingerprint if self._reader else "", recipe.reader)
        self._pictures = PictureSource(recipe.root, recipe.limits)
        self._pool = ThreadPoolExecutor(threads + 1, "decode")
        # One batch at a time: while it is encoded, the next package is read and decoded.
        self._encoding = threading.Lock()

    def work(self, package: Sequence[Piece]) -> Answer:
        """Do what the driver asks for.

        Args:
            package: what is wanted of some rows.

        Returns:
            What became of them; a failure that concerns all rows is part of the answer.
        """
        tally = Tally()
        vectors: _Kept[Vector] = _Kept()
        words: _Kept[str] = _Kept()
        loader = self._loader(tally, vectors, words)
        rows = [_row(piece) for piece in package]
        try:
            with tally.time("load"):
                seen = list(self._pool.map(lambda shot: self._see(shot, loader), _shots(rows)))
            if not all(seen):
                return Answer(unseen=True)
            before = [list(row.shots) for row in rows]
            list(self._pool.map(loader.decode, rows))
            with self._encoding:
                Embedder(self._encoder, vectors, loader, tally).embed(rows)
        except XModalError as error:
            return Answer(failure=failure(error))
        return Answer(
            pieces=[_done(*one) for one in zip(package, before, rows, strict=True)],
            vectors=vectors.new,
            words=words.new,
            counts={name: count for name, count in tally.counts().items() if count},
            seconds={name: spent for name, spent in tally.seconds().items() if spent},
        )

    def _see(self, shot: Shot, loader: Loader) -> bool:
        """Read a picture's file; False where there is none here, or another one of that name."""
        data = shot.data
        if data is None:
            try:
                data = self._pictures.read(shot.ref)
            except PictureError:
                return False
            if content_hash(data) != shot.content:
                return False
        shot.data = loader.kept.keep(data)
        return True

    def _loader(self, tally: Tally, vectors: _Kept[Vector], words: _Kept[str]) -> Loader:
        recipe, encoder, reader = self._recipe, self._encoder, self._reader
        side = encoder.info.decode_side
        return Loader(
            encoder=encoder,
            text_fingerprint="",  # part of a row's hash, which is the driver's business
            store=vectors,
            pictures=self._pictures,
            tally=tally,
            known_marks=lambda ids: {},
            words=ShotWords(OcrParts(reader=reader, store=words), tally) if reader else None,
            combining=recipe.combining,
            videos=Videos(vectors, recipe.videos, max_side=side, prepare=encoder.prepare),
            kept=KeptBytes(sys.maxsize),  # a package is bounded already
        )


class _Kept(Generic[T]):
    """A store for one package: what is put there goes to the driver's."""

    def __init__(self) -> None:
        self.new: dict[bytes, T] = {}

    def get_many(self, keys: Sequence[bytes]) -> list[T | None]:
        """See `es_xmodal.store`."""
        return [self.new.get(key) for key in keys]

    def put_many(self, items: Mapping[bytes, T]) -> None:
        """See `es_xmodal.store`."""
        self.new.update(items)


def failure(error: XModalError) -> Failure:
    """Describe why a worker can do nothing.

    Args:
        error: what it met.

    Returns:
        The same, to be sent to the driver.
    """
    return Failure(
        message=f"worker on {socket.gethostname()}: {error.message}",
        hint=error.hint,
        service=isinstance(error, EncoderServiceError),
    )


def _same(what: str, here: str, there: str) -> None:
    if here != there:
        raise EncoderError(
            f"the {what} here is {here or 'absent'}, the ingest's is {there or 'absent'}",
            hint="install the same version of es-xmodal, with the same model files, on every machine",
        )


def _row(piece: Piece) -> Row:
    return Row(
        product=_NOBODY,
        document={},
        shots=piece.shots,
        hash="",
        text=piece.text or "",
        text_vector=_KNOWN if piece.text is None else None,
    )


def _shots(rows: Sequence[Row]) -> list[Shot]:
    return [shot for row in rows for shot in row.shots]


def _done(piece: Piece, shots: Sequence[Shot], row: Row) -> Done:
    return Done(
        shots=[shot.frames or [shot] for shot in shots],
        text_vector=None if piece.text is None else row.text_vector,
        text_failure=row.text_failure,
    )
