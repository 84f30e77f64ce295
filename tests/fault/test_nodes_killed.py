"""Three nodes in one cluster: one of them, or the one that a service knows, is killed and comes back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import ClusterRefusedError
from es_xmodal.index.target import load_target
from es_xmodal.ingest.report import IngestReport
from es_xmodal.local import LocalNode
from es_xmodal.local.process import Child
from es_xmodal.settings import load_settings
from tests.support import nodes
from tests.support.ingesting import SlowEncoder, counts, documents, ingest_catalog, shop_rows, write_rows
from tests.support.watching import watched

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
HEAP_MIB = 512
MANY = 120
PROBES = 20
"""Probes of `/readyz`, five a second, in which a service must notice."""


class Three:
    """A cluster of three nodes."""

    def __init__(self, node: LocalNode) -> None:
        self._children = node.cluster.children
        self.urls = [f"http://127.0.0.1:{child.place.http_port}" for child in self._children]
        self.client = connect(load_settings(url=",".join(self.urls)))

    def kill(self, at: int) -> None:
        """With -9, as the system does that runs out of memory."""
        self._children[at]._popen.kill()
        self._children[at].stop()

    def revive(self, at: int) -> None:
        """Start the process again on its data."""
        self._children[at] = Child(self._children[at].place, stay=False)

    def settle(self) -> None:
        """Until there are three nodes, and every copy of every shard."""
        while True:
            health = self.client.options(ignore_status=408).cluster.health(
                wait_for_nodes="3", wait_for_status="green", timeout="5s"
            )
            if not health.body.get("timed_out", True):
                return

    def node_of_primary(self, index: str) -> int:
        """Which node holds the first shard."""
        shards = self.client.cluster.state(metric="routing_table", index=index).body
        copies = shards["routing_table"]["indices"][index]["shards"]["0"]
        id_ = next(one["node"] for one in copies if one["primary"])
        name = self.client.nodes.info(node_id=id_, filter_path="nodes.*.name").body["nodes"][id_]["name"]
        return [child.place.name for child in self._children].index(name)


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    nodes.require_local_extra()
    with LocalNode(version=nodes.tested_versions()[0], nodes=3, heap_mib=HEAP_MIB) as node:
        found = Three(node)
        yield found
        found.client.close()


def test_a_node_that_is_killed_is_waited_for(three: Three, tmp_path: Path) -> None:
    name, calm = "shop", "calm"
    every = ",".join(three.urls)
    rows: list[dict[str, Any]] = shop_rows(tmp_path, MANY)
    old = [{**row, "title": "Old"} for row in rows[: MANY // 2]]
    ingest_catalog(every, write_rows(tmp_path, old, name="old.jsonl"), name, replicas=1)
    three.settle()
    catalog = write_rows(tmp_path, [*rows, {"id": "untitled"}])
    done: list[IngestReport] = []

    def ingest() -> None:
        done.append(ingest_catalog(every, catalog, name, rebuild=True, replicas=1, encoder=SlowEncoder(0.05)))

    with watched(three.client, name, {MANY // 2, MANY}):
        running = threading.Thread(target=ingest)
        running.start()
        wait_until(lambda: written(three.client, f"{name}-v0002") >= MANY // 4)
        killed = three.node_of_primary(f"{name}-v0002")
        three.kill(killed)
        assert not done, "it was over before the node was killed"
        running.join()
    (report,) = done
    assert counts(report) == (MANY, 0, 0, 1)
    ingest_catalog(every, catalog, calm)
    assert documents(three.client, name) == documents(three.client, calm)
    assert (
        load_target(three.client, name).meta.calibration == load_target(three.client, calm).meta.calibration
    )
    three.revive(killed)
    three.settle()
    assert documents(three.client, name) == documents(three.client, calm)


def test_a_read_only_cluster_is_named_with_its_remedy(three: Three, tmp_path: Path) -> None:
    every = ",".join(three.urls)
    rows: list[dict[str, Any]] = shop_rows(tmp_path, 10)
    ingest_catalog(every, write_rows(tmp_path, rows), "locked")
    changed = write_rows(tmp_path, [{**row, "title": "New"} for row in rows], name="changed.jsonl")
    block: dict[str, Any] = {"cluster.blocks.read_only": True}
    three.client.cluster.put_settings(persistent=block)
    os.environ["ES_XMODAL_PATIENCE_S"] = "1"
    try:
        for rebuild in (False, True):
            with pytest.raises(ClusterRefusedError) as caught:
                ingest_catalog(every, changed, "locked", rebuild=rebuild)
            assert "cluster.blocks.read_only" in caught.value.hint
        assert len(documents_there(three.client, "locked")) == 10
    finally:
        del os.environ["ES_XMODAL_PATIENCE_S"]
        three.client.cluster.put_settings(persistent={"cluster.blocks.read_only": None})
    assert counts(ingest_catalog(every, changed, "locked")) == (0, 10, 0, 0)


def test_a_service_whose_node_is_killed_under_load_recovers_by_itself(three: Three, tmp_path: Path) -> None:
    ingest_catalog(three.urls[2], write_rows(tmp_path, shop_rows(tmp_path, 20)), "served", replicas=1)
    three.settle()
    with served(three.urls[2], "served") as url, load(url) as (seen, callers):

        def wait_until(true: Callable[[], bool]) -> None:
            while not true():
                assert not any(caller.done() for caller in callers), seen
                time.sleep(0.05)

        wait_until(lambda: seen["200"] > 20)
        assert ready(url) == 200
        three.kill(2)
        probes = 0
        while ready(url) == 200:
            probes += 1
            time.sleep(0.2)
        assert probes <= PROBES
        before = seen.copy()
        wait_until(lambda: seen["503 cluster-unreachable"] > before["503 cluster-unreachable"] + 20)
        assert ready(url) == 503
        three.revive(2)
        wait_until(lambda: ready(url) == 200)
        before = seen.copy()
        wait_until(lambda: seen["200"] > before["200"] + 20)
    assert seen["503 cluster-unreachable"] >= 20, seen


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.05)


def written(client: Elasticsearch, index: str) -> int:
    answer = client.options(ignore_status=404).indices.stats(index=index, metric="indexing").body
    return int(answer.get("_all", {}).get("primaries", {}).get("indexing", {}).get("index_total", 0))


def documents_there(client: Elasticsearch, index: str) -> list[Any]:
    """Without the refresh that a read-only cluster refuses."""
    return list(client.search(index=index, size=100).body["hits"]["hits"])


def ready(url: str) -> int:
    return httpx.get(f"{url}/readyz", timeout=60).status_code


@contextmanager
def served(es_url: str, index: str) -> Iterator[str]:
    """`es-xmodal serve` as a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ES_XMODAL_")}
    command = [sys.executable, "-m", "tests.support.serving", "--quiet", "--url", es_url]
    with subprocess.Popen(
        [*command, "--index", index, "--port", "0"],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        found = re.match(r"(http://127\.0\.0\.1:\d+) serves", process.stderr.readline())
        assert found
        # What it logs must not fill the pipe.
        draining = threading.Thread(target=process.stderr.read)
        draining.start()
        try:
            yield found.group(1)
        finally:
            process.terminate()
            draining.join()


@contextmanager
def load(url: str) -> Iterator[tuple[Counter[str], list[Future[None]]]]:
    """Four callers that search without a pause, and what they were answered; another answer ends them."""
    seen: Counter[str] = Counter()
    lock, over = threading.Lock(), threading.Event()

    def call() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not over.is_set():
                try:
                    answer = client.get("/search", params={"q": "red mug"})
                except httpx.ConnectError:  # it has not begun to answer yet
                    time.sleep(0.05)
                    continue
                kind = str(answer.status_code)
                assert kind in ("200", "503"), answer.text
                if kind == "503":
                    assert answer.headers["content-type"] == "application/problem+json"
                    kind += f" {answer.json().get('type', '').rpartition(':')[2]}"
                with lock:
                    seen[kind] += 1

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call) for _ in range(4)]
        try:
            yield seen, callers
        finally:
            over.set()
    for caller in callers:
        caller.result()
