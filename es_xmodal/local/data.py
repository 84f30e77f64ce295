"""The data folder of a local cluster, and the mark that says what is in it.

Elasticsearch answers a data folder that does not fit with a page of Java; the mark makes it one line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from es_xmodal.errors import LocalNodeError
from es_xmodal.local.process import ProcessId

_MARK = "es-xmodal-node.json"
_USERS = "es-xmodal-processes.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataMark:
    """What wrote a data folder last."""

    version: str
    nodes: int


def read_mark(folder: Path) -> DataMark | None:
    """The mark of a data folder; None for one that is new."""
    try:
        return DataMark(**json.loads((folder / _MARK).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise LocalNodeError(f"{folder / _MARK} cannot be read", hint="choose another --data") from error


def write_mark(folder: Path, mark: DataMark) -> None:
    """Note what writes this folder from now on."""
    (folder / _MARK).write_text(json.dumps(asdict(mark)) + "\n", encoding="utf-8")


def note_users(folder: Path, users: Sequence[ProcessId]) -> None:
    """Write down which processes use this folder from now on."""
    (folder / _USERS).write_text(json.dumps([asdict(user) for user in users]), encoding="utf-8")


def _user(folder: Path) -> ProcessId | None:
    """A process that still uses this folder."""
    try:
        noted = [ProcessId(**user) for user in json.loads((folder / _USERS).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None  # Elasticsearch has its own lock for what escapes this one
    return next((user for user in noted if user.alive), None)


def check_data(folder: Path, wanted: DataMark) -> None:
    """Make the data folder, or refuse one that these nodes cannot or must not use.

    Args:
        folder: the data folder.
        wanted: what is about to start there.

    Raises:
        LocalNodeError: it belongs to something else, or to nodes that these cannot follow.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = next(folder.iterdir(), None)
    except OSError as error:
        raise LocalNodeError(f"cannot use the data folder {folder}: {error.strerror}") from error
    there = read_mark(folder)
    if there is None:
        if strange is not None:
            raise LocalNodeError(
                f"{folder} is not empty and was not made by a local node", hint="choose another --data"
            )
        return
    user = _user(folder)
    if user is not None:
        raise LocalNodeError(
            f"{folder} is in use by the local node of process {user.pid}", hint="choose another --data"
        )
    if _number(there.version) > _number(wanted.version):
        problem = f"was written by Elasticsearch {there.version}, which {wanted.version} cannot read"
    elif there.nodes > wanted.nodes:
        problem = f"belongs to a cluster of {there.nodes} nodes, {wanted.nodes} would not find its data"
    else:
        return
    raise LocalNodeError(f"{folder} {problem}", hint="choose another --data, or start it as it was")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
