"""The command line when the cluster fails in the middle: an error, never just fewer hits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import UNREACHABLE, Cli, Reply, environment, http_server, refused
from tests.support.nodes import call, delete_everything_named

pytestmark = pytest.mark.fault

SHARDS = {"total": 2, "successful": 2, "skipped": 0, "failed": 0}
FAILED = {
    **SHARDS,
    "successful": 1,
    "failed": 1,
    "failures": [{"shard": 1, "reason": {"type": "node_disconnected", "reason": "gone"}}],
}


@pytest.fixture(scope="module")
def target(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `GET /INDEX` answers for an index of this project."""
    home = tmp_path_factory.mktemp("target")
    index = f"t{home.name.replace('_', '-')}-{id(home):x}"
    (home / "few.jsonl").write_text('{"id": "1", "title": "Red mug"}\n')
    done = Cli(home=home).here("ingest", "few.jsonl", "--index", index, "--url", es_url)
    assert done.code == 0, done
    answer: dict[str, Any] = call(es_url, "GET", f"/{index}")[1]
    yield answer
    delete_everything_named(es_url, index)


@pytest.fixture
def words(tmp_path: Path) -> Cli:
    """Searches by words alone, so that no encoder is loaded."""
    return Cli(home=tmp_path, options=("--weight", "text=0", "--weight", "image=0"))


def cluster(target: dict[str, Any], search: Callable[[str], Reply | None]) -> Callable[[str], Reply | None]:
    """A cluster that knows its index; what it answers to searches is up to the test."""
    return lambda path: search(path) if "search" in path else Reply(body=target)


def page(shards: dict[str, Any] = SHARDS, *, timed_out: bool = False, total: int = 1) -> dict[str, Any]:
    hit = {"_index": "x", "_id": "1", "_score": 1.0, "_source": {"id": "1", "title": "Red mug"}}
    found = {"total": {"value": total, "relation": "eq"}, "hits": [hit]}
    return {"took": 1, "timed_out": timed_out, "_shards": shards, "hits": found}


def every(answer: dict[str, Any]) -> Callable[[str], Reply]:
    return lambda path: Reply(body={"responses": [answer]} if "_msearch" in path else answer)


@pytest.mark.parametrize(
    ("search", "says"),
    [
        (every(page(FAILED)), "1 of 2 shards failed: node_disconnected: gone"),
        (every(page(timed_out=True)), "ran out of time, so hits would be missing (allow more seconds"),
        (every({"error": {"type": "search_phase", "reason": "no"}, "status": 500}), "search_phase: no"),
        (lambda path: None, "no answer from"),
        (lambda path: Reply(body=b'{"responses": [{"hi'), "is not an Elasticsearch: its answer is not JSON"),
        (lambda path: Reply(500, {"error": {"type": "x", "reason": "broken"}}), "answered 500: x: broken"),
    ],
    ids=["shards", "timed out", "error", "closed", "half an answer", "500"],
)
def test_a_search_that_fails(
    words: Cli, target: dict[str, Any], search: Callable[[str], Reply | None], says: str
) -> None:
    with http_server(cluster(target, search)) as url:
        refused(words.here("search", "mug", "--url", url), UNREACHABLE, says)


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_cluster_is_asked_again(words: Cli, target: dict[str, Any], status: int) -> None:
    asked: list[str] = []

    def search(path: str) -> Reply:
        asked.append(path)
        return Reply(status, {"error": {"type": "busy", "reason": "try later"}})

    with http_server(cluster(target, search)) as url:
        refused(
            words.here("search", "mug", "--url", url),
            UNREACHABLE,
            f"({status}): busy: try later",
            "wait until",
        )
    assert len(asked) > 1


def test_a_cluster_that_says_nothing(words: Cli, target: dict[str, Any]) -> None:
    over = threading.Event()

    def search(path: str) -> None:
        over.wait()

    with http_server(cluster(target, search)) as url:
        patient = words.with_variables(ES_XMODAL_TIMEOUT_S="0.1")
        done = patient.here("search", "mug", "--url", url)
        over.set()
    refused(done, UNREACHABLE, f"{url} did not answer in time", "ES_XMODAL_TIMEOUT_S")


def test_ctrl_c(words: Cli, target: dict[str, Any]) -> None:
    waiting, over = threading.Event(), threading.Event()

    def search(path: str) -> None:
        waiting.set()
        over.wait()

    with http_server(cluster(target, search)) as url:
        command = [sys.executable, "-m", "es_xmodal", "search", "mug", "--url", url, *words.options]
        with subprocess.Popen(
            command, env=environment(words.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            waiting.wait()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        over.set()
    assert (process.returncode, out, err.strip()) == (130, b"", b"es-xmodal: interrupted")


def test_an_ingest_whose_cluster_goes_away(tmp_path: Path, target: dict[str, Any]) -> None:
    """It is looked up, and then the line is dead: one line, and no file of rejects that are none."""
    (tmp_path / "few.jsonl").write_text(json.dumps({"id": "1", "title": "Red mug"}))

    def answer(path: str) -> Reply | None:
        return Reply(body={"nodes": {"a": {"version": "9.5.3"}}}) if "_nodes" in path else None

    with http_server(answer) as url:
        done = Cli(home=tmp_path).here("ingest", "few.jsonl", "--url", url)
    refused(done, UNREACHABLE, f"no answer from {url}")
    assert not list(tmp_path.glob("*.rejects.jsonl*"))
