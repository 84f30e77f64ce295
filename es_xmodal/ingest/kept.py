"""Bytes of pictures from the web between the moment they came and the moment they are decoded."""

from __future__ import annotations

import threading
from typing import Final

MAX_BYTES: Final = 256 * 1024 * 1024


class KeptBytes:
    """Keeps what fits; a picture that does not is fetched once more when its turn comes.

    Rows are loaded well ahead of the encoder, so without a bound large pictures would fill the memory.

    Args:
        max_bytes: of all that is kept at one time.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.bytes = 0

    def keep(self, data: bytes | None) -> bytes | None:
        """Return the bytes where there is room for them, else None."""
        if data is None:
            return None
        with self._lock:
            if self.bytes + len(data) > self._max_bytes:
                return None
            self.bytes += len(data)
        return data

    def drop(self, data: bytes | None) -> None:
        """Make room again for what `keep` returned."""
        if data is not None:
            with self._lock:
                self.bytes -= len(data)
