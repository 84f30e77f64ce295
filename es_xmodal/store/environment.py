"""LMDB with its rules kept: one environment a path and process, none across a fork, a map that grows.

Py-lmdb refuses to open a path twice in one process, so that every `Environment` of a path shares one.
An environment that came through a fork is never used; a new one is opened in its place. When the
map is full it is doubled, and when another process has made it larger, its size is taken over; both
need a moment without transactions, so that one lock covers each of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from es_xmodal.errors import StoreError

_FIRST_MAP_BYTES: Final = 64 * 1024 * 1024
"""Address space, not disk: the file is as long as what is in it."""
_MAX_MAP_BYTES: Final = 1 << 44
_MAX_READERS: Final = 512
_RETRIES: Final = 64
_SPARE_PAGES: Final = 16
"""LMDB may count pages at the end that it gave up again before it wrote them."""

SIDE: Final = b"notes"
"""Name of the second table; as a key it is shorter than any entry's."""
_META_PAGES: Final = 2

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """How full the file of a store is."""

    entries: int
    disk_bytes: int
    """Length of the file, as far as it was ever written."""
    filled_bytes: int
    """What entries and notes take of it; the rest is used again before the file grows."""


@dataclass
class _Shared:
    """The one environment of a path in this process."""

    handle: Any
    side: Any
    """A second table, for notes about the entries of the first."""
    users: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)


_registry: dict[Path, _Shared] = {}
_registry_lock = threading.RLock()
_inherited: dict[Path, _Shared] = {}
"""Environments that came through a fork: never used, and closed before their path is opened again."""


def _before_fork() -> None:
    """Wait until no thread is inside a transaction: a child could neither end it nor wait for its end."""
    _registry_lock.acquire()
    for shared in _registry.values():
        shared.lock.acquire()


def _after_fork_in_parent() -> None:
    for shared in _registry.values():
        shared.lock.release()
    _registry_lock.release()


def _after_fork_in_child() -> None:
    _after_fork_in_parent()
    _inherited.update(_registry)
    _registry.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )


class Environment:
    """Bytes by key in one folder.

    Args:
        path: the folder; made when it is missing.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        with as_store_error(path):
            path.mkdir(parents=True, exist_ok=True)
            self._path = path.resolve()
        self._closed = False
        self._shared = _acquire(self._path)
        self._pid = os.getpid()

    def read(self, action: Callable[[Any, Any], _Result], *, buffers: bool = False) -> _Result:
        """Look at one state of the store.

        Args:
            action: gets a transaction and the second table; it must be short, because nothing that is deleted
                meanwhile gives its room back, and it may be called again.
            buffers: values are views, so that what is not looked at is not read; none may outlive the action.

        Returns:
            What the action returns.
        """

        def run(shared: _Shared) -> _Result:
            with shared.handle.begin(buffers=buffers) as transaction:
                return action(transaction, shared.side)

        return self._run(run)

    def write(self, action: Callable[[Any, Any], _Result]) -> _Result:
        """Change the store: everything that the action does, or nothing.

        Args:
            action: gets a transaction and the second table; it may be called again.

        Returns:
            What the action returns.
        """

        def run(shared: _Shared) -> _Result:
            with shared.handle.begin(write=True) as transaction:
                return action(transaction, shared.side)

        return self._run(run)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, or None, all from one state of the store."""
        return self.read(lambda transaction, _: [transaction.get(key) for key in keys])

    def put_many(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Write all items or, where that fails, none."""

        def put(transaction: Any, _: Any) -> None:
            for key, value in items:
                transaction.put(key, value)

        self.write(put)

    def stats(self) -> tuple[int, int]:
        """Return the number of entries and the bytes on disk that are or were in use."""
        space = self.space()
        return space.entries, space.disk_bytes

    def space(self) -> Space:
        """Return how full the file is."""

        def count(shared: _Shared) -> Space:
            with shared.handle.begin() as transaction:
                tables = [transaction.stat(), transaction.stat(shared.side)]
            page = tables[0]["psize"]
            kinds = ("branch_pages", "leaf_pages", "overflow_pages")
            pages = sum(table[kind] for table in tables for kind in kinds)
            return Space(
                entries=int(tables[0]["entries"]) - 1,  # the second table is an entry of the first
                disk_bytes=int(page * (shared.handle.info()["last_pgno"] + 1)),
                filled_bytes=int(page * (pages + _META_PAGES)),
            )

        return self._run(count)

    def close(self) -> None:
        """Give the environment back; the last user in this process closes it."""
        if self._closed:
            return
        self._closed = True
        if self._pid == os.getpid():
            _release(self._path, self._shared)

    def _run(self, action: Callable[[_Shared], _Result]) -> _Result:
        import lmdb

        if self._closed:
            raise StoreError(f"the vector store {self._path} is closed")
        self._follow_fork()
        shared = self._shared
        with shared.lock, as_store_error(self._path):
            for _ in range(_RETRIES):
                try:
                    return action(shared)
                except lmdb.MapResizedError:
                    shared.handle.set_mapsize(0)  # take over the size that another process gave it
                except lmdb.MapFullError:
                    _grow(shared.handle)
        raise StoreError(f"the vector store {self._path} keeps changing its size")

    def _follow_fork(self) -> None:
        if self._pid != os.getpid():
            self._shared = _acquire(self._path)
            self._pid = os.getpid()


def _acquire(path: Path) -> _Shared:
    with _registry_lock:
        shared = _registry.get(path)
        if shared is None:
            stale = _inherited.pop(path, None)
            if stale is not None:
                stale.handle.close()
            shared = _registry[path] = _Shared(*_opened(path))
        shared.users += 1
        return shared


def _release(path: Path, shared: _Shared) -> None:
    with _registry_lock:
        shared.users -= 1
        if shared.users == 0:
            _registry.pop(path, None)
            with shared.lock:
                shared.handle.close()


def is_open(path: Path) -> bool:
    """Whether this process has the store in this folder open."""
    with _registry_lock:
        return path.resolve() in _registry


def _opened(path: Path) -> tuple[Any, Any]:
    import lmdb

    with as_store_error(path):
        for _ in range(_RETRIES):
            try:
                _check_not_cut_off(path / "data.mdb")
                # Without metasync the newest batch may be lost when the power fails; the file stays whole.
                handle = lmdb.open(
                    str(path),
                    map_size=_FIRST_MAP_BYTES,
                    max_readers=_MAX_READERS,
                    metasync=False,
                    readahead=False,
                    max_dbs=1,
                )
            except lmdb.MapResizedError:
                continue  # another process made it larger between this one's reading of the size and its use
            handle.reader_check()  # frees the places of processes that were killed
            return handle, _second_table(handle)
    raise StoreError(f"the vector store {path} keeps changing its size")


def _second_table(handle: Any) -> Any:
    """Open it; it is made where an older version of this project made the store."""
    import lmdb

    for _ in range(_RETRIES):
        try:
            return handle.open_db(SIDE)
        except lmdb.MapResizedError:
            handle.set_mapsize(0)
        except lmdb.MapFullError:
            _grow(handle)
    raise StoreError("the vector store keeps changing its size")


def _check_not_cut_off(file: Path) -> None:
    """Refuse a file that is shorter than it says: reading past its end would kill the process (SIGBUS)."""
    import lmdb

    if not file.exists() or file.stat().st_size == 0:
        return
    probe = lmdb.open(str(file), subdir=False, readonly=True, lock=False, map_size=_FIRST_MAP_BYTES)
    try:
        page = probe.stat()["psize"]
        needed = (probe.info()["last_pgno"] + 1) * page
    finally:
        probe.close()
    if file.stat().st_size < needed - _SPARE_PAGES * page:
        raise StoreError(
            f"the vector store {file.parent} is cut off: {file.stat().st_size} bytes of {needed}",
            hint="delete the folder; its vectors are computed again",
        )


def _grow(handle: Any) -> None:
    """Double the map, or more where another process has made it larger already."""
    size = int(handle.info()["map_size"])
    handle.set_mapsize(0)
    size = max(size, int(handle.info()["map_size"]))
    if size >= _MAX_MAP_BYTES:
        raise StoreError(f"the vector store has reached {size} bytes")
    handle.set_mapsize(2 * size)


@contextmanager
def as_store_error(path: Path) -> Iterator[None]:
    """Say in one line what LMDB or the system answered."""
    import lmdb

    try:
        yield
    except (lmdb.MapFullError, lmdb.MapResizedError):
        raise
    except (
        lmdb.CorruptedError,
        lmdb.InvalidError,
        lmdb.PageNotFoundError,
        lmdb.VersionMismatchError,
    ) as error:
        raise StoreError(
            f"the vector store {path} is damaged: {error}",
            hint="delete the folder; its vectors are computed again",
        ) from error
    except (lmdb.Error, OSError) as error:
        raise StoreError(
            f"the vector store {path} cannot be used: {error}",
            hint="it needs a folder on a local disk with room and permission to write",
        ) from error
