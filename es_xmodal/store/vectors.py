"""Vectors by content, on disk, for all indices of one machine.

An entry is found by what was embedded (a hash of the picture's bytes, or the text) and by what embedded
it (the encoder's fingerprint and space), so that a price edit, a re-index or a second index encodes
nothing again. The file is LMDB: any number of processes may read and write it at once, and a process
that is killed leaves the last complete state behind.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from es_xmodal.errors import StoreError
from es_xmodal.store.base import Store, check_keys
from es_xmodal.store.keys import Key, Owner
from es_xmodal.vectors import MAX_DIM, Vector

_LOG = logging.getLogger(__name__)

_MAGIC: Final = b"exv"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<3sBI")
_CHECKSUM: Final = struct.Struct("<I")


@dataclass(frozen=True, kw_only=True)
class StoreStats:
    """How full the store is.

    Args:
        entries: vectors in it.
        used_bytes: what they take on disk.
    """

    entries: int
    used_bytes: int


def vector_key(*, fingerprint: str, space: str, kind: Literal["picture", "text"], content: str) -> Key:
    """Return the key of a vector: 32 bytes.

    Args:
        fingerprint: of the encoder.
        space: name of the encoder's space.
        kind: what was embedded.
        content: SHA-256 of the picture's bytes, or the text itself.
    """
    return Key.of([fingerprint, space, kind, content], Owner(fingerprint=fingerprint, kind=kind))


class VectorStore(Store):
    """The vectors that this machine has computed before; a context manager.

    Use it from any thread and any process; a process that was forked from one with an open store may go on
    using it. Every value carries a checksum: one that is damaged counts as missing, and storing it again
    repairs it.
    """

    def get_many(self, keys: Sequence[bytes]) -> list[Vector | None]:
        """Return the vector of each key, or None where there is none.

        Args:
            keys: of `vector_key`.

        Returns:
            float32, shape [dim] each, in the order of the keys.

        Raises:
            StoreError: the store cannot be read.
        """
        check_keys(keys, of="vector store")
        values = self._ledger.get_many(keys)
        return [
            None if value is None else self._checked(key, value)
            for key, value in zip(keys, values, strict=True)
        ]

    def put_many(self, items: Mapping[bytes, Vector]) -> None:
        """Store vectors, all or none of them; what has the same key is replaced.

        Args:
            items: key to vector, float32, shape [dim].

        Raises:
            StoreError: the store cannot be written, or a vector is not finite.
        """
        check_keys(items, of="vector store")
        if items:
            self._ledger.put_many([(key, _packed(vector)) for key, vector in items.items()])

    def stats(self) -> StoreStats:
        """Return how full the store is.

        Raises:
            StoreError: the store cannot be read.
        """
        entries, used_bytes = self._environment.stats()
        return StoreStats(entries=entries, used_bytes=used_bytes)

    @staticmethod
    def is_whole(value: bytes) -> bool:
        """Whether every bit of a stored value is as it was written."""
        return _unpacked(value) is not None

    def _checked(self, key: bytes, value: bytes) -> Vector | None:
        vector = _unpacked(value)
        if vector is None:
            _LOG.warning("entry %s of the vector store is damaged; it is computed again", key.hex()[:16])
        return vector


def _packed(vector: Vector) -> bytes:
    values = np.ascontiguousarray(vector, dtype="<f4")
    if values.ndim != 1 or not 1 <= values.size <= MAX_DIM:
        raise StoreError(f"a vector of shape {list(values.shape)} cannot be stored")
    if not np.isfinite(values).all():
        raise StoreError("a vector with NaN or infinity cannot be stored")
    body = _HEADER.pack(_MAGIC, _VERSION, values.size) + values.tobytes()
    return body + _CHECKSUM.pack(zlib.crc32(body))


def _unpacked(value: bytes) -> Vector | None:
    """Return the vector, or None where one bit of it is not as it was written."""
    if len(value) < _HEADER.size + _CHECKSUM.size:
        return None
    body, checksum = value[: -_CHECKSUM.size], value[-_CHECKSUM.size :]
    magic, version, dim = _HEADER.unpack_from(body)
    if (magic, version) != (_MAGIC, _VERSION) or len(body) != _HEADER.size + 4 * dim:
        return None
    if _CHECKSUM.pack(zlib.crc32(body)) != checksum:
        return None
    return np.frombuffer(body, dtype="<f4", offset=_HEADER.size).astype(np.float32)
