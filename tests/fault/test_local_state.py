"""State files that lie, and processes that must not be touched."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from es_xmodal.errors import LocalNodeError, MissingExtraError
from es_xmodal.local import paths, service, state
from es_xmodal.local.data import DataMark, check_data, note_users, write_mark
from es_xmodal.local.process import ProcessId, stop_all
from es_xmodal.local.state import NodeEntry, State, read_state, running_url, write_state

pytestmark = pytest.mark.fault


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no node."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def state_with(process: ProcessId, *, ready: bool = True, starter: ProcessId | None = None) -> State:
    gone = ProcessId(pid=process.pid, created=1.0)
    return State(
        version="9.5.3",
        url="http://127.0.0.1:9200",
        data="/d",
        x_pack=False,
        heap_mib=1024,
        java="Java",
        vectors="",
        ready=ready,
        starter=starter or gone,
        nodes=(NodeEntry(name="node-1", process=process, http_port=9200, log="/l"),),
    )


def test_a_number_that_another_process_has_now_is_not_ours(bystander: subprocess.Popen[bytes]) -> None:
    actual = ProcessId.of(bystander.pid)
    write_state(state_with(replace(actual, created=actual.created - 3600)))
    assert running_url() is None
    assert service.status()["running"] is False
    assert service.down() is None
    assert bystander.poll() is None
    assert read_state() is None


def test_a_process_that_ended_does_not_count(bystander: subprocess.Popen[bytes]) -> None:
    write_state(state_with(ProcessId.of(bystander.pid)))
    assert running_url() == "http://127.0.0.1:9200"
    bystander.kill()
    bystander.wait()
    assert running_url() is None
    assert service.down() is None


def test_down_stops_what_is_written_down(bystander: subprocess.Popen[bytes]) -> None:
    write_state(state_with(ProcessId.of(bystander.pid)))
    stopped = service.down()
    assert stopped is not None
    assert bystander.poll() is not None
    assert not paths.state_file().exists()


def test_a_zombie_is_not_alive(bystander: subprocess.Popen[bytes]) -> None:
    known = ProcessId.of(bystander.pid)
    stop_all([known])
    assert not known.alive


def test_a_node_of_a_start_that_was_killed_is_stopped_before_the_next(
    bystander: subprocess.Popen[bytes],
) -> None:
    write_state(state_with(ProcessId.of(bystander.pid), ready=False))
    assert service._present() is None
    assert bystander.poll() is not None


def test_a_start_under_way_is_waited_for(bystander: subprocess.Popen[bytes]) -> None:
    here = ProcessId.of(os.getpid())
    unready = state_with(ProcessId.of(bystander.pid), ready=False, starter=here)
    write_state(unready)
    assert running_url() is None
    said: list[str] = []
    write_state(replace(unready, ready=True))
    assert service._when_ready(unready, said.append).ready
    assert said == [f"waiting for the start that process {os.getpid()} is busy with"]


def test_a_start_under_way_that_fails_is_one_line(bystander: subprocess.Popen[bytes]) -> None:
    unready = state_with(ProcessId.of(bystander.pid), ready=False)  # its starter is gone
    write_state(unready)
    with pytest.raises(LocalNodeError, match="start that was under way failed"):
        service._when_ready(unready, lambda _: None)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "starter": 3}']
)
def test_a_state_file_that_makes_no_sense_counts_as_none(content: str) -> None:
    paths.state_file().parent.mkdir(parents=True)
    paths.state_file().write_text(content)
    assert read_state() is None
    assert running_url() is None


def test_clearing_leaves_the_state_of_another_start_alone(bystander: subprocess.Popen[bytes]) -> None:
    mine = state_with(ProcessId.of(bystander.pid))
    theirs = replace(mine, starter=ProcessId(pid=1, created=2.0))
    write_state(theirs)
    state.clear_state(mine)
    assert read_state() == theirs


def request_of(tmp_path: Path, port: int) -> service.UpRequest:
    return service.UpRequest(port=port, data=tmp_path / "data")


def test_a_busy_port_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(LocalNodeError, match=f"port {port} on 127.0.0.1 is in use by another program"):
            service.up(request_of(tmp_path, port), detach=True)
    assert read_state() is None
    assert not (tmp_path / "data").exists()


def test_without_the_java_bridge_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jpype", None)
    with pytest.raises(MissingExtraError, match=r"es-xmodal\[local\]"):
        service.up(request_of(tmp_path, 0), detach=True)
    assert read_state() is None


def test_another_node_than_the_running_one_is_refused(
    bystander: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    write_state(state_with(ProcessId.of(bystander.pid)))
    assert service.up(service.UpRequest(), detach=True).already
    for asked, words in [
        (service.UpRequest(version="8.19.21"), "of version 9.5.3"),
        (service.UpRequest(nodes=2), "of 1 node"),
        (service.UpRequest(port=9201), "on port 9200"),
        (service.UpRequest(data=tmp_path), "with its data in /d"),
        (service.UpRequest(x_pack=True), "without --x-pack"),
    ]:
        with pytest.raises(LocalNodeError, match=f"a local node {words} is already running"):
            service.up(asked, detach=True)
    assert bystander.poll() is None


def test_data_that_a_living_node_uses_is_refused(bystander: subprocess.Popen[bytes], tmp_path: Path) -> None:
    mark = DataMark(version="9.5.3", nodes=1)
    write_mark(tmp_path, mark)
    note_users(tmp_path, [ProcessId.of(bystander.pid)])
    with pytest.raises(LocalNodeError, match=f"in use by the local node of process {bystander.pid}"):
        check_data(tmp_path, mark)
    bystander.kill()
    bystander.wait()
    check_data(tmp_path, mark)
