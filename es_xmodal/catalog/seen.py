"""Which ids were there already, in little memory."""

from __future__ import annotations

from array import array
from hashlib import blake2b


class SeenTexts:
    """A set of texts that keeps 8 bytes of hash for each.

    Open addressing in one array: 5 million texts take 64 to 128 MiB, where a set of the hashes as Python
    numbers takes four times as much. Two different texts among 5 million have the same hash with a
    probability of one in a million.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, text: str) -> bool:
        """Remember a text.

        Args:
            text: any text that can be encoded.

        Returns:
            True if it is new, False if it was there.
        """
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(digest, "little") or 1  # 0 marks a free slot
        if not _insert(self._slots, value):
            return False
        self._count += 1
        if self._count * 3 > len(self._slots) * 2:
            self._grow()
        return True

    def __len__(self) -> int:
        return self._count

    def _grow(self) -> None:
        slots = array("Q", bytes(16 * len(self._slots)))
        for value in self._slots:
            if value:
                _insert(slots, value)
        self._slots = slots


def _insert(slots: array[int], value: int) -> bool:
    mask = len(slots) - 1
    at = value & mask
    while slots[at]:
        if slots[at] == value:
            return False
        at = (at + 1) & mask
    slots[at] = value
    return True
