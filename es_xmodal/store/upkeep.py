"""What is in a store, what may go, and whether it is whole; beside processes that read and write it.

Everything happens in short transactions, one after the other: a long one would keep others from using again
the room of what is deleted, and a killed one leaves what those before it did. What a running ingest still
wanted and is gone is computed again, as everything in a store can be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from es_xmodal.store.environment import Environment
from es_xmodal.store.keys import KEY_BYTES, Owner
from es_xmodal.store.ledger import Note, owners, today

_TOGETHER: Final = 5_000
_ENTRY_OVERHEAD: Final = 8
"""LMDB's own bytes for an entry on a page."""
_UNKNOWN: Final = Owner(fingerprint="unknown", kind="unknown")
"""Who made what was stored before there were notes, and was not used since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry, without what it holds."""

    key: bytes
    size_bytes: int
    """Key, value and LMDB's own; what the file is longer by is more where values do not fill pages."""
    day: int | None
    """Of last use, since 1970; None: not known."""
    owner: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one maker has in a store."""

    owner: Owner
    entries: int
    size_bytes: int
    last_used_day: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to go.

    Of the first three, all that are given must hold; `max_bytes` then takes what is unused for longest.
    """

    older_than_days: int | None = None
    """Entries that were not used for more than so many days."""
    of: frozenset[str] | None = None
    """Entries of these encoders."""
    not_of: frozenset[str] | None = None
    """Entries of other encoders than these; those whose encoder is not known stay."""
    max_bytes: int | None = None
    """The entries that stay take no more."""

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return self == Wish()


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What went."""

    entries: int
    size_bytes: int
    kept_entries: int
    kept_bytes: int


def shares(environment: Environment) -> list[Share]:
    """Count the entries of a store by who made them.

    Args:
        environment: the store.

    Returns:
        The largest first.

    Raises:
        StoreError: it cannot be read.
    """
    names = owners(environment)
    counts: dict[Owner, list[int]] = {}
    for entry in chain.from_iterable(_pages(environment)):
        count = counts.setdefault(names.get(entry.owner, _UNKNOWN), [0, 0, -1])
        count[0] += 1
        count[1] += entry.size_bytes
        count[2] = max(count[2], -1 if entry.day is None else entry.day)
    found = [
        Share(owner=owner, entries=entries, size_bytes=size, last_used_day=None if day < 0 else day)
        for owner, (entries, size, day) in counts.items()
    ]
    return sorted(found, key=lambda one: (-one.size_bytes, one.owner.fingerprint, one.owner.kind))


def collect(environment: Environment, wish: Wish, *, dry_run: bool = False) -> Collected:
    """Delete what is not wanted any more.

    An entry of which the last use is not known counts as used today, and is noted as such, so that it is
    known from then on.

    Args:
        environment: the store.
        wish: what is to go.
        dry_run: only count.

    Returns:
        What went, or would go.

    Raises:
        StoreError: the store cannot be read or written.
    """
    choice = _Choice(wish, owners(environment), today())
    if not dry_run:
        _date(environment, choice.now)
    if wish.max_bytes is not None:
        choice.make_room(environment, wish.max_bytes)
    entries = size = gone_entries = gone_size = 0
    for page in _pages(environment):
        going = [entry for entry in page if choice.takes(entry)]
        gone = going if dry_run or not going else _delete(environment, going)
        entries, size = entries + len(page), size + _sum(page)
        gone_entries, gone_size = gone_entries + len(gone), gone_size + _sum(gone)
    return Collected(
        entries=gone_entries,
        size_bytes=gone_size,
        kept_entries=entries - gone_entries,
        kept_bytes=size - gone_size,
    )


def check(environment: Environment, is_whole: Callable[[bytes], bool]) -> tuple[int, int]:
    """Look at every entry, and delete those that are damaged; they are made again when they are needed.

    Args:
        environment: the store.
        is_whole: whether a value is as it was written.

    Returns:
        Entries looked at, and entries deleted.

    Raises:
        StoreError: the store cannot be read or written, or is damaged beyond its entries.
    """
    seen = deleted = 0
    for page in _pages(environment):
        keys = [entry.key for entry in page]

        def bad(transaction: Any, _: Any, keys: list[bytes] = keys) -> list[bytes]:
            values = ((key, transaction.get(key)) for key in keys)
            return [key for key, value in values if value is not None and not is_whole(value)]

        damaged = environment.read(bad)
        seen += len(keys)

        def drop(transaction: Any, side: Any, damaged: list[bytes] = damaged) -> int:
            count = 0
            for key in damaged:
                value = transaction.get(key)
                if value is not None and not is_whole(value):  # it may have been repaired meanwhile
                    count += _drop(transaction, side, key)
            return count

        deleted += environment.write(drop) if damaged else 0
    return seen, deleted


class _Choice:
    """Says of each entry, in the order of the keys, whether it goes."""

    def __init__(self, wish: Wish, names: dict[int, Owner], now: int) -> None:
        self._wish, self._names, self.now = wish, names, now
        self._last_day, self._of_last_day = -1, 0

    def make_room(self, environment: Environment, max_bytes: int) -> None:
        """Find the day up to which entries must go, so that the others take no more than they may."""
        days: Counter[int] = Counter()
        for page in _pages(environment):
            for entry in page:
                if not self._unwanted(entry):
                    days[self._day(entry)] += entry.size_bytes
        excess = sum(days.values()) - max_bytes
        for day in sorted(days):
            if excess <= 0:
                break
            self._last_day, self._of_last_day = day, excess
            excess -= days[day]

    def takes(self, entry: Entry) -> bool:
        """Whether it goes; to be asked once about each."""
        if self._unwanted(entry):
            return True
        day = self._day(entry)
        if day != self._last_day:
            return day < self._last_day
        self._of_last_day -= entry.size_bytes
        return self._of_last_day > -entry.size_bytes

    def _unwanted(self, entry: Entry) -> bool:
        wish = self._wish
        if wish.older_than_days is None and wish.of is None and wish.not_of is None:
            return False
        maker = self._names.get(entry.owner)
        if wish.older_than_days is not None and self.now - self._day(entry) <= wish.older_than_days:
            return False
        if wish.of is not None and (maker is None or maker.fingerprint not in wish.of):
            return False
        # What no encoder made (the times of a video's frames) belongs to all of them.
        return wish.not_of is None or (maker is not None and maker.fingerprint not in wish.not_of | {""})

    def _day(self, entry: Entry) -> int:
        return self.now if entry.day is None else entry.day


def _sum(entries: Iterable[Entry]) -> int:
    return sum(entry.size_bytes for entry in entries)


def _pages(environment: Environment) -> Iterator[list[Entry]]:
    """All entries in the order of their keys, some of them from each transaction."""
    after: bytes | None = None
    while True:

        def read(transaction: Any, side: Any, after: bytes | None = after) -> list[Entry]:
            cursor = transaction.cursor()
            there = cursor.first() if after is None else cursor.set_range(after + b"\0")
            found: list[Entry] = []
            while there and len(found) < _TOGETHER:
                key = bytes(cursor.key())
                if len(key) == KEY_BYTES:
                    note = Note.unpack(transaction.get(key, db=side))
                    size = len(key) + len(cursor.value()) + _ENTRY_OVERHEAD
                    day, owner = (note.day, note.owner) if note else (None, 0)
                    found.append(Entry(key=key, size_bytes=size, day=day, owner=owner))
                there = cursor.next()
            return found

        page = environment.read(read, buffers=True)
        if not page:
            return
        yield page
        after = page[-1].key


def _date(environment: Environment, now: int) -> None:
    """Note what is not known to have been used as used today."""
    for page in _pages(environment):
        undated = [entry for entry in page if entry.day is None]

        def write(transaction: Any, side: Any, undated: list[Entry] = undated) -> None:
            for entry in undated:
                if transaction.get(entry.key) is not None:
                    note = Note(day=now, owner=entry.owner).pack()
                    transaction.put(entry.key, note, db=side, overwrite=False)

        if undated:
            environment.write(write)


def _delete(environment: Environment, some: list[Entry]) -> list[Entry]:
    """Delete entries, but none of which another process noted a use meanwhile; return what is gone."""

    def write(transaction: Any, side: Any) -> list[Entry]:
        gone: list[Entry] = []
        for entry in some:
            note = Note.unpack(transaction.get(entry.key, db=side))
            used = note is not None and note.day > (entry.day or 0)
            if not used and _drop(transaction, side, entry.key):
                gone.append(entry)
        return gone

    return environment.write(write)


def _drop(transaction: Any, side: Any, key: bytes) -> bool:
    transaction.delete(key, db=side)
    return bool(transaction.delete(key))
