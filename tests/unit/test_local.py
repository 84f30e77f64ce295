"""The local node without a node: locks, jars, Java, settings, memory, ports, data folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from es_xmodal.errors import LocalNodeError, UsageError
from es_xmodal.local import machine, paths
from es_xmodal.local.child import _root_cause
from es_xmodal.local.data import DataMark, check_data, read_mark, write_mark
from es_xmodal.local.jars import JarStore
from es_xmodal.local.java import Java
from es_xmodal.local.layout import NodePlace, NodeSpec, class_path, jvm_options, make_home, node_settings
from es_xmodal.local.lock import (
    DEFAULT_VERSION,
    SERVER,
    TRANSPORT,
    VERSIONS,
    X_PACK,
    JarLock,
    LockedJar,
    read_lock,
)
from es_xmodal.local.node import LocalNode, NodeOptions
from es_xmodal.local.process import last_words

pytestmark = pytest.mark.unit

FAST = Java(home=Path("/j"), library=Path("/j/l"), release=25, fast_vectors=True, packaged=False)
SLOW = Java(home=Path("/j"), library=Path("/j/l"), release=25, fast_vectors=False, packaged=True)


def jar_of(content: bytes, part: str, name: str) -> LockedJar:
    return LockedJar(
        coordinate=f"org.example:{name}:1",
        part=part,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def store(tmp_path: Path) -> tuple[JarStore, JarLock]:
    """A cache that holds everything of a tiny lock."""
    folder = tmp_path / "jars"
    folder.mkdir()
    jars = []
    for part in (SERVER, TRANSPORT, X_PACK):
        content = f"content of {part}".encode()
        jar = jar_of(content, part, part)
        (folder / jar.file_name).write_bytes(content)
        jars.append(jar)
    return JarStore(folder), JarLock(version="1.2.3", java=21, jars=tuple(jars))


@pytest.mark.parametrize("version", VERSIONS)
def test_lock_holds_server_and_transport_apart(version: str) -> None:
    lock = read_lock(version)
    server = {jar.file_name for jar in lock.jars if jar.part == SERVER}
    for part in (TRANSPORT, X_PACK):
        assert not server & {jar.file_name for jar in lock.jars if jar.part == part}
    assert f"elasticsearch-{version}.jar" in server
    assert f"transport-netty4-{version}.jar" in {jar.file_name for jar in lock.jars if jar.part == TRANSPORT}
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size_bytes > 0 for jar in lock.jars)
    assert not any("template-resources" in jar.coordinate for jar in lock.jars)
    assert lock.java == {"9": 21, "8": 17}[version[0]]


def test_lock_leaves_x_pack_out_unless_wanted() -> None:
    lock = read_lock(DEFAULT_VERSION)
    assert not any("x-pack" in jar.coordinate for jar in lock.needed(x_pack=False))
    assert any("x-pack-core" in jar.coordinate for jar in lock.needed(x_pack=True))


def test_unknown_version_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no local Elasticsearch 7\.0.*9\.5\.3, 8\.19\.21"):
        read_lock("7.0")


def test_jars_that_are_right_need_no_network(store: tuple[JarStore, JarLock]) -> None:
    jars, lock = store
    jars.ensure(lock, x_pack=True)
    stamps = json.loads((jars.folder / "checked.json").read_text())
    assert set(stamps) == {jar.file_name for jar in lock.jars}


def test_unchanged_jar_is_not_hashed_again(
    store: tuple[JarStore, JarLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    jars, lock = store
    jars.ensure(lock, x_pack=False)

    def never(path: Path) -> str:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr("es_xmodal.local.jars.sha256_of", never)
    jars.ensure(lock, x_pack=False)
    os.utime(jars.path(lock.jars[0]), ns=(1, 1))
    with pytest.raises(AssertionError, match="was hashed"):
        jars.ensure(lock, x_pack=False)


def test_home_has_modules_with_descriptor_and_jars(store: tuple[JarStore, JarLock], tmp_path: Path) -> None:
    jars, lock = store
    home = make_home(tmp_path / "cache", lock, jars, x_pack=True)
    modules = sorted(p.relative_to(home / "modules").as_posix() for p in (home / "modules").rglob("*.*"))
    assert modules == [
        f"{TRANSPORT}/plugin-descriptor.properties",
        f"{TRANSPORT}/{TRANSPORT}-1.jar",
        f"{X_PACK}/plugin-descriptor.properties",
        f"{X_PACK}/{X_PACK}-1.jar",
    ]
    descriptor = (home / "modules" / TRANSPORT / "plugin-descriptor.properties").read_text()
    assert "elasticsearch.version=1.2.3\n" in descriptor
    assert "modulename" not in descriptor
    assert class_path(lock, jars) == (str(jars.folder / f"{SERVER}-1.jar"),)


def test_home_without_x_pack_is_another_and_is_mended(
    store: tuple[JarStore, JarLock], tmp_path: Path
) -> None:
    jars, lock = store
    home = make_home(tmp_path / "cache", lock, jars, x_pack=False)
    assert not (home / "modules" / X_PACK).exists()
    (home / "modules" / TRANSPORT / f"{TRANSPORT}-1.jar").unlink()
    assert make_home(tmp_path / "cache", lock, jars, x_pack=False) == home
    assert (home / "modules" / TRANSPORT / f"{TRANSPORT}-1.jar").is_file()
    assert make_home(tmp_path / "cache", lock, jars, x_pack=True) != home


def place(number: int, folder: Path = Path("/d")) -> NodePlace:
    return NodePlace(
        name=f"node-{number}",
        folder=folder / f"node-{number}",
        http_port=9200 + number,
        transport_port=9300 + number,
    )


def test_settings_listen_on_loopback_only() -> None:
    settings = node_settings(place(1), home=Path("/h"), nodes=[place(1)], x_pack=False)
    assert settings["network.host"] == "127.0.0.1"
    assert settings["discovery.type"] == "single-node"
    assert settings["http.port"] == "9201"
    assert not any(name.startswith("xpack") for name in settings)


def test_settings_of_several_nodes_name_each_other() -> None:
    places = [place(1), place(2), place(3)]
    settings = node_settings(places[1], home=Path("/h"), nodes=places, x_pack=True)
    assert settings["discovery.seed_hosts"] == ["127.0.0.1:9301", "127.0.0.1:9302", "127.0.0.1:9303"]
    assert settings["cluster.initial_master_nodes"] == ["node-1", "node-2", "node-3"]
    assert "discovery.type" not in settings
    assert settings["xpack.security.enabled"] == "false"


def test_vector_module_is_asked_for_only_where_it_is() -> None:
    fast = jvm_options(FAST, home=Path("/h"), temporary=Path("/t"), heap_mib=1024)
    slow = jvm_options(SLOW, home=Path("/h"), temporary=Path("/t"), heap_mib=1024)
    assert "--add-modules=jdk.incubator.vector" in fast
    assert not any("vector" in option for option in slow)
    assert {"-Xmx1024m", "-Xms512m", "-Xrs"} <= set(slow)


def test_spec_comes_back_as_written(tmp_path: Path) -> None:
    spec = NodeSpec(
        version="1.2.3",
        libjvm="/l",
        jvm_options=("-Xrs",),
        class_path=("/a.jar", "/b.jar"),
        config="/c",
        settings={"a": "b", "c": ["d"]},
        report="/r",
        stop_with_parent=True,
    )
    spec.write(tmp_path / "spec.json")
    assert NodeSpec.read(tmp_path / "spec.json") == spec


@pytest.mark.parametrize(("text", "size_mib"), [("1g", 1024), ("1536m", 1536), (" 2G ", 2048)])
def test_heap_sizes(text: str, size_mib: int) -> None:
    assert machine.parse_heap(text) == size_mib


@pytest.mark.parametrize("text", ["", "1", "1t", "-1g", "1.5g", "100m", "g"])
def test_heap_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--heap"):
        machine.parse_heap(text)


@pytest.mark.parametrize(
    ("total_mib", "nodes", "heap_mib"),
    [(4_096, 1, 512), (12_288, 1, 1536), (65_536, 1, 2048), (24_576, 3, 1024), (8_192, 3, 512)],
)
def test_default_heap(total_mib: int, nodes: int, heap_mib: int) -> None:
    assert machine.default_heap_mib(total_mib, nodes) == heap_mib


def test_too_little_memory_is_said_before_anything_starts() -> None:
    machine.check_memory(nodes=1, heap_mib=1024, available_mib=2000)
    with pytest.raises(
        LocalNodeError, match=r"too little memory: 3 nodes .* 1024 MiB .* 2000 MiB are available"
    ):
        machine.check_memory(nodes=3, heap_mib=1024, available_mib=2000)


@pytest.fixture
def listener() -> Iterator[int]:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(listener: int) -> None:
    assert not machine.is_free(listener)
    with pytest.raises(LocalNodeError, match=f"port {listener} .* in use"):
        machine.check_port(listener)


def test_free_ports_differ_and_leave_some_out() -> None:
    ports = machine.free_ports(6)
    assert len(set(ports)) == 6
    assert all(machine.is_free(port) for port in ports)
    assert not set(machine.free_ports(3, taken=ports)) & set(ports)


@pytest.mark.parametrize("change", [{"nodes": 0}, {"nodes": 10}, {"port": -1}, {"port": 70_000}])
def test_options_out_of_range(change: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        NodeOptions(data=tmp_path, **change)  # type: ignore[arg-type]


MARK = DataMark(version="9.5.3", nodes=3)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (DataMark(version="8.19.21", nodes=3), "was written by Elasticsearch 9.5.3"),
        (DataMark(version="9.5.3", nodes=1), "cluster of 3 nodes"),
    ],
)
def test_data_that_does_not_fit(tmp_path: Path, wanted: DataMark, words: str) -> None:
    write_mark(tmp_path, MARK)
    with pytest.raises(LocalNodeError, match=words):
        check_data(tmp_path, wanted)


@pytest.mark.parametrize("version", ["9.5.3", "9.10.0", "10.0.0"])
def test_data_that_fits(tmp_path: Path, version: str) -> None:
    write_mark(tmp_path, MARK)
    check_data(tmp_path, DataMark(version=version, nodes=3))
    assert read_mark(tmp_path) == MARK


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(LocalNodeError, match="not empty and was not made by a local node"):
        check_data(tmp_path, MARK)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(LocalNodeError, match="cannot use the data folder"):
        check_data(tmp_path / "f", MARK)


def test_last_words_prefer_an_error_to_a_stack(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_text(
        "[2026-01-01][INFO ][Node] starting\n"
        "[2026-01-01][ERROR][Node] the disk is gone\n"
        "java.io.IOException: no\n\tat org.example.Main(Main.java)\n[2026-01-01][INFO ][Node] bye\n"
    )
    assert last_words(log) == "[2026-01-01][ERROR][Node] the disk is gone"
    log.write_text("WARNING: dull\nsomething odd\n\tat org.example\n\n")
    assert last_words(log) == "something odd"
    assert last_words(tmp_path / "none") == ""


def test_root_cause_is_the_innermost_message() -> None:
    try:
        try:
            raise ValueError("inner\nmore")
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        assert _root_cause(error) == "inner"


def test_a_node_that_was_not_started_has_no_address() -> None:
    with pytest.raises(LocalNodeError, match="not running"):
        _ = LocalNode().url


def test_environment_moves_cache_and_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "c"))
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path / "h"))
    assert paths.cache_dir().is_relative_to(tmp_path / "c")
    assert paths.data_dir().is_relative_to(tmp_path / "h")
    assert paths.state_file().is_relative_to(tmp_path / "h")


def test_asking_for_the_running_node_loads_nothing_heavy() -> None:
    code = (
        "import sys; from es_xmodal.local import running_url; running_url();"
        "heavy = {'jpype', 'jgo', 'requests', 'elasticsearch', 'rich', 'filelock', 'numpy'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
