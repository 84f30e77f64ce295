"""The locked jars on disk: fetched once, checked at every start.

A jar is downloaded beside its place, hashed, and only then renamed into it, so the cache never holds
half a file. Later starts compare size and time with those noted when the hash was last right, and hash
again where they differ.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from es_xmodal.errors import LocalNodeError, MissingExtraError
from es_xmodal.local.lock import JarLock, LockedJar, sha256_of

logger = logging.getLogger(__name__)

_STAMPS = "checked.json"
_INCOMING = ".incoming-"
_PARALLEL = 4
_ATTEMPTS = 3
_TIMEOUT_S = 60


class DownloadProgress(Protocol):
    """What a caller can show while jars come in; called from several threads."""

    def begin(self, *, files: int, size_bytes: int) -> None:
        """Downloading starts; nothing is called when no jar is missing."""

    def advance(self, size_bytes: int) -> None:
        """So many more bytes came, or went when an attempt is repeated."""

    def end(self) -> None:
        """Downloading is over, well or not."""


class Silent:
    """Shows nothing."""

    def begin(self, *, files: int, size_bytes: int) -> None:
        """Show nothing."""

    def advance(self, size_bytes: int) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


class JarStore:
    """A flat folder of jars, shared by all versions.

    Args:
        folder: where the jars are; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, jar: LockedJar) -> Path:
        """Where this jar is, or will be."""
        return self.folder / jar.file_name

    def missing(self, lock: JarLock, *, x_pack: bool) -> list[LockedJar]:
        """The jars that a start would have to download."""
        return [jar for jar in _unique(lock.needed(x_pack=x_pack)) if not self.path(jar).is_file()]

    def ensure(self, lock: JarLock, *, x_pack: bool, progress: DownloadProgress | None = None) -> None:
        """Have every needed jar on disk, with the locked checksum.

        Args:
            lock: what is needed.
            x_pack: also the licence module.
            progress: told about downloads.

        Raises:
            LocalNodeError: a jar cannot be downloaded, or is not the locked one.
            MissingExtraError: jars are missing and the Maven resolver is not installed.
        """
        self._make_folder()
        with _one_at_a_time(self.folder / ".lock"):
            for left in self.folder.glob(f"{_INCOMING}*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            absent = self.missing(lock, x_pack=x_pack)
            if absent:
                self._download(absent, progress or Silent())
            self._check(_unique(lock.needed(x_pack=x_pack)))

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalNodeError(f"cannot make the cache folder {self.folder}: {error.strerror}") from error

    def _check(self, jars: list[LockedJar]) -> None:
        stamps = self._read_stamps()
        fresh = dict(stamps)
        for jar in jars:
            path = self.path(jar)
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns, jar.sha256]
            if stamps.get(jar.file_name) == stamp:
                continue
            if stat.st_size != jar.size_bytes or sha256_of(path) != jar.sha256:
                raise LocalNodeError(
                    f"{path} is not the jar that was locked: its SHA-256 checksum differs",
                    hint="delete that file, and the next start downloads it again",
                )
            fresh[jar.file_name] = stamp
        if fresh != stamps:
            _write_json(self.folder / _STAMPS, fresh)

    def _read_stamps(self) -> dict[str, list[Any]]:
        try:
            stamps = json.loads((self.folder / _STAMPS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # no stamps only means hashing everything once more
        return stamps if isinstance(stamps, dict) else {}

    def _download(self, jars: list[LockedJar], progress: DownloadProgress) -> None:
        logger.info("downloading %d jars", len(jars))
        progress.begin(files=len(jars), size_bytes=sum(jar.size_bytes for jar in jars))
        try:
            with (
                tempfile.TemporaryDirectory(dir=self.folder, prefix=_INCOMING) as incoming,
                ThreadPoolExecutor(_PARALLEL) as pool,
            ):
                tasks = [pool.submit(self._download_one, jar, Path(incoming), progress) for jar in jars]
                try:
                    for task in tasks:
                        task.result()
                except BaseException:  # also Ctrl-C: do not begin the jars that still wait
                    pool.shutdown(cancel_futures=True)
                    raise
        finally:
            progress.end()

    def _download_one(self, jar: LockedJar, incoming: Path, progress: DownloadProgress) -> None:
        problem = ""
        for attempt in range(_ATTEMPTS):
            counted = _Counted(progress)
            try:
                path = _fetch(jar, incoming / f"{jar.file_name}.{attempt}", counted)
            except (OSError, RuntimeError) as error:  # RuntimeError: jgo's word for a 404
                problem = _reason(error)
            else:
                if sha256_of(path) == jar.sha256:
                    path.replace(self.path(jar))
                    return
                problem = "what came has another SHA-256 checksum than the locked one"
            counted.undo()
        raise LocalNodeError(
            f"cannot download {jar.coordinate}: {problem}",
            hint="the first start of a version needs the network",
        )


class _Counted:
    """Counts what one attempt reported, so that a repeated attempt can take it back."""

    def __init__(self, progress: DownloadProgress) -> None:
        self._progress = progress
        self._total = 0

    def advance(self, size_bytes: int) -> None:
        self._total += size_bytes
        self._progress.advance(size_bytes)

    def undo(self) -> None:
        self._progress.advance(-self._total)
        self._total = 0

    def __call__(self, _name: str, _size: int) -> AbstractContextManager[Callable[[int], None]]:
        @contextmanager
        def updates() -> Iterator[Callable[[int], None]]:
            yield self.advance

        return updates()


def _fetch(jar: LockedJar, folder: Path, progress: _Counted) -> Path:
    """Bring one jar into `folder`: from the local Maven repository if there, else from the network."""
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise MissingExtraError("the local Elasticsearch", extra="local") from error
    settings = GlobalSettings.load()
    group, artifact, version = jar.coordinate.split(":")
    kept = Path(settings.repo_cache).joinpath(*group.split("."), artifact, version, jar.file_name)
    if kept.is_file() and sha256_of(kept) == jar.sha256:
        folder.mkdir(parents=True)
        progress.advance(jar.size_bytes)
        return Path(shutil.copy(kept, folder))
    # A mirror that the person configured for jgo is used; otherwise jgo's own default.
    context = MavenContext(
        resolver=PythonResolver(progress_callback=progress),
        repo_cache=folder,
        remote_repos=dict(settings.repositories) or None,
        timeout=_TIMEOUT_S,
    )
    return Path(context.project(group, artifact).at_version(version).artifact().resolve())


def _reason(error: Exception) -> str:
    """A person's word for a failed download, without the addresses that the libraries print."""
    if isinstance(error, RuntimeError):
        return "the Maven repository does not have it"
    strerror = getattr(error, "strerror", None)
    if strerror:
        return str(strerror)
    return f"no answer from the Maven repository ({type(error).__name__})"


def _unique(jars: tuple[LockedJar, ...]) -> list[LockedJar]:
    """Two modules may bring the same jar."""
    return list({jar.file_name: jar for jar in jars}.values())


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process download while the others wait for its jars."""
    try:
        from filelock import FileLock
    except ImportError as error:
        raise MissingExtraError("the local Elasticsearch", extra="local") from error
    with FileLock(path):
        yield


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
