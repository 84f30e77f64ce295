"""What a node is started with: its folders, its Java options and its Elasticsearch settings.

Elasticsearch looks for modules below `path.home`, so that is a folder in the cache which all nodes of a
version share; configuration, data and logs of each node are elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from es_xmodal.local.jars import JarStore
from es_xmodal.local.java import VECTOR_MODULE, Java
from es_xmodal.local.lock import SERVER, TRANSPORT, X_PACK, JarLock

LOOPBACK = "127.0.0.1"
CLUSTER_NAME = "es-xmodal-local"

_PLUGINS = {
    TRANSPORT: "org.elasticsearch.transport.netty4.Netty4Plugin",
    X_PACK: "org.elasticsearch.xpack.core.XPackPlugin",
}
# No `modulename`: the server runs on the class path here, so its modules must too.
_DESCRIPTOR = """\
description={name}
version={version}
name={name}
classname={classname}
java.version={java}
elasticsearch.version={version}
extended.plugins=
has.native.controller=false
"""
_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d{ISO8601}][%-5p][%c{1}] %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.deprecation.name = org.elasticsearch.deprecation
logger.deprecation.level = error
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSpec:
    """All that the child process needs to know, written to a file and read there."""

    version: str
    libjvm: str
    jvm_options: tuple[str, ...]
    class_path: tuple[str, ...]
    config: str
    settings: dict[str, str | list[str]]
    report: str
    stop_with_parent: bool

    def write(self, path: Path) -> None:
        """Write this as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> NodeSpec:
        """Read what `write` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        raw["jvm_options"], raw["class_path"] = tuple(raw["jvm_options"]), tuple(raw["class_path"])
        return cls(**raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePlace:
    """Name, folder and ports of one node of a cluster."""

    name: str
    folder: Path
    http_port: int
    transport_port: int

    @property
    def log(self) -> Path:
        """Everything that the process of this node says."""
        return self.folder / "node.log"

    @property
    def report(self) -> Path:
        """What the child says about its start, as JSON."""
        return self.folder / "report.json"

    @property
    def spec(self) -> Path:
        """What the child is told."""
        return self.folder / "node.json"

    @property
    def config(self) -> Path:
        """Configuration folder of Elasticsearch."""
        return self.folder / "config"

    def prepare(self) -> None:
        """Make the folders and the logging configuration; forget the last report."""
        for folder in (self.config, self.folder / "data", self.folder / "logs", self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.config / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        self.report.unlink(missing_ok=True)


def make_home(cache: Path, lock: JarLock, store: JarStore, *, x_pack: bool) -> Path:
    """Build the shared `path.home` of a version: its modules, with their jars and descriptors.

    It is built beside its place and renamed, so two processes can do it at once.

    Args:
        cache: the cache folder.
        lock: the jars of the version.
        store: where they are.
        x_pack: with the licence module.

    Returns:
        The home folder.
    """
    home = cache / "homes" / (lock.version + ("-x-pack" if x_pack else ""))
    plugins = {name: cls for name, cls in _PLUGINS.items() if x_pack or name != X_PACK}
    if _is_complete(home, lock, plugins):
        return home
    building = home.with_name(f"{home.name}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    for folder in ("config", "lib", "plugins"):
        (building / folder).mkdir(parents=True)
    for plugin, class_name in plugins.items():
        module = building / "modules" / plugin
        module.mkdir(parents=True)
        for name in _jar_names(lock, plugin):
            _link(store.folder / name, module / name)
        text = _DESCRIPTOR.format(name=plugin, version=lock.version, classname=class_name, java=lock.java)
        (module / "plugin-descriptor.properties").write_text(text, encoding="utf-8")
    shutil.rmtree(home, ignore_errors=True)
    try:
        building.rename(home)
    except OSError:
        if not _is_complete(home, lock, plugins):
            raise
        shutil.rmtree(building)  # another process was first, and built the same
    return home


def _is_complete(home: Path, lock: JarLock, plugins: dict[str, str]) -> bool:
    for plugin in plugins:
        module = home / "modules" / plugin
        if not (module / "plugin-descriptor.properties").is_file():
            return False
        sizes = {p.name: p.stat().st_size for p in module.glob("*.jar")}
        if sizes != {jar.file_name: jar.size_bytes for jar in lock.jars if jar.part == plugin}:
            return False
    return True


def _jar_names(lock: JarLock, part: str) -> list[str]:
    return [jar.file_name for jar in lock.jars if jar.part == part]


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)  # another file system, or one without links


def class_path(lock: JarLock, store: JarStore) -> tuple[str, ...]:
    """Jars of the server itself; a module's jars must not be among them."""
    return tuple(str(store.folder / name) for name in _jar_names(lock, SERVER))


def jvm_options(java: Java, *, home: Path, temporary: Path, heap_mib: int) -> tuple[str, ...]:
    """Options of the Java machine of one node.

    Args:
        java: the Java to be started.
        home: `path.home` of Elasticsearch.
        temporary: the node's own folder for temporary files.
        heap_mib: size of the heap.

    Returns:
        The options in order.
    """
    options = [
        "-Xrs",  # the child process handles signals itself
        f"-Xms{heap_mib // 2}m",
        f"-Xmx{heap_mib}m",
        "-XX:+ExitOnOutOfMemoryError",
        "--enable-native-access=ALL-UNNAMED",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={temporary}",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j2.formatMsgNoLookups=true",
        "-Dio.netty.noUnsafe=true",
        "-Dio.netty.noKeySetOptimization=true",
        f"-Des.path.home={home}",
    ]
    if java.fast_vectors:
        # Lucene uses the module only up to the newest Java that it was tested with when it was made.
        # Elastic's own start script raises that bound to the Java it ships, and so does this one.
        options += [
            f"--add-modules={VECTOR_MODULE}",
            f"-Dorg.apache.lucene.vectorization.upperJavaFeatureVersion={java.release}",
        ]
    return tuple(options)


def node_settings(
    place: NodePlace, *, home: Path, nodes: list[NodePlace], x_pack: bool
) -> dict[str, str | list[str]]:
    """Elasticsearch settings of one node.

    Args:
        place: this node.
        home: `path.home`.
        nodes: all nodes of the cluster, this one included.
        x_pack: whether the licence module is there (its settings are unknown otherwise).

    Returns:
        Setting names and values.
    """
    settings: dict[str, str | list[str]] = {
        "path.home": str(home),
        "path.data": str(place.folder / "data"),
        "path.logs": str(place.folder / "logs"),
        "node.name": place.name,
        "cluster.name": CLUSTER_NAME,
        "network.host": LOOPBACK,
        "http.port": str(place.http_port),
        "transport.port": str(place.transport_port),
        # A small disk that is rather full is no reason for a trial node to refuse writes.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
    if len(nodes) == 1:
        settings["discovery.type"] = "single-node"
    else:
        settings["discovery.seed_hosts"] = [f"{LOOPBACK}:{node.transport_port}" for node in nodes]
        settings["cluster.initial_master_nodes"] = [node.name for node in nodes]
    if x_pack:
        settings["xpack.security.enabled"] = "false"
        settings["xpack.license.self_generated.type"] = "basic"
    return settings
