"""Which ids were there already, in little memory."""

from __future__ import annotations

import sys
from array import array
from hashlib import blake2b
from typing import Final, Protocol

_MASK: Final = (1 << 64) - 1
_WIDE: Final = sys.hash_info.width >= 64
_PARTS: Final = 16


def text_hash(text: str) -> int:
    """Return 64 bits of hash: the same within this process, others in the next.

    Python's own hash of a text is a keyed SipHash, so that nobody outside can make two texts meet, and it
    costs a tenth of any other.

    Args:
        text: any text, lone surrogates too.
    """
    if _WIDE:
        return hash(text) & _MASK
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class GrowingSet(Protocol):
    """What tells whether a text is new."""

    def add(self, text: str) -> bool:
        """Remember a text; True if it is new, False if it was there."""


class SeenTexts:
    """A set of texts that keeps 8 bytes of hash for each.

    Open addressing in a few arrays, which grow one after the other, so that what is there twice meanwhile is
    a part only: 5 million texts take 64 to 128 MiB, where a set of the hashes as Python numbers takes four
    times as much. Two different texts among 5 million have the same hash with a probability of one in a
    million.
    """

    def __init__(self) -> None:
        self._parts = [_Part() for _ in range(_PARTS)]

    def add(self, text: str) -> bool:
        """Remember a text.

        Args:
            text: any text.

        Returns:
            True if it is new, False if it was there.
        """
        value = _key(text)
        return self._parts[value % _PARTS].add(value)

    def __contains__(self, text: str) -> bool:
        value = _key(text)
        return value in self._parts[value % _PARTS]

    def __len__(self) -> int:
        return sum(part.count for part in self._parts)


class _Part:
    """The hashes that leave the same remainder."""

    def __init__(self) -> None:
        self._slots = _free(64)
        self.count = 0

    def add(self, value: int) -> bool:
        if not _insert(self._slots, value):
            return False
        self.count += 1
        if self.count * 3 > len(self._slots) * 2:
            self._grow()
        return True

    def __contains__(self, value: int) -> bool:
        return self._slots[_place(self._slots, value)] == value

    def _grow(self) -> None:
        slots = _free(2 * len(self._slots))
        for value in self._slots:
            if value:
                _insert(slots, value)
        self._slots = slots


def _free(count: int) -> array[int]:
    return array("Q", (0,)) * count  # not of `bytes(8 * count)`, which would be there twice for a moment


def _insert(slots: array[int], value: int) -> bool:
    at = _place(slots, value)
    if slots[at]:
        return False
    slots[at] = value
    return True


def _place(slots: array[int], value: int) -> int:
    """Where it is, or the free slot where it belongs."""
    mask = len(slots) - 1
    at = value // _PARTS & mask
    while slots[at] not in (0, value):
        at = (at + 1) & mask
    return at


def _key(text: str) -> int:
    return text_hash(text) or 1  # 0 marks a free slot
