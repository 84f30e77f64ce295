"""The file of what did not make it: it can be fed back as a catalogue."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from es_xmodal.catalog.product import Reject
from es_xmodal.errors import CatalogError, StoreError

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class RejectFile:
    """Writes rejects as they come; there is no file until there is a reject.

    The lines go to a file beside the named one, which takes its name when the run is over, so that the
    rejects of the run before can be the catalogue of this one.

    Args:
        path: the file to write.
        again: the catalogue is this very file: it stays as it is where the run is not finished, and goes
            where no reject is left.

    Raises:
        CatalogError: with the first reject, the file cannot be written.
        StoreError: its disk is full.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.path = path
        self._again = again
        self._part = path.with_name(path.name + ".part")
        self._file: IO[str] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.reasons: Counter[str] = Counter()
        """`stage/code` -> how many."""
        self.examples: dict[str, str] = {}
        """`stage/code` -> id of the first product, where it has one."""

    def __enter__(self) -> RejectFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._again:
            self._drop()
            return
        self.close()

    def add(self, reject: Reject) -> None:
        """Write one reject.

        Args:
            reject: what did not make it.

        Raises:
            CatalogError: the file cannot be written.
            StoreError: its disk is full.
        """
        with self._lock:
            if self._closed:  # a thread that outlived its run
                return
            reason = f"{reject.stage}/{reject.code}"
            self.reasons[reason] += 1
            if reject.id is not None:
                self.examples.setdefault(reason, reject.id)
            try:
                if self._file is None:
                    # Line by line: a full disk is noticed here, before the index is swapped, and a run that
                    # is killed leaves behind what it had to say.
                    self._file = self._part.open("w", encoding="utf-8", newline="\n", buffering=1)
                self._file.write(reject.to_json() + "\n")
            except OSError as error:
                raise self._cannot(error) from error

    def close(self) -> None:
        """Give the file its name; nothing happens where there was no reject.

        Raises:
            CatalogError: the file cannot be written.
            StoreError: its disk is full.
        """
        with self._lock:
            self._closed = True
            if self._file is None and not self._again:
                return
            try:
                if self._file is None:
                    self.path.unlink(missing_ok=True)
                    return
                self._file.close()
                self._part.replace(self.path)
            except OSError as error:
                raise self._cannot(error) from error
            finally:
                self._file = None

    def _drop(self) -> None:
        """Leave the named file as it is."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._part.unlink(missing_ok=True)
                self._file = None

    def _cannot(self, error: OSError) -> CatalogError | StoreError:
        if error.errno in _NO_ROOM:
            return StoreError(
                f"the rejects file {self._part} cannot be written: {error.strerror}",
                hint="make room, or name another disk with --rejects; then run the same command again",
            )
        return CatalogError(
            f"the rejects file {self.path} cannot be written: {error.strerror or error}",
            hint="name another one with --rejects",
        )
