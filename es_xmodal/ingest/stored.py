"""Vectors of the version that rows come from, where its encoder stays: what the store lacks is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from elasticsearch import Elasticsearch

from es_xmodal.catalog.images import plain_ref
from es_xmodal.cluster.search import search
from es_xmodal.encoders.base import JOINT, VISUAL
from es_xmodal.index.target import Target
from es_xmodal.ingest.report import Tally
from es_xmodal.vectors import Vector

if TYPE_CHECKING:
    from es_xmodal.ingest.rows import Loader, Row, Shot

_TIMEOUT_S: Final = 60.0
_TEXT: Final = "text_vector"


class StoredVectors:
    """Gives rows that were read from an index the vectors that the index holds of them.

    A picture that can be read must be the one that the vector was made of: the row's hash tells. One that
    cannot be read any more keeps its vector; the next ingest of the catalogue looks at it again.

    Args:
        client: see `connect`.
        target: the version that the rows come from, built with the encoder in use.
        tally: counts the vectors.
    """

    def __init__(self, client: Elasticsearch, target: Target, tally: Tally) -> None:
        self._client = client
        self._target = target
        self._tally = tally
        spaces = {JOINT: f"images.{JOINT}", VISUAL: f"images.{VISUAL}"}
        self._spaces = {name: path for name, path in spaces.items() if path in target.vectors}

    def fill(self, loader: Loader, rows: Sequence[Row]) -> None:
        """Give rows the vectors that they lack.

        Args:
            loader: has looked into the store already; what is certain is put there.
            rows: changed ones.

        Raises:
            StoreError: the store cannot be written.
            ClusterError: the cluster cannot be reached or refuses.
        """
        wanting = {row.product.id: row for row in rows if self._is_wanting(loader, row)}
        if not wanting:
            return
        former = replace(loader, text_fingerprint=self._target.meta.text_fingerprint)
        new: dict[bytes, Vector] = {}
        for hit in self._ask(list(wanting)):
            row, fields = wanting[hit["_id"]], hit.get("fields", {})
            if fields.get("row_hash", [""])[0] == former.rehash(row):
                new |= self._same(loader, row, fields)
            self._keep(loader, row, _pictures(fields))
            row.hash = loader.rehash(row)
        if new:
            loader.store.put_many(new)

    def _is_wanting(self, loader: Loader, row: Row) -> bool:
        text = row.text_vector is None and loader.text_space is not None and _TEXT in self._target.vectors
        lost = any(shot.failure is not None for shot in row.shots)
        return text or (bool(self._spaces) and (lost or bool(row.undecoded)))

    def _ask(self, ids: list[str]) -> list[dict[str, Any]]:
        paths = [*self._spaces.values(), *([_TEXT] if _TEXT in self._target.vectors else [])]
        body = {
            "query": {"ids": {"values": ids}},
            "size": len(ids),
            "_source": False,
            "fields": ["row_hash", "images.ref", *paths],
            "track_total_hits": False,
        }
        hits: list[dict[str, Any]] = search(self._client, self._target.index, body, timeout_s=_TIMEOUT_S)[
            "hits"
        ]["hits"]
        return hits

    def _same(self, loader: Loader, row: Row, fields: Mapping[str, Any]) -> dict[bytes, Vector]:
        """The document was made of this very text and these very pictures."""
        new: dict[bytes, Vector] = {}
        space = loader.text_space
        if row.text_vector is None and space is not None and fields.get(_TEXT):
            row.text_vector = np.asarray(fields[_TEXT], np.float32)
            new[loader.text_key(row.text, space)] = row.text_vector
            self._tally.add("index_vectors")
        pictures = _pictures(fields)
        for shot in row.undecoded:
            vectors = self._vectors(pictures.get(shot.ref, []))
            if len(vectors) == 1 and not shot.video:
                shot.vectors = vectors[0]
                new |= {loader.picture_key(shot, name): one for name, one in vectors[0].items()}
                self._tally.add("index_vectors")
        return new

    def _keep(self, loader: Loader, row: Row, pictures: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """A picture that cannot be read has the vectors that it had; of a video, those of its frames."""
        for at, shot in enumerate(row.shots):
            there = [one for ref, some in pictures.items() if plain_ref(ref) == shot.ref for one in some]
            vectors = self._vectors(there)
            if shot.failure is None or shot.weight <= 0 or not vectors:
                continue
            refs = [str(one["ref"][0]) for one in there]
            parts = [
                _kept(shot, ref, one, part, len(vectors))
                for part, (ref, one) in enumerate(zip(refs, vectors, strict=True))
            ]
            if loader.words:
                parts[0].words_failure = shot.failure
            if len(parts) == 1:
                row.shots[at] = parts[0]
            else:
                shot.failure, shot.frames = None, parts
            self._tally.add("index_vectors", len(parts))
        row.shots = [part for shot in row.shots for part in shot.frames or [shot]]

    def _vectors(self, there: Sequence[Mapping[str, Any]]) -> list[dict[str, Vector]]:
        """One entry a picture; nothing where one of them lacks a space."""
        found = [
            {name: np.asarray(one[name], np.float32) for name in self._spaces if one.get(name)}
            for one in there
        ]
        return found if all(len(one) == len(self._spaces) for one in found) else []


def _kept(shot: Shot, ref: str, vectors: dict[str, Vector], part: int, parts: int) -> Shot:
    # No content: the hash of the row is one that no ingest of the catalogue arrives at.
    return replace(
        shot,
        ref=ref,
        content=f"as-indexed:{ref}",
        failure=None,
        vectors=vectors,
        words=(),
        weight=shot.weight / parts,
        part=part,
        frames=[],
    )


def _pictures(fields: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in fields.get("images", ()):
        if one.get("ref"):
            found[str(one["ref"][0])].append(one)
    return found
