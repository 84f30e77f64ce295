"""Give the room of deleted entries back to the disk.

LMDB uses that room again, but never shortens its file. A compacted copy takes the file's place while nobody
has the store open: LMDB holds a lock on the first byte of its lock file as long as a process has it open, and
waits for that lock when it opens it. Whoever holds it exclusively therefore knows that nobody else is there,
and that who comes meanwhile opens the new file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from es_xmodal.errors import StoreError
from es_xmodal.store.environment import as_store_error, is_open

_NEW: Final = "compacted.mdb"
_FIRST_MAP_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Compacted:
    """How long the file was and is."""

    before_bytes: int
    after_bytes: int


def compact(path: Path) -> Compacted:
    """Write the store anew, as short as it can be, in the place of the old one.

    A process that is killed leaves either file whole. It needs as much free disk as the entries take.

    Args:
        path: the folder of a store.

    Returns:
        How long the file was and is; the same where there is no store yet.

    Raises:
        StoreError: another process, or this one, has it open; there is no room; the system has no such locks.
    """
    file = path / "data.mdb"
    if not file.exists():
        return Compacted(before_bytes=0, after_bytes=0)
    if is_open(path):
        raise StoreError(f"the store {path} is open in this process", hint="close it first")
    before = file.stat().st_size
    with _alone(path), as_store_error(path):
        new = path / _NEW
        new.unlink(missing_ok=True)  # of a process that was killed
        try:
            _copy(file, new)
            new.replace(file)
            _sync(path)
        finally:
            new.unlink(missing_ok=True)
    return Compacted(before_bytes=before, after_bytes=file.stat().st_size)


def _copy(file: Path, new: Path) -> None:
    import lmdb

    environment = lmdb.open(
        str(file), subdir=False, readonly=True, lock=False, map_size=_FIRST_MAP_BYTES, max_dbs=1
    )
    try:
        environment.copy(str(new), compact=True)
    finally:
        environment.close()
    with new.open("rb") as copied:
        os.fsync(copied.fileno())


def _sync(folder: Path) -> None:
    """Without this the new name might not be there after the power failed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock that LMDB holds while a store is open."""
    try:
        import fcntl
    except ImportError:  # Windows
        raise StoreError(
            "a store can be compacted on Linux and macOS only", hint="delete its folder to free all of it"
        ) from None
    with as_store_error(path):
        lock = (path / "lock.mdb").open("r+b")
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            raise StoreError(
                f"the store {path} is in use by another process",
                hint="compact it when no ingest is running",
            ) from None
        yield
