"""What a picture's address gave when it was last asked, for all catalogues of one machine.

With it a second ingest asks only whether a picture changed, and a picture that did not is neither sent nor
decoded again. What is kept is the hash of the picture, never the picture.
"""

from __future__ import annotations

import hashlib
import json
import threading

from es_xmodal.media.web import Known
from es_xmodal.store.base import Store
from es_xmodal.store.environment import Environment

_TOGETHER = 256
"""Entries a transaction, which waits for the disk. What a killed process had not written is asked again."""


class AddressStore(Store):
    """Addresses of pictures and what is known of them; a context manager, safe in threads and processes."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._new: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def get(self, url: str) -> Known | None:
        """Return what is known of an address; None where it was never asked, or the entry is damaged.

        Raises:
            StoreError: the store cannot be read.
        """
        key = _key(url)
        value = self._new.get(key) or self._environment.get_many([key])[0]
        if value is None:
            return None
        try:
            content, etag, last_modified, checked = json.loads(value)
            return Known(
                content=str(content), etag=str(etag), last_modified=str(last_modified), checked=float(checked)
            )
        except (ValueError, TypeError):
            return None

    def put(self, url: str, known: Known) -> None:
        """Remember an address.

        Raises:
            StoreError: the store cannot be written.
        """
        value = json.dumps([known.content, known.etag[:500], known.last_modified[:100], known.checked])
        with self._lock:
            self._new[_key(url)] = value.encode()
            if len(self._new) < _TOGETHER:
                return
        self._write()

    def close(self) -> None:
        """Write what waits, and close the store.

        Raises:
            StoreError: the store cannot be written.
        """
        self._write()
        super().close()

    def _write(self) -> None:
        with self._lock:
            new, self._new = self._new, {}
            if new:
                self._environment.put_many(list(new.items()))


def _key(url: str) -> bytes:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()
