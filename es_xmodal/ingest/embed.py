"""Vectors for rows: encoded once, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import EncoderError
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Loader, Row, Shot
from es_xmodal.store.base import Keeps
from es_xmodal.vectors import Matrix, Vector


class Embedder:
    """Gives rows the vectors that they lack.

    Args:
        encoder: the model.
        store: where vectors are kept.
        loader: knows the store's keys.
        tally: counters and stop watches.
    """

    def __init__(self, encoder: Encoder, store: Keeps[Vector], loader: Loader, tally: Tally) -> None:
        self._encoder = encoder
        self._store = store
        self._loader = loader
        self._tally = tally

    def embed(self, rows: Sequence[Row]) -> None:
        """Encode what is missing, each picture and text once, and keep it.

        Args:
            rows: as `Loader.decode` returned them; unchanged ones are left alone.

        Raises:
            StoreError: the store cannot be written.
        """
        rows = [row for row in rows if not row.unchanged]
        self._pictures([shot for row in rows for shot in row.undecoded])
        self._texts([row for row in rows if row.text_vector is None and row.text_failure is None])

    def titles(self, titles: Sequence[str]) -> dict[str, Matrix]:
        """Encode titles as queries are encoded, from the store where it knows them.

        Args:
            titles: any texts.

        Returns:
            Space -> float32, shape [n, dim], unit rows.

        Raises:
            EncoderError: one of them cannot be encoded.
            StoreError: the store cannot be used.
        """
        import numpy as np

        spaces = [space.name for space in self._encoder.info.spaces_of("text")]
        keys = {name: [self._loader.text_key(title, name) for title in titles] for name in spaces}
        known = {name: self._store.get_many(keys[name]) for name in spaces}
        missing = [at for at in range(len(titles)) if any(known[name][at] is None for name in spaces)]
        if missing:
            with self._tally.time("encode_texts"):
                found = self._encoder.encode_texts([titles[at] for at in missing])
            self._tally.add("encoded_texts", len(missing))
            new: dict[bytes, Vector] = {}
            for name in spaces:
                for row, at in enumerate(missing):
                    known[name][at] = new[keys[name][at]] = found[name][row]
            self._store.put_many(new)
        return {name: np.stack([v for v in known[name] if v is not None]) for name in spaces}

    def _pictures(self, shots: Sequence[Shot]) -> None:
        # An earlier batch may have brought the picture into the store since this row was loaded.
        self._tally.add("reused_vectors", len(self._loader.find(shots)))
        first: dict[str, Shot] = {}
        for shot in shots:
            if not shot.vectors:
                first.setdefault(shot.content, shot)
        unique = list(first.values())
        with self._tally.time("encode_images"):
            found = _encode(self._encoder.encode_pictures, [shot.prepared for shot in unique])
        new: dict[bytes, Vector] = {}
        for shot, result in zip(unique, found, strict=True):
            if isinstance(result, EncoderError):
                shot.failure = ("encode", "no_vector", result.message)
                continue
            shot.vectors = dict(result)
            new |= {self._loader.picture_key(shot, name): vector for name, vector in result.items()}
        self._tally.add("encoded_images", sum(bool(shot.vectors) for shot in unique))
        self._keep(new)
        for shot in shots:
            twin = first.get(shot.content, shot)
            self._tally.add("reused_vectors", twin is not shot and bool(twin.vectors))
            shot.prepared = None
            shot.vectors, shot.failure = twin.vectors or shot.vectors, twin.failure or shot.failure

    def _texts(self, rows: Sequence[Row]) -> None:
        space = self._loader.text_space
        if space is None or not rows:
            return
        self._loader.find_texts(rows)  # as for pictures
        rows = [row for row in rows if row.text_vector is None]
        texts = list(dict.fromkeys(row.text for row in rows))
        with self._tally.time("encode_texts"):
            found = dict(zip(texts, _encode(self._encoder.encode_texts, texts), strict=True))
        new: dict[bytes, Vector] = {}
        for text, result in found.items():
            if not isinstance(result, EncoderError):
                new[self._loader.text_key(text, space)] = result[space]
        self._tally.add("encoded_texts", len(new))
        good = sum(not isinstance(found[row.text], EncoderError) for row in rows)
        self._tally.add("reused_vectors", good - len(new))
        self._keep(new)
        for row in rows:
            result = found[row.text]
            if isinstance(result, EncoderError):
                row.text_failure = result.message
            else:
                row.text_vector = result[space]

    def _keep(self, new: Mapping[bytes, Vector]) -> None:
        if new:
            with self._tally.time("store"):
                self._store.put_many(new)


def _encode(
    encode: Callable[[Sequence[Any]], dict[str, Matrix]], items: Sequence[Any]
) -> list[dict[str, Vector] | EncoderError]:
    """Encode together; where that fails, one by one, so that one bad item costs only itself."""
    if not items:
        return []
    try:
        found = encode(items)
    except EncoderError as error:
        if len(items) == 1:
            return [error]
        return [_encode(encode, [item])[0] for item in items]
    return [{name: rows[at] for name, rows in found.items()} for at in range(len(items))]
