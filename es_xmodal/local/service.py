"""What the commands `up`, `down` and `status` do: one local cluster for each user."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from es_xmodal.errors import LocalNodeError
from es_xmodal.local import paths, probe
from es_xmodal.local.jars import DownloadProgress, JarStore
from es_xmodal.local.java import find_java
from es_xmodal.local.lock import DEFAULT_VERSION, read_lock
from es_xmodal.local.node import Cluster, NodeOptions
from es_xmodal.local.process import ProcessId, stop_all
from es_xmodal.local.state import NodeEntry, State, claim, clear_state, read_state, write_state

DEFAULT_PORT = 9200
_POLL_S = 0.2
_STARTUP_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class UpRequest:
    """What the caller of `up` said; None where nothing was said."""

    version: str | None = None
    port: int | None = None
    nodes: int | None = None
    data: Path | None = None
    heap_mib: int | None = None
    x_pack: bool = False

    def options(self) -> NodeOptions:
        """Fill in the defaults."""
        version = self.version or DEFAULT_VERSION
        read_lock(version)
        nodes = 1 if self.nodes is None else self.nodes
        # A cluster of several nodes has its own data: one node alone could not read them.
        name = version + (f"-{nodes}-nodes" if nodes > 1 else "")
        return NodeOptions(
            version=version,
            port=DEFAULT_PORT if self.port is None else self.port,
            nodes=nodes,
            data=self.data.absolute() if self.data else paths.data_dir() / name,
            heap_mib=self.heap_mib,
            x_pack=self.x_pack,
        )

    def check(self, state: State) -> None:
        """Refuse a running cluster that is not the one that was asked for.

        Raises:
            LocalNodeError: it differs in something that the caller named.
        """
        conflict = self._conflict(state)
        if conflict:
            raise LocalNodeError(
                f"a local node {conflict} is already running at {state.url}", hint="es-xmodal down stops it"
            )

    def _conflict(self, state: State) -> str:
        if self.version not in (None, state.version):
            return f"of version {state.version}"
        if self.nodes not in (None, len(state.nodes)):
            return f"of {len(state.nodes)} node" + ("s" if len(state.nodes) > 1 else "")
        if self.port not in (None, 0, state.nodes[0].http_port):
            return f"on port {state.nodes[0].http_port}"
        if self.data is not None and self.data.absolute() != Path(state.data):
            return f"with its data in {state.data}"
        if self.x_pack and not state.x_pack:
            return "without --x-pack"
        return ""


@dataclass(frozen=True, kw_only=True)
class UpResult:
    """A cluster that is ready. `cluster` is None where another process started it."""

    state: State
    cluster: Cluster | None

    @property
    def already(self) -> bool:
        """Whether it was found and not started."""
        return self.cluster is None


def up(
    request: UpRequest,
    *,
    detach: bool,
    progress: DownloadProgress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> UpResult:
    """Start the user's local cluster, or find it running.

    Args:
        request: what was asked for.
        detach: let it live on when this process ends.
        progress: told about downloads.
        say: told what is being waited for, a line at a time.

    Returns:
        The cluster, ready to answer.

    Raises:
        LocalNodeError: it cannot be started, or another one than was asked for is running.
        MissingExtraError: the `local` extra is not installed.
        UsageError: an option has no such value.
    """
    options = request.options()
    cluster = Cluster(options, stay=detach, progress=progress)
    with claim():
        found = _present()
        if found is None:
            state = _starting(options)
            write_state(state)
    if found is not None:
        ready = _when_ready(found, say)
        request.check(ready)
        return UpResult(state=ready, cluster=None)
    try:
        with _terminate_in_order():
            state = _start(cluster, state, say)
    except BaseException:  # also Ctrl-C: a half-finished start leaves nothing behind
        cluster.stop()
        clear_state(state)
        raise
    return UpResult(state=state, cluster=cluster)


def _start(cluster: Cluster, state: State, say: Callable[[str], None]) -> State:
    """Start the nodes, and write down each stage for other processes to see."""
    cluster.launch()
    state = _launched(state, cluster)
    write_state(state)
    say(f"starting Elasticsearch {state.version} with {state.java}")
    cluster.wait(timeout_s=_STARTUP_S)
    state = replace(state, ready=True, vectors=cluster.vectors)
    write_state(state)
    return state


@contextmanager
def _terminate_in_order() -> Iterator[None]:
    """Let SIGTERM, as `down` sends it, end a start the way Ctrl-C does: with its nodes stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _present() -> State | None:
    """The cluster that is there, in any stage; None when the way is free."""
    state = read_state()
    if state is None:
        return None
    if state.starting:
        return state
    running = state.running
    if not running:
        return None
    if not state.ready or len(running) < len(state.nodes):
        # Left by an `up` that was killed in the middle, or by a node that was.
        stop_all([node.process for node in running])
        return None
    return state


def _starting(options: NodeOptions) -> State:
    return State(
        version=options.version,
        url="",
        data=str(options.data),
        x_pack=options.x_pack,
        heap_mib=0,
        java="",
        vectors="",
        ready=False,
        starter=ProcessId.of(os.getpid()),
        nodes=(),
    )


def _launched(state: State, cluster: Cluster) -> State:
    nodes = tuple(
        NodeEntry(
            name=child.place.name,
            process=child.id,
            http_port=child.place.http_port,
            log=str(child.place.log),
        )
        for child in cluster.children
    )
    java = cluster.java.describe() if cluster.java else ""
    return replace(state, url=cluster.url, heap_mib=cluster.heap_mib, java=java, nodes=nodes)


def _when_ready(state: State, say: Callable[[str], None]) -> State:
    """Wait for the start that another process is busy with."""
    if not state.ready:
        say(f"waiting for the start that process {state.starter.pid} is busy with")
    current: State | None = state
    while current is not None and not current.ready:
        if not current.starting:
            current = None
            break
        time.sleep(_POLL_S)
        current = read_state()
    if current is None:
        raise LocalNodeError("the start that was under way failed", hint="try again")
    return current


def attend(result: UpResult, *, announce: Callable[[], None]) -> None:
    """Stay until the cluster is stopped by a signal or by `down`, then leave nothing behind.

    Args:
        result: a cluster that this process started.
        announce: called once signals are listened for; who stops the node as soon as it is announced must
            not find this process deaf.

    Raises:
        LocalNodeError: a node ended by itself.
    """
    cluster = result.cluster
    assert cluster is not None
    asked = threading.Event()
    before = {name: signal.signal(name, lambda *_: asked.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    ended = None
    try:
        announce()
        while not asked.wait(_POLL_S):
            ended = cluster.ended()
            if ended is not None:
                break
        failed = ended is not None and ended.exit_status != 0
        words = ended.failure() if ended is not None and failed else ""
    finally:
        cluster.stop()
        clear_state(result.state)
        for name, handler in before.items():
            signal.signal(name, handler)
    if ended is not None and failed:
        raise LocalNodeError(f"{ended.place.name} ended: {words}", hint=f"the log is {ended.place.log}")


def down() -> State | None:
    """Stop the user's local cluster, and nothing else.

    Returns:
        What was stopped, or None when nothing was running.

    Raises:
        LocalNodeError: a process would not end.
    """
    state = read_state()
    if state is None:
        return None
    # An `up` that is still busy goes first: it would start more nodes, and cleans up after itself.
    stopped = stop_all([state.starter]) if state.starting else []
    stopped += stop_all([node.process for node in reversed(state.nodes)])
    stubborn = [node.name for node in state.running]
    if stubborn:
        raise LocalNodeError(
            f"{', '.join(stubborn)} would not end", hint="its process may belong to another user"
        )
    clear_state(state)
    return state if stopped else None


def status() -> dict[str, Any]:
    """What the local cluster is doing, for `status --json`.

    Returns:
        `running` and `ready`; when running also where, what, with which Java and how it fares, else what a
        start would use.
    """
    state = read_state()
    running = state.running if state is not None else []
    if state is None or not (running or state.starting):
        return _idle()
    port = state.nodes[0].http_port if state.nodes else 0
    health = (probe.health(port) if port else None) or {}
    return {
        "running": True,
        "ready": state.ready and bool(health),
        "url": state.url or None,
        "version": state.version,
        "health": health.get("status"),
        "x_pack": state.x_pack,
        "data": state.data,
        "heap_mib": state.heap_mib,
        "java": state.java,
        "fast_vectors": state.vectors.startswith("Panama"),
        "nodes": [_node_status(node) for node in state.nodes],
    }


def _node_status(node: NodeEntry) -> dict[str, Any]:
    process = node.process.process()
    return {
        "name": node.name,
        "pid": node.process.pid,
        "running": process is not None,
        "http_port": node.http_port,
        "memory_mib": process.memory_info().rss >> 20 if process is not None else 0,
        "log": node.log,
    }


def _idle() -> dict[str, Any]:
    lock = read_lock(DEFAULT_VERSION)
    missing = JarStore(paths.cache_dir() / "jars").missing(lock, x_pack=False)
    try:
        java = find_java()
    except LocalNodeError as error:
        described, fast = str(error), False
    else:
        described, fast = java.describe(), java.fast_vectors
    return {
        "running": False,
        "ready": False,
        "version": lock.version,
        "java": described,
        "fast_vectors": fast,
        "download_mib": round(sum(jar.size_bytes for jar in missing) / 2**20),
    }
