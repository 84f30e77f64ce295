"""Which local node runs: one small file for each user, and the care not to believe it too much.

The file names processes with the time they began; what no longer runs does not count, whatever the file
says. Nothing here imports Java, the resolver or an Elasticsearch client, so asking is cheap.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from es_xmodal.errors import LocalNodeError, MissingExtraError
from es_xmodal.local import paths
from es_xmodal.local.process import ProcessId

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeEntry:
    """One node of the running cluster."""

    name: str
    process: ProcessId
    http_port: int
    log: str


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What `up` wrote down. `starter` is its own process; without `ready` it still works on the start."""

    version: str
    url: str
    data: str
    x_pack: bool
    heap_mib: int
    java: str
    vectors: str
    ready: bool
    starter: ProcessId
    nodes: tuple[NodeEntry, ...]

    @property
    def starting(self) -> bool:
        """Whether an `up` is busy starting these nodes."""
        return not self.ready and self.starter.alive

    @property
    def running(self) -> list[NodeEntry]:
        """The nodes whose processes still run."""
        return [node for node in self.nodes if node.process.alive]


def read_state(path: Path | None = None) -> State | None:
    """What the file says, true or not; None without a file that can be read."""
    try:
        raw = json.loads((path or paths.state_file()).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict) or raw.pop("format", None) != _FORMAT:
        return None
    try:
        return _decode(raw)
    except (TypeError, KeyError):
        return None  # written by another version of this package


def _decode(raw: dict[str, Any]) -> State:
    starter = ProcessId(**raw.pop("starter"))
    nodes = tuple(NodeEntry(**{**node, "process": ProcessId(**node["process"])}) for node in raw.pop("nodes"))
    return State(starter=starter, nodes=nodes, **raw)


def write_state(state: State) -> None:
    """Replace the file in one step."""
    path = paths.state_file()
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"format": _FORMAT, **asdict(state)}, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise LocalNodeError(f"cannot write {path}: {error.strerror}") from error


def clear_state(state: State) -> None:
    """Remove the file if it still tells of this start; another `up` may have written its own since."""
    current = read_state()
    if current is not None and current.starter == state.starter:
        paths.state_file().unlink(missing_ok=True)


@contextmanager
def claim() -> Iterator[None]:
    """Let only one process at a time decide what to start.

    Raises:
        MissingExtraError: the `local` extra is not installed.
    """
    try:
        from filelock import FileLock
    except ImportError as error:
        raise MissingExtraError("the local Elasticsearch", extra="local") from error
    path = paths.state_file().with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalNodeError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    with FileLock(path):
        yield


def running_url() -> str | None:
    """Address of the local node that `es-xmodal up` started, or None when none is ready."""
    state = read_state()
    if state is None or not state.ready or not state.nodes:
        return None
    return state.url if state.nodes[0].process.alive else None
