"""Jars that are wrong, missing, or do not come."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from es_xmodal.errors import LocalNodeError, MissingExtraError
from es_xmodal.local import jars as jars_module
from es_xmodal.local.jars import JarStore
from es_xmodal.local.lock import SERVER, JarLock, LockedJar

pytestmark = pytest.mark.fault

CONTENT = b"the real jar"
JAR = LockedJar(
    coordinate="org.example:thing:1.0",
    part=SERVER,
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)
LOCK = JarLock(version="1.2.3", java=21, jars=(JAR,))


class Counting:
    """Adds up what a bar would show."""

    def __init__(self) -> None:
        self.total, self.shown, self.ended = 0, 0, False

    def begin(self, *, files: int, size_bytes: int) -> None:
        self.total = size_bytes

    def advance(self, size_bytes: int) -> None:
        self.shown += size_bytes

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the network answer with these, in order: bytes, or an exception."""

    def give(*replies: bytes | Exception) -> None:
        left = list(replies)

        def fetch(jar: LockedJar, folder: Path, progress: jars_module._Counted) -> Path:
            reply = left.pop(0)
            if isinstance(reply, Exception):
                progress.advance(3)
                raise reply
            folder.mkdir()
            (folder / jar.file_name).write_bytes(reply)
            progress.advance(len(reply))
            return folder / jar.file_name

        monkeypatch.setattr(jars_module, "_fetch", fetch)

    return give


def only_the_jar(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith((".lock", "checked")))


def test_a_jar_that_was_tampered_with_is_named(tmp_path: Path) -> None:
    (tmp_path / JAR.file_name).write_bytes(CONTENT)
    store = JarStore(tmp_path)
    store.ensure(LOCK, x_pack=False)
    (tmp_path / JAR.file_name).write_bytes(b"the evil jar")
    with pytest.raises(LocalNodeError) as caught:
        store.ensure(LOCK, x_pack=False)
    line = str(caught.value)
    assert "thing-1.0.jar is not the jar that was locked" in line
    assert "\n" not in line


def test_a_jar_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / JAR.file_name).write_bytes(CONTENT[:-1])
    with pytest.raises(LocalNodeError, match=r"thing-1\.0\.jar is not the jar"):
        JarStore(tmp_path).ensure(LOCK, x_pack=False)


def test_a_download_that_fails_once_is_repeated(tmp_path: Path, answers: Callable[..., None]) -> None:
    answers(ConnectionError("reset"), CONTENT)
    progress = Counting()
    JarStore(tmp_path).ensure(LOCK, x_pack=False, progress=progress)
    assert (tmp_path / JAR.file_name).read_bytes() == CONTENT
    assert (progress.shown, progress.total, progress.ended) == (len(CONTENT), len(CONTENT), True)
    assert only_the_jar(tmp_path) == [JAR.file_name]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (ConnectionError("https://somewhere refused"), "no answer from the Maven repository"),
        (RuntimeError("not found in {'a': 'https://somewhere'}"), "does not have it"),
        (b"<html>please log in</html>", "another SHA-256 checksum"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_download_that_fails_is_one_line_and_leaves_nothing(
    tmp_path: Path, answers: Callable[..., None], reply: bytes | Exception, words: str
) -> None:
    answers(reply, reply, reply)
    progress = Counting()
    with pytest.raises(LocalNodeError) as caught:
        JarStore(tmp_path).ensure(LOCK, x_pack=False, progress=progress)
    line = str(caught.value)
    assert line.startswith("cannot download org.example:thing:1.0: ")
    assert words in line
    assert "https" not in line
    assert progress.ended
    assert only_the_jar(tmp_path) == []


def test_left_overs_of_a_killed_download_are_swept(tmp_path: Path, answers: Callable[..., None]) -> None:
    (tmp_path / ".incoming-x" / "half").mkdir(parents=True)
    answers(CONTENT)
    JarStore(tmp_path).ensure(LOCK, x_pack=False)
    assert only_the_jar(tmp_path) == [JAR.file_name]


@pytest.mark.parametrize("module", ["filelock", "jgo.config"])
def test_without_the_extra_its_name_is_told(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"es-xmodal\[local\]"):
        JarStore(tmp_path).ensure(LOCK, x_pack=False)


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalNodeError, match="cannot make the cache folder"):
        JarStore(tmp_path / "file" / "jars").ensure(LOCK, x_pack=False)
