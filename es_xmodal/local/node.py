"""A local Elasticsearch as an object: start, use `url`, stop."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from es_xmodal.errors import LocalNodeError, MissingExtraError, UsageError
from es_xmodal.local import machine, paths, probe
from es_xmodal.local.data import DataMark, check_data, note_users, write_mark
from es_xmodal.local.jars import DownloadProgress, JarStore
from es_xmodal.local.java import Java, find_java
from es_xmodal.local.layout import (
    LOOPBACK,
    NodePlace,
    NodeSpec,
    class_path,
    jvm_options,
    make_home,
    node_settings,
)
from es_xmodal.local.lock import DEFAULT_VERSION, JarLock, read_lock
from es_xmodal.local.process import Child

logger = logging.getLogger(__name__)

_MOST_NODES = 9
_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOptions:
    """What to start.

    Args:
        version: of Elasticsearch; one that has a lock file.
        nodes: how many make the cluster.
        port: HTTP port of the first node; 0 is any free one.
        data: folder of the indices.
        heap_mib: heap of each node; None is chosen by the memory of the machine.
        x_pack: with the module that answers `GET _license`.
    """

    data: Path
    version: str = DEFAULT_VERSION
    nodes: int = 1
    port: int = 0
    heap_mib: int | None = None
    x_pack: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= _MOST_NODES:
            raise UsageError(f"--nodes {self.nodes}: from 1 to {_MOST_NODES}")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port}: no such port")


class Cluster:
    """The processes of a local Elasticsearch.

    Args:
        options: what to start.
        stay: let the nodes live on when this process ends.
        progress: told about downloads.
    """

    def __init__(
        self, options: NodeOptions, *, stay: bool = False, progress: DownloadProgress | None = None
    ) -> None:
        self.options = options
        self.children: list[Child] = []
        self.java: Java | None = None
        self.heap_mib = 0
        self._stay = stay
        self._progress = progress

    @property
    def url(self) -> str:
        """Address of the first node."""
        return f"http://{LOOPBACK}:{self.children[0].place.http_port}"

    @property
    def vectors(self) -> str:
        """With what the first node compares vectors, as it reported it."""
        return str(self.children[0].report().get("vectors", ""))

    def start(self, *, timeout_s: float = 300.0) -> None:
        """Download what is missing and start the nodes, until the cluster answers.

        Args:
            timeout_s: how long the nodes may take, downloads apart.

        Raises:
            LocalNodeError: the port, the memory, Java, a jar or the data folder is no good, or a node ended.
            MissingExtraError: the `local` extra is not installed.
            UsageError: an option has no such value.
        """
        self.launch()
        try:
            self.wait(timeout_s=timeout_s)
        except BaseException:  # also Ctrl-C: leave no half-started node behind
            self.stop()
            raise

    def launch(self) -> None:
        """Start the processes, and return before they answer; raises as `start` does."""
        options = self.options
        lock = read_lock(options.version)
        _check_bridge()
        self.java = find_java()
        total_mib, available_mib = machine.memory_mib()
        self.heap_mib = options.heap_mib or machine.default_heap_mib(total_mib, options.nodes)
        machine.check_memory(nodes=options.nodes, heap_mib=self.heap_mib, available_mib=available_mib)
        if options.port:
            machine.check_port(options.port)
        mark = DataMark(version=options.version, nodes=options.nodes)
        check_data(options.data, mark)
        cache = paths.cache_dir()
        store = JarStore(cache / "jars")
        store.ensure(lock, x_pack=options.x_pack, progress=self._progress)
        home = make_home(cache, lock, store, x_pack=options.x_pack)
        write_mark(options.data, mark)
        places = self._places()
        try:
            for place in places:
                self._prepare(place, places, lock, store, home)
                self.children.append(Child(place, stay=self._stay))
            note_users(options.data, [child.id for child in self.children])
        except BaseException:  # also Ctrl-C: leave no half-started node behind
            self.stop()
            raise

    def _places(self) -> list[NodePlace]:
        count, first = self.options.nodes, self.options.port
        ports = machine.free_ports(2 * count, taken=[first])
        https = ([first] if first else []) + ports[:count]
        return [
            NodePlace(
                name=f"node-{number + 1}",
                folder=self.options.data.absolute() / f"node-{number + 1}",
                http_port=https[number],
                transport_port=ports[count + number],
            )
            for number in range(count)
        ]

    def _prepare(
        self, place: NodePlace, places: list[NodePlace], lock: JarLock, store: JarStore, home: Path
    ) -> None:
        assert self.java is not None
        place.prepare()
        NodeSpec(
            version=lock.version,
            libjvm=str(self.java.library),
            jvm_options=jvm_options(
                self.java, home=home, temporary=place.folder / "tmp", heap_mib=self.heap_mib
            ),
            class_path=class_path(lock, store),
            config=str(place.config),
            settings=node_settings(place, home=home, nodes=places, x_pack=self.options.x_pack),
            report=str(place.report),
            stop_with_parent=not self._stay,
        ).write(place.spec)

    def wait(self, *, timeout_s: float) -> None:
        """Wait until all nodes have joined and the cluster answers; raises as `start` does."""
        end = time.monotonic() + timeout_s
        while not self._is_ready():
            self._check_alive()
            if time.monotonic() > end:
                raise LocalNodeError(
                    f"Elasticsearch {self.options.version} was not ready after {timeout_s:.0f} s",
                    hint=f"the log is {self.children[0].place.log}",
                )
            time.sleep(_POLL_S)
        probe.settle(self.children[0].place.http_port)

    def _is_ready(self) -> bool:
        # A port that answers could be another program's: the child itself must say that it has started.
        if not all(child.report().get("started") for child in self.children):
            return False
        port = self.children[0].place.http_port
        expected = [self.options.version] * self.options.nodes
        if probe.versions(port) != expected or probe.health(port) is None:
            return False
        # The licence is written a moment after the cluster has formed.
        return not self.options.x_pack or probe.get(port, "/_license") is not None

    def _check_alive(self) -> None:
        for child in self.children:
            if child.exit_status is not None or child.report().get("failure"):
                raise LocalNodeError(
                    f"Elasticsearch {self.options.version} ({child.place.name}) did not start: "
                    f"{child.failure()}",
                    hint=f"the log is {child.place.log}",
                )

    def release(self) -> None:
        """Leave the nodes to themselves."""
        for child in self.children:
            child.release()

    def stop(self) -> None:
        """End all nodes and wait for them."""
        # The elected master last: the others then leave an orderly cluster.
        for child in reversed(self.children):
            child.stop()

    def ended(self) -> Child | None:
        """A node that is no longer running, if any."""
        return next((child for child in self.children if child.exit_status is not None), None)


class LocalNode:
    """A local Elasticsearch for the length of a `with` block.

        with LocalNode(version="8.19.21") as node:
            Elasticsearch(node.url)

    It takes a free port, is not the node that `es-xmodal up` starts and `status` shows, and ends with the
    block, also when this process is killed.

    Args:
        version: of Elasticsearch.
        nodes: how many make the cluster.
        data: folder of the indices; None is a temporary one that is deleted at the end.
        port: HTTP port of the first node; 0 is any free one.
        heap_mib: heap of each node; None is chosen by the memory of the machine.
        x_pack: with the module that answers `GET _license`.
        progress: told about downloads.

    Raises:
        LocalNodeError: it cannot be started.
        MissingExtraError: the `local` extra is not installed.
    """

    def __init__(
        self,
        *,
        version: str = DEFAULT_VERSION,
        nodes: int = 1,
        data: Path | None = None,
        port: int = 0,
        heap_mib: int | None = None,
        x_pack: bool = False,
        progress: DownloadProgress | None = None,
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._arguments: dict[str, Any] = {
            "version": version,
            "nodes": nodes,
            "port": port,
            "heap_mib": heap_mib,
            "x_pack": x_pack,
        }
        self._data = data
        self._progress = progress
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """The running processes."""
        if self._cluster is None:
            raise LocalNodeError("this local node is not running", hint="use it in a `with` block")
        return self._cluster

    @property
    def url(self) -> str:
        """Address of the first node."""
        return self.cluster.url

    def start(self) -> LocalNode:
        """Start it; `stop` must follow."""
        data = self._data
        if data is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="es-xmodal-")
            data = Path(self._temporary.name)
        cluster = Cluster(NodeOptions(data=data, **self._arguments), progress=self._progress)
        try:
            cluster.start()
        except BaseException:  # also Ctrl-C: the temporary folder goes too
            self._forget()
            raise
        self._cluster = cluster
        return self

    def stop(self) -> None:
        """Stop it and delete its temporary data."""
        if self._cluster is not None:
            self._cluster.stop()
            self._cluster = None
        self._forget()

    def _forget(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> LocalNode:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _check_bridge() -> None:
    """The child needs jpype; say so here, where it is one line."""
    import importlib.util

    if importlib.util.find_spec("jpype") is None:
        raise MissingExtraError("the local Elasticsearch", extra="local")
