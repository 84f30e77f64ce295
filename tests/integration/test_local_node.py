"""Local nodes of each version, and the commands that start, show and stop them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.errors import LocalNodeError
from es_xmodal.local import LocalNode, paths, running_url
from es_xmodal.local.java import packaged_java
from es_xmodal.local.lock import DEFAULT_VERSION, VERSIONS
from es_xmodal.local.state import read_state
from tests.support.nodes import call, delete_everything_named, require_local_extra

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
HEAP_MIB = 512


def test_node_has_the_version_that_was_asked_for(es_url: str, es_version: str) -> None:
    status, answer = call(es_url, "GET", "/_nodes?filter_path=nodes.*.version")
    assert status == 200
    assert {node["version"] for node in answer["nodes"].values()} == {es_version}


def test_node_finds_words_and_vectors(es_url: str, index_prefix: str) -> None:
    index = f"/{index_prefix}things"
    vector = {"type": "dense_vector", "dims": 2, "index_options": {"type": "hnsw"}}
    mappings = {"properties": {"title": {"type": "text"}, "vector": vector}}
    assert call(es_url, "PUT", index, {"mappings": mappings})[0] == 200
    for number, (title, value) in enumerate([("red shoe", [1, 0]), ("blue hat", [0, 1])]):
        call(es_url, "PUT", f"{index}/_doc/{number}", {"title": title, "vector": value})
    call(es_url, "POST", f"{index}/_refresh")
    _, by_word = call(es_url, "POST", f"{index}/_search", {"query": {"match": {"title": "hat"}}})
    assert [hit["_id"] for hit in by_word["hits"]["hits"]] == ["1"]
    knn = {"field": "vector", "query_vector": [0.9, 0.1], "k": 1, "num_candidates": 10}
    _, by_vector = call(es_url, "POST", f"{index}/_search", {"knn": knn})
    assert [hit["_id"] for hit in by_vector["hits"]["hits"]] == ["0"]


def test_cleaning_up_leaves_others_alone(es_url: str, index_prefix: str) -> None:
    kept, gone = f"{index_prefix}keep", f"{index_prefix}gone"
    call(es_url, "PUT", f"/{kept}", {"aliases": {f"{gone}-alias": {}}})
    call(es_url, "PUT", f"/{gone}-1", {})
    delete_everything_named(es_url, gone)
    _, left = call(es_url, "GET", f"/{index_prefix}*")
    assert left.keys() == {kept}
    assert left[kept]["aliases"] == {}


def test_licence_is_answered_with_x_pack(es_version: str) -> None:
    require_local_extra()
    with LocalNode(version=es_version, heap_mib=HEAP_MIB, x_pack=True) as node:
        status, answer = call(node.url, "GET", "/_license")
        assert status == 200
        assert (answer["license"]["type"], answer["license"]["status"]) == ("basic", "active")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_packaged_java_is_enough(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_local_extra()
    monkeypatch.setattr("es_xmodal.local.node.find_java", packaged_java)
    with LocalNode(version=version, heap_mib=HEAP_MIB) as node:
        assert node.cluster.vectors == "DefaultVectorUtilSupport"
        assert call(node.url, "GET", "/_cluster/health")[1]["status"] == "green"


def test_data_follow_an_upgrade_and_more_nodes_but_not_back(tmp_path: Path) -> None:
    require_local_extra()
    old, new = VERSIONS[1], VERSIONS[0]
    with LocalNode(version=old, data=tmp_path, heap_mib=HEAP_MIB) as node:
        call(node.url, "PUT", "/kept/_doc/1?refresh=true", {"a": 1})
    with LocalNode(version=new, data=tmp_path, heap_mib=HEAP_MIB, nodes=2) as node:
        assert call(node.url, "GET", "/kept/_doc/1")[1]["_source"] == {"a": 1}
    with pytest.raises(LocalNodeError, match=f"written by Elasticsearch {new}"):
        LocalNode(version=old, data=tmp_path, heap_mib=HEAP_MIB).start()
    with pytest.raises(LocalNodeError, match="cluster of 2 nodes"):
        LocalNode(version=new, data=tmp_path, heap_mib=HEAP_MIB).start()


def test_two_nodes_form_a_cluster_with_replicas() -> None:
    require_local_extra()
    with LocalNode(nodes=2, heap_mib=HEAP_MIB) as node:
        settings = {"number_of_shards": 2, "number_of_replicas": 1}
        call(node.url, "PUT", "/spread", {"settings": settings})
        _, health = call(node.url, "GET", "/_cluster/health/spread?wait_for_status=green")
        assert health["status"] == "green"
        assert (health["number_of_nodes"], health["active_shards"]) == (2, 4)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    require_local_extra()
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path))
    yield tmp_path
    run("down")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "es_xmodal", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def answer_of(*arguments: str, code: int = 0) -> Any:
    done = run(*arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_up_status_down(home: Path) -> None:
    assert answer_of("status", code=1)["running"] is False
    started = answer_of("up", "--port", "0", "--heap", "512m", "--detach")
    assert (started["version"], started["already_running"]) == (DEFAULT_VERSION, False)
    assert running_url() == started["url"]
    again = answer_of("up", "--detach")
    assert (again["url"], again["already_running"]) == (started["url"], True)

    status = answer_of("status")
    assert (status["ready"], status["url"], status["health"]) == (True, started["url"], "green")
    assert status["nodes"][0]["memory_mib"] > 100
    assert Path(status["data"]).is_relative_to(home)

    call(started["url"], "PUT", "/kept/_doc/1?refresh=true", {"a": 1})
    assert answer_of("down") == {"stopped": True, "url": started["url"]}
    assert answer_of("down") == {"stopped": False, "url": None}
    assert running_url() is None

    restarted = answer_of("up", "--port", "0", "--heap", "512m", "--detach")
    assert call(restarted["url"], "GET", "/kept/_doc/1")[1]["_source"] == {"a": 1}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("how", ["Ctrl-C", "down"])
def test_up_in_the_foreground_runs_until_it_is_stopped(how: str) -> None:
    command = [sys.executable, "-m", "es_xmodal", "up", "--port", "0", "--heap", "512m"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as foreground:
        assert foreground.stdout is not None
        url = foreground.stdout.readline().split()[-1]
        assert running_url() == url
        state = read_state()
        assert state is not None
        if how == "down":
            assert run("down").returncode == 0
        else:
            os.kill(foreground.pid, signal.SIGINT)
        _, errors = foreground.communicate()
    assert foreground.returncode == 0, errors
    assert errors.splitlines()[-1] == "stopped"
    assert not state.running
    assert read_state() is None
