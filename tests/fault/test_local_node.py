"""Real nodes that die, or whose parent does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from es_xmodal.errors import LocalNodeError
from es_xmodal.local import paths
from es_xmodal.local.layout import NodePlace, NodeSpec
from es_xmodal.local.lock import DEFAULT_VERSION
from es_xmodal.local.node import Cluster, LocalNode, NodeOptions
from es_xmodal.local.process import Child, ProcessId
from es_xmodal.local.state import read_state
from tests.support.nodes import require_local_extra

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
HEAP_MIB = 512


@pytest.fixture(autouse=True)
def extra() -> None:
    require_local_extra()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(NodeOptions(data=tmp_path / "data", heap_mib=HEAP_MIB))
    yield made
    made.stop()


def wait_until_gone(process: ProcessId) -> None:
    while process.alive:
        time.sleep(0.05)


def test_a_node_killed_during_its_start_is_one_line(cluster: Cluster) -> None:
    cluster.launch()
    os.kill(cluster.children[0].id.pid, signal.SIGKILL)
    with pytest.raises(LocalNodeError) as caught:
        cluster.wait(timeout_s=60)
    line = str(caught.value)
    assert line.startswith(f"Elasticsearch {DEFAULT_VERSION} (node-1) did not start: ended by SIGKILL")
    assert str(cluster.children[0].place.log) in line
    assert "\n" not in line


def test_a_java_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    place = NodePlace(name="node-1", folder=tmp_path, http_port=1, transport_port=2)
    place.prepare()
    (tmp_path / "libjvm.so").write_text("no library")
    NodeSpec(
        version=DEFAULT_VERSION,
        libjvm=str(tmp_path / "libjvm.so"),
        jvm_options=(),
        class_path=(),
        config=str(place.config),
        settings={},
        report=str(place.report),
        stop_with_parent=False,
    ).write(place.spec)
    child = Child(place, stay=True)
    try:
        wait_until_gone(child.id)
        assert child.exit_status == 1
        assert "libjvm.so" in child.failure()
        assert "\n" not in child.failure()
    finally:
        child.stop()


def test_a_setting_that_elasticsearch_refuses_is_one_line(cluster: Cluster) -> None:
    cluster.launch()
    place = cluster.children[0].place
    cluster.stop()
    spec = NodeSpec.read(place.spec)
    replace(spec, settings={**spec.settings, "no.such.setting": "1"}).write(place.spec)
    cluster.children[0] = Child(place, stay=False)
    with pytest.raises(LocalNodeError, match=r"did not start: .*unknown setting \[no\.such\.setting\]"):
        cluster.wait(timeout_s=60)


def test_a_node_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from es_xmodal.local import LocalNode\n"
        f"node = LocalNode(data=pathlib.Path(sys.argv[1]), heap_mib={HEAP_MIB}).start()\n"
        "print(node.cluster.children[0].id.pid, flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        node = ProcessId.of(int(parent.stdout.readline()))
        assert node.alive
        parent.kill()
    wait_until_gone(node)


def test_two_nodes_cannot_share_a_data_folder(tmp_path: Path) -> None:
    with (
        LocalNode(data=tmp_path / "data", heap_mib=HEAP_MIB) as first,
        pytest.raises(LocalNodeError, match="in use by the local node of process"),
    ):
        LocalNode(data=tmp_path / "data", heap_mib=HEAP_MIB).start()
    with pytest.raises(LocalNodeError, match="not running"):
        _ = first.url


def test_up_says_so_when_its_node_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path))
    command = [sys.executable, "-m", "es_xmodal", "up", "--port", "0", "--heap", f"{HEAP_MIB}m"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as foreground:
        assert foreground.stdout is not None
        assert "is ready at http://127.0.0.1:" in foreground.stdout.readline()
        state = read_state()
        assert state is not None
        os.kill(state.nodes[0].process.pid, signal.SIGKILL)
        _, errors = foreground.communicate()
    assert foreground.returncode == 3
    last = errors.strip().splitlines()[-1]
    assert "node-1 ended: ended by SIGKILL" in last
    assert read_state() is None
