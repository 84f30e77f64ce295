"""Which jars make a local Elasticsearch, and how each must hash: the committed lock files.

A lock file is made once for a version and then reviewed like code:

    python -m es_xmodal.local.lock 9.5.3

It resolves the dependency graph (the only place that does), downloads every jar and writes
`locks/VERSION.json`. A start never resolves anything: it fetches the locked coordinates one by one.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from es_xmodal.errors import MissingExtraError, UsageError

DEFAULT_VERSION = "9.5.3"
VERSIONS = (DEFAULT_VERSION, "8.19.21")
SERVER, TRANSPORT, X_PACK = "server", "transport-netty4", "x-pack-core"

_FOLDER = Path(__file__).with_name("locks")
_ROOTS = {
    SERVER: "org.elasticsearch:elasticsearch",
    TRANSPORT: "org.elasticsearch.plugin:transport-netty4",
    X_PACK: "org.elasticsearch.plugin:x-pack-core",
}
# Named by the pom of x-pack-core, never published; the node starts without it.
_UNPUBLISHED = frozenset({"x-pack-template-resources"})
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedJar:
    """One file of a lock: `coordinate` is `group:artifact:version`."""

    coordinate: str
    part: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the jar in the cache and on the class path."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, kw_only=True, slots=True)
class JarLock:
    """All jars of one version. `java` is the oldest Java that the server's classes load on."""

    version: str
    java: int
    jars: tuple[LockedJar, ...]

    def needed(self, *, x_pack: bool) -> tuple[LockedJar, ...]:
        """The jars to have on disk, with or without the licence module."""
        return tuple(jar for jar in self.jars if x_pack or jar.part != X_PACK)


def read_lock(version: str, folder: Path = _FOLDER) -> JarLock:
    """Read the lock file of one version.

    Args:
        version: such as `9.5.3`.
        folder: where the lock files are.

    Returns:
        The jars with their sizes and checksums.

    Raises:
        UsageError: this version has no lock file.
    """
    path = folder / f"{version}.json"
    if not path.is_file():
        known = ", ".join(sorted((p.stem for p in folder.glob("*.json")), reverse=True))
        raise UsageError(f"there is no local Elasticsearch {version}", hint=f"choose one of {known}")
    raw = json.loads(path.read_text(encoding="utf-8"))
    jars = tuple(
        LockedJar(coordinate=name, part=part, size_bytes=entry["bytes"], sha256=entry["sha256"])
        for part, entries in raw["jars"].items()
        for name, entry in entries.items()
    )
    return JarLock(version=raw["version"], java=raw["java"], jars=jars)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return _digest(iter(lambda: file.read(1 << 20), b""))


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _coordinates(endpoint: str) -> dict[str, str]:
    """Resolve an endpoint; maps `group:artifact` to `group:artifact:version`, jars only."""
    import jgo

    found = (a for a in jgo.resolve(endpoint) if a.packaging == "jar" and not a.classifier)
    return {f"{a.groupId}:{a.artifactId}": f"{a.groupId}:{a.artifactId}:{a.version}" for a in found}


def _parts(version: str) -> dict[str, dict[str, str]]:
    """Split the jars by who loads them: a module must not bring what the server already has.

    Elasticsearch refuses to start when a class is both on its class path and in a module ("jar hell").
    """
    server = _coordinates(f"{_ROOTS[SERVER]}:{version}")
    parts = {SERVER: server}
    for part in (TRANSPORT, X_PACK):
        both = _coordinates(f"{_ROOTS[SERVER]}:{version}+{_ROOTS[part]}:{version}")
        own = {name: coordinate for name, coordinate in both.items() if name not in server}
        parts[part] = {n: c for n, c in own.items() if n.split(":")[1] not in _UNPUBLISHED}
    return parts


def _java_of(jar: Path) -> int:
    """Java release that the classes of a jar were compiled for, from its manifest."""
    import zipfile

    with zipfile.ZipFile(jar) as archive:
        manifest = archive.read("META-INF/MANIFEST.MF").decode("utf-8")
    lines = dict(line.split(": ", 1) for line in manifest.splitlines() if ": " in line)
    return int(lines["X-Compile-Target-JDK"])


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def make_lock(version: str, downloads: Path) -> Mapping[str, Any]:
    """Resolve and download one version, and describe what came.

    Args:
        version: the Elasticsearch version to lock.
        downloads: an empty folder; jars land there.

    Returns:
        The content of the lock file.

    Raises:
        MissingExtraError: the Maven resolver is not installed.
    """
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise MissingExtraError("locking a local Elasticsearch", extra="local") from error
    maven = MavenContext(repo_cache=downloads, timeout=60)
    jars: dict[str, dict[str, Any]] = {}
    java = 0
    for part, coordinates in _parts(version).items():
        jars[part] = {}
        for coordinate in sorted(coordinates.values()):
            group, artifact, artifact_version = coordinate.split(":")
            path = maven.project(group, artifact).at_version(artifact_version).artifact().resolve()
            jars[part][coordinate] = _entry(path)
            if coordinate == f"{_ROOTS[SERVER]}:{version}":
                java = _java_of(path)
    return {"format": _FORMAT, "version": version, "java": java, "jars": jars}


def main(arguments: list[str]) -> int:
    """Write the lock files of the versions named on the command line."""
    import tempfile

    for version in arguments or VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            content = make_lock(version, Path(folder))
        target = _FOLDER / f"{version}.json"
        target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        count = sum(len(entries) for entries in content["jars"].values())
        sys.stdout.write(f"{target}: {count} jars\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
