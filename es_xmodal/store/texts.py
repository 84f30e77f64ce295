"""What was read off pictures, by content, on disk, for all indices of one machine.

As for vectors (`store/vectors.py`): an entry is found by the picture's bytes and by what read them, so that
a price edit, a re-index or a second index reads no picture again. The values are texts, so the folder is
another one.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from es_xmodal.errors import StoreError
from es_xmodal.store.base import Store, check_keys
from es_xmodal.store.keys import Key, Owner

_log = logging.getLogger(__name__)

MAX_TEXT_BYTES: Final = 1 << 20
_MAGIC: Final = b"ext"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<3sBII")


def text_key(*, fingerprint: str, content: str) -> Key:
    """Return the key of a text: 32 bytes.

    Args:
        fingerprint: of what read it.
        content: SHA-256 of the picture's bytes.
    """
    return Key.of([fingerprint, "words", content], Owner(fingerprint=fingerprint, kind="words"))


class TextStore(Store):
    """The texts that this machine has read before; a context manager.

    Use it from any thread and any process. Every value carries a checksum: one that is damaged counts as
    missing, and storing it again repairs it.
    """

    def get_many(self, keys: Sequence[bytes]) -> list[str | None]:
        """Return the text of each key, or None where there is none.

        Args:
            keys: of `text_key`.

        Returns:
            Texts, in the order of the keys; an empty text is a text.

        Raises:
            StoreError: the store cannot be read.
        """
        check_keys(keys, of="store of texts")
        values = self._ledger.get_many(keys)
        return [
            None if value is None else _checked(key, value) for key, value in zip(keys, values, strict=True)
        ]

    def put_many(self, items: Mapping[bytes, str]) -> None:
        """Store texts, all or none of them; what has the same key is replaced.

        Args:
            items: key to text, at most 1 MiB of UTF-8 each.

        Raises:
            StoreError: the store cannot be written, or a text is too long.
        """
        check_keys(items, of="store of texts")
        if items:
            self._ledger.put_many([(key, _packed(text)) for key, text in items.items()])

    @staticmethod
    def is_whole(value: bytes) -> bool:
        """Whether every bit of a stored value is as it was written."""
        return _unpacked(value) is not None

    def count(self) -> int:
        """Return the number of texts.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._environment.stats()[0]


def _packed(text: str) -> bytes:
    body = text.encode("utf-8", "replace")  # a lone surrogate stands for nothing
    if len(body) > MAX_TEXT_BYTES:
        raise StoreError(f"a text of {len(body)} bytes cannot be stored, at most {MAX_TEXT_BYTES}")
    return _HEADER.pack(_MAGIC, _VERSION, len(body), zlib.crc32(body)) + body


def _checked(key: bytes, value: bytes) -> str | None:
    """The text, or None where one bit of it is not as it was written."""
    text = _unpacked(value)
    if text is None:
        _log.warning("entry %s of the store of texts is damaged; it is read again", key.hex()[:16])
    return text


def _unpacked(value: bytes) -> str | None:
    if len(value) < _HEADER.size:
        return None
    magic, version, size, checksum = _HEADER.unpack_from(value)
    body = value[_HEADER.size :]
    if (magic, version, size, checksum) != (_MAGIC, _VERSION, len(body), zlib.crc32(body)):
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None
