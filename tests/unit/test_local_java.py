"""Which Java is chosen for the local node."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from es_xmodal.errors import LocalNodeError
from es_xmodal.local import java as java_module
from es_xmodal.local.java import Java, find_java

pytestmark = pytest.mark.unit

PACKAGED = Java(home=Path("/j"), library=Path("/j/l"), release=25, fast_vectors=False, packaged=True)


def fake_java(home: Path, modules: str) -> Path:
    """A program that answers `--list-modules`."""
    (home / "bin").mkdir(parents=True)
    (home / "lib" / "server").mkdir(parents=True)
    (home / "lib" / "server" / "libjvm.so").write_bytes(b"")
    program = home / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho '{modules}'\n")
    program.chmod(0o755)
    return home


@pytest.fixture
def no_installed_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java_module, "_INSTALLED", {})
    monkeypatch.setattr(java_module, "_IN_HOME", ())
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(java_module, "packaged_java", lambda: PACKAGED)


posix = pytest.mark.skipif(sys.platform == "win32", reason="the fake Java is a shell script")


@posix
@pytest.mark.usefixtures("no_installed_java")
@pytest.mark.parametrize(
    ("modules", "chosen"),
    [
        ("java.base@21.0.2 jdk.incubator.vector@21.0.2", True),
        ("java.base@17.0.2 jdk.incubator.vector@17.0.2", False),
        ("java.base@99 jdk.incubator.vector@99", False),
        ("java.base@21.0.2", False),
        ("no java at all", False),
    ],
)
def test_a_full_jdk_is_preferred(
    modules: str, chosen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fake_java(tmp_path / "jdk", modules)
    monkeypatch.setenv("JAVA_HOME", str(home))
    java = find_java()
    assert (java.home == home) is chosen
    assert java.packaged is not chosen
    assert java.fast_vectors is chosen


@posix
@pytest.mark.usefixtures("no_installed_java")
def test_no_java_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_module, "packaged_java", lambda: None)
    with pytest.raises(LocalNodeError, match=r"no Java between 21 and 25.*es-xmodal\[local\]"):
        find_java()
