"""What the base says of pictures and texts: asked once, kept in the vector store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from es_xmodal.encoders.base import FEATURES, Encoder, clip_text
from es_xmodal.errors import PictureError
from es_xmodal.media.picture import content_hash, decode_picture
from es_xmodal.media.source import PictureSource
from es_xmodal.store.vectors import VectorStore, vector_key
from es_xmodal.vectors import MAX_DIM, Matrix, Vector

_TOGETHER = 64
_MAX_WORKERS = 4

OnProgress = Callable[[str, int, int], None]
"""Called with what is encoded, how many are done, and how many there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What the base says of some items.

    Args:
        vectors: space -> float32, shape [n, dim].
        features: float32, shape [n, features].
    """

    vectors: Mapping[str, Matrix]
    features: Matrix

    def take(self, rows: np.ndarray) -> Said:
        """Return some of the items, in that order."""
        return Said(
            vectors={name: matrix[rows] for name, matrix in self.vectors.items()},
            features=self.features[rows],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What became of pictures that were asked for.

    Args:
        rows: of each reference: its row in `said`, or -1 where it cannot be used.
        said: what the base says of the pictures, each content once.
        contents: content hash of each row.
        failures: reason of the first pictures that cannot be used.
    """

    rows: np.ndarray
    said: Said
    contents: Sequence[str]
    failures: Sequence[str]


class Features:
    """Asks the base, and the store before it.

    Args:
        encoder: the base.
        store: where vectors and features are kept.
        roots: folders that pictures are looked for in, the first that has one wins.
        on_progress: see `OnProgress`.
    """

    def __init__(
        self, encoder: Encoder, store: VectorStore, roots: Sequence[Path], on_progress: OnProgress
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._sources = [(root.resolve(), PictureSource(root)) for root in dict.fromkeys(roots)]
        self._on_progress = on_progress

    def pictures(self, refs: Sequence[str]) -> Seen:
        """Say what the base says of pictures.

        Args:
            refs: paths below one of the roots, or `data:` URIs.

        Raises:
            EncoderError: the base fails.
            StoreError: the store cannot be used.
        """
        failures: list[str] = []
        contents: dict[str, str] = {}
        for ref in dict.fromkeys(refs):
            try:
                contents[ref] = content_hash(self._read(ref))
            except PictureError as error:
                failures.append(error.message)
        where = {content: ref for ref, content in reversed(contents.items())}

        def prepared(content: str) -> Any:
            side = self._encoder.info.decode_side
            try:
                data = self._read(where[content])
                picture = decode_picture(data, source=where[content], max_side=side, roughly=True)
                return self._encoder.prepare(picture)
            except PictureError as error:
                failures.append(error.message)
                return None

        unique = list(dict.fromkeys(contents.values()))
        kept, said = self._known_or_new(unique, "picture", prepared, self._encoder.picture_features)
        rows = {content: row for row, content in enumerate(kept)}
        return Seen(
            rows=np.array([rows.get(contents.get(ref, ""), -1) for ref in refs], np.int64),
            said=said,
            contents=kept,
            failures=failures,
        )

    def texts(self, texts: Sequence[str]) -> Said:
        """Say what the base says of texts, one row each.

        Raises:
            EncoderError: the base fails.
            StoreError: the store cannot be used.
        """
        cut = [clip_text(text) for text in texts]
        unique = list(dict.fromkeys(cut))
        _, said = self._known_or_new(unique, "text", lambda text: text, self._encoder.text_features)
        rows = {text: row for row, text in enumerate(unique)}
        return said.take(np.array([rows[text] for text in cut], np.int64))

    def _read(self, ref: str) -> bytes:
        failure: PictureError | None = None
        for root, source in self._sources:
            try:
                return source.read(_below(ref, root))
            except PictureError as error:
                failure = failure if failure is not None and error.code == "missing" else error
        raise failure or PictureError(f"picture {ref!r} does not exist", code="missing")

    def _known_or_new(
        self,
        contents: Sequence[str],
        kind: Literal["picture", "text"],
        prepare: Callable[[str], Any],
        ask: Callable[[Sequence[Any]], tuple[dict[str, Matrix], Matrix]],
    ) -> tuple[list[str], Said]:
        """The contents that could be prepared, and what is said of them."""
        spaces = [space.name for space in self._encoder.info.spaces_of(kind)]
        names = [*spaces, FEATURES]
        found: dict[str, list[Vector]] = {}
        missing: list[str] = []
        for content, vectors in self._stored(contents, names, kind):
            if all(vector is not None for vector in vectors):
                found[content] = [vector for vector in vectors if vector is not None]
            else:
                missing.append(content)
        self._on_progress(kind, len(found), len(contents))
        with ThreadPoolExecutor(min(_MAX_WORKERS, (os.cpu_count() or 1) + 1), "adapt") as pool:
            for start in range(0, len(missing), _TOGETHER):
                group = missing[start : start + _TOGETHER]
                ready = [
                    (content, one)
                    for content, one in zip(group, pool.map(prepare, group), strict=True)
                    if one is not None
                ]
                vectors_of, features = ask([one for _, one in ready])
                for row, (content, _) in enumerate(ready):
                    found[content] = [*(vectors_of[name][row] for name in spaces), features[row]]
                self._keep({content: found[content] for content, _ in ready}, names, kind)
                self._on_progress(kind, len(found), len(contents))
        kept = [content for content in contents if content in found]
        if not kept:
            none, no_features = ask([])
            return [], Said(vectors=none, features=no_features)
        columns = [np.stack([found[content][at] for content in kept]) for at in range(len(names))]
        return kept, Said(vectors=dict(zip(spaces, columns[:-1], strict=True)), features=columns[-1])

    def _stored(
        self, contents: Sequence[str], names: Sequence[str], kind: Literal["picture", "text"]
    ) -> Iterator[tuple[str, list[Vector | None]]]:
        for start in range(0, len(contents), 1024):
            group = contents[start : start + 1024]
            keys = [self._key(content, name, kind) for content in group for name in names]
            vectors = self._store.get_many(keys)
            for at, content in enumerate(group):
                yield content, vectors[at * len(names) : (at + 1) * len(names)]

    def _keep(
        self, found: Mapping[str, Sequence[Vector]], names: Sequence[str], kind: Literal["picture", "text"]
    ) -> None:
        self._store.put_many(
            {
                self._key(content, name, kind): vector
                for content, vectors in found.items()
                for name, vector in zip(names, vectors, strict=True)
                if len(vector) <= MAX_DIM  # the store takes no more; features may be wider
            }
        )

    def _key(self, content: str, name: str, kind: Literal["picture", "text"]) -> bytes:
        fingerprint = self._encoder.info.fingerprint
        return vector_key(fingerprint=fingerprint, space=name, kind=kind, content=content)


def _below(ref: str, root: Path) -> str:
    """An absolute path as one below the root, where it is; every other reference as it is."""
    if not ref.startswith("/") and not (len(ref) > 2 and ref[1] == ":"):
        return ref
    try:
        return Path(ref).resolve().relative_to(root).as_posix()
    except (OSError, ValueError):
        return ref
