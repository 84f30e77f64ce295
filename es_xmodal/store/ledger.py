"""Who made an entry and when it was last used, in a second table beside the entries.

A note takes 6 bytes and its key; it is written with its entry. The day of last use is changed once a day at
most, and many of them in one transaction, so that reading does not become writing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from es_xmodal.errors import StoreError
from es_xmodal.store.environment import Environment
from es_xmodal.store.keys import Key, Owner

_log = logging.getLogger(__name__)

_NOTE: Final = struct.Struct("<HI")
_NOBODY: Final = 0
_OWNER: Final = b"owner"
_TOGETHER: Final = 4096
"""Uses that are written in one transaction. Those that a killed process did not write are forgotten."""
_DAY_S: Final = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What is known of an entry."""

    day: int
    """Of its last use, since 1970."""
    owner: int
    """See `owners`; 0: made by a version that kept no notes."""

    def pack(self) -> bytes:
        """Return it as it is stored."""
        return _NOTE.pack(self.day, self.owner)

    @classmethod
    def unpack(cls, value: Any) -> Note | None:
        """Read what is stored; None where there is nothing, or nothing that makes sense."""
        if value is None or len(value) != _NOTE.size:
            return None
        day, owner = _NOTE.unpack(value)
        return cls(day=day, owner=owner)


def today() -> int:
    """Return the day, since 1970."""
    return int(time.time() // _DAY_S)


def owners(environment: Environment) -> dict[int, Owner]:
    """Return who made entries of a store.

    Args:
        environment: the store.

    Raises:
        StoreError: it cannot be read.
    """

    def read(transaction: Any, side: Any) -> dict[int, Owner]:
        found: dict[int, Owner] = {}
        cursor = transaction.cursor(side)
        there = cursor.set_range(_OWNER)
        while there and cursor.key().startswith(_OWNER):
            if len(cursor.key()) == len(_OWNER) + 4:  # keys of entries are longer
                fingerprint, kind = json.loads(cursor.value())
                number = int.from_bytes(cursor.key()[len(_OWNER) :], "big")
                found[number] = Owner(fingerprint=fingerprint, kind=kind)
            there = cursor.next()
        return found

    return environment.read(read)


class Ledger:
    """Reads and writes entries, and keeps the notes about them.

    Args:
        environment: the store.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        # No lock around it: a process that is forked while another thread holds one would wait for ever.
        self._used: deque[tuple[bytes, Note]] = deque()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, or None, and remember that it was used.

        Raises:
            StoreError: the store cannot be read.
        """

        def read(transaction: Any, side: Any) -> list[tuple[bytes | None, bytes | None]]:
            return [(transaction.get(key), transaction.get(key, db=side)) for key in keys]

        found = self._environment.read(read)
        day = today()
        used: list[tuple[bytes, Note]] = []
        for key, (value, written) in zip(keys, found, strict=True):
            note = Note.unpack(written)
            if value is not None and (note is None or note.day < day):
                owner = _owner_number(key) or (note.owner if note else _NOBODY)
                used.append((key, Note(day=day, owner=owner)))
        self._used += used
        if len(self._used) >= _TOGETHER:
            self.flush()
        return [value for value, _ in found]

    def put_many(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Write all items with their notes or, where that fails, none.

        Raises:
            StoreError: the store cannot be written.
        """
        day = today()
        names = _names(key for key, _ in items)

        def write(transaction: Any, side: Any) -> None:
            _put_names(transaction, side, names)
            for key, value in items:
                transaction.put(key, value)
                transaction.put(key, Note(day=day, owner=_owner_number(key)).pack(), db=side)

        self._environment.write(write)

    def flush(self) -> None:
        """Write down what was used; where that cannot be, it is forgotten: a vector is worth more."""
        while self._used:
            self._flush_some()

    def _flush_some(self) -> None:
        used: dict[bytes, Note] = {}
        while len(used) < _TOGETHER:
            try:
                key, note = self._used.popleft()
            except IndexError:  # another thread took the rest
                break
            used[key] = note
        if not used:
            return
        names = _names(used)

        def write(transaction: Any, side: Any) -> None:
            _put_names(transaction, side, names)
            for key, note in used.items():
                if transaction.get(key) is not None:  # somebody may have collected it meanwhile
                    transaction.put(key, note.pack(), db=side)

        try:
            self._environment.write(write)
        except StoreError as error:
            _log.info("days of last use are not written: %s", error)


def _names(keys: Iterable[bytes]) -> dict[int, Owner]:
    return {_owner_number(key): key.owner for key in keys if isinstance(key, Key)}


def _put_names(transaction: Any, side: Any, names: dict[int, Owner]) -> None:
    for number, owner in names.items():
        key = _OWNER + number.to_bytes(4, "big")
        transaction.put(
            key, json.dumps([owner.fingerprint, owner.kind]).encode("ascii"), db=side, overwrite=False
        )


def _owner_number(key: bytes) -> int:
    return _numbered(key.owner) if isinstance(key, Key) else _NOBODY


@lru_cache(maxsize=256)
def _numbered(owner: Owner) -> int:
    """32 bits of hash are enough for the handful of models that a machine ever sees."""
    name = json.dumps([owner.fingerprint, owner.kind]).encode("ascii")
    return int.from_bytes(hashlib.sha256(name).digest()[:4], "big") or 1
