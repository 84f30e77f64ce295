"""What all stores of this machine have in common: a folder, keys of one length, a context manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from es_xmodal.errors import StoreError
from es_xmodal.store.environment import Environment
from es_xmodal.store.keys import KEY_BYTES
from es_xmodal.store.ledger import Ledger

T = TypeVar("T")
_Self = TypeVar("_Self", bound="Store")


class Keeps(Protocol[T]):
    """What an ingest needs of a store: `VectorStore`, `TextStore`, or a stand-in without a disk."""

    def get_many(self, keys: Sequence[bytes]) -> list[T | None]:
        """Return the value of each key, or None where there is none."""

    def put_many(self, items: Mapping[bytes, T]) -> None:
        """Keep values; what has the same key is replaced."""


class Store:
    """A store in one folder; a context manager. Use it from any thread and any process.

    Args:
        environment: the folder's LMDB.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._ledger = Ledger(environment)

    @classmethod
    def open(cls: type[_Self], path: Path) -> _Self:
        """Open the store in this folder, which is made when it is missing.

        Args:
            path: a folder on a local disk.

        Raises:
            StoreError: it cannot be made, or it is damaged.
        """
        return cls(Environment(path))

    def close(self) -> None:
        """Close the store; closing it twice does nothing.

        Raises:
            StoreError: what waited could not be written.
        """
        self._ledger.flush()
        self._environment.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_keys(keys: Iterable[bytes], *, of: str) -> None:
    """Refuse keys of another length.

    Args:
        keys: some keys.
        of: the store, for the message.

    Raises:
        StoreError: a key is too short or too long.
    """
    for key in keys:
        if len(key) != KEY_BYTES:
            raise StoreError(f"a key of the {of} has {len(key)} bytes instead of {KEY_BYTES}")
