"""Answers to bulk requests that a healthy server does not give: 429, 503, lost items, a lost index."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from elastic_transport import ConnectionError, ConnectionTimeout

from es_xmodal.errors import (
    ClusterAnswerError,
    ClusterError,
    ClusterRefusedError,
    ClusterUnreachableError,
    IndexBusyError,
)
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.sender import Item, Sender, SenderOptions
from tests.support.fake_node import Answer, Asked, Play, fake_client

pytestmark = pytest.mark.fault

FULL = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}


class Run:
    """A sender whose cluster is played by the test."""

    def __init__(self, play: Play, **options: Any) -> None:
        self.client, self.asked, self.pauses = fake_client(play)
        self.done: list[str] = []
        self.refused: list[tuple[str, str | None, str]] = []
        self._lock = threading.Lock()
        self.sender = Sender(
            self.client,
            "shop-build",
            on_done=self._done,
            on_reject=self._refuse,
            options=SenderOptions(**options),
            tally=Tally(),
            sleep=self.pauses.append,
        )

    def _done(self, row: str) -> None:
        with self._lock:
            self.done.append(row)

    def _refuse(self, row: str, field: str | None, reason: str) -> None:
        with self._lock:
            self.refused.append((row, field, reason))

    def send(self, count: int, body: bytes = b"{}") -> None:
        for number in range(count):
            self.sender.add(Item(row=str(number), id=str(number), body=body))
        self.sender.close()


def ids(asked: Asked) -> list[str]:
    return [line["index"]["_id"] for line in asked.lines()[::2]]


def answer(asked: Asked, **special: Any) -> Answer:
    """Every document is created but for those that are named."""
    return Answer(body={"items": [{"index": special.get(f"d{one}", {"status": 201})} for one in ids(asked)]})


def test_requests_are_cut_by_count_and_by_bytes() -> None:
    run = Run(answer, max_docs=3)
    run.send(7)
    assert sorted(len(ids(asked)) for asked in run.asked) == [1, 3, 3]
    assert sorted(run.done) == list("0123456")
    assert all("require_alias=true" in asked.target for asked in run.asked)
    run = Run(answer, max_bytes=1000)
    run.send(5, body=b'"' + b"x" * 400 + b'"')
    assert [len(ids(asked)) for asked in run.asked] != [5]
    assert all(len(asked.body) <= 1000 for asked in run.asked)
    run = Run(answer, max_bytes=10)
    run.send(2, body=b'"' + b"x" * 400 + b'"')
    assert [len(ids(asked)) for asked in run.asked] == [1, 1], "one that is too large goes alone"


def test_documents_without_room_are_sent_again_and_only_those() -> None:
    full = {"1": 2, "3": 1}

    def play(asked: Asked) -> Answer:
        special = {}
        for one in ids(asked):
            if full.get(one, 0):
                full[one] -= 1
                special[f"d{one}"] = FULL
        return answer(asked, **special)

    run = Run(play)
    run.send(5)
    assert [ids(asked) for asked in run.asked] == [list("01234"), ["1", "3"], ["1"]]
    assert sorted(run.done) == list("01234")
    assert run.refused == []
    assert len(run.pauses) == 2
    assert run.pauses[0] < run.pauses[1] * 1.01


def test_no_room_ever_stops_the_run() -> None:
    run = Run(lambda asked: answer(asked, d1=FULL))
    with pytest.raises(
        ClusterRefusedError, match=r"takes 1 documents neither now nor within 300 s: .*queue is full"
    ):
        run.send(3)
    assert sorted(run.done) == ["0", "2"]


def test_a_busy_or_absent_server_is_waited_for() -> None:
    troubles: list[Any] = [
        Answer(status=503, body={}),
        ConnectionError("refused"),
        ConnectionTimeout("slow"),
    ]
    run = Run(lambda asked: troubles.pop(0) if troubles else answer(asked))
    run.send(2)
    assert sorted(run.done) == ["0", "1"]
    assert len(run.pauses) == 3


def test_a_server_that_stays_away_stops_the_run() -> None:
    run = Run(lambda asked: ConnectionError("refused"), max_docs=1, threads=1)
    with pytest.raises(ClusterUnreachableError):
        run.send(50)
    assert {tuple(ids(asked)) for asked in run.asked} == {("0",)}, "what is queued behind it is not tried"
    assert 290 < sum(run.pauses) < 320
    assert run.done == []


def test_a_refused_document_is_a_reject_with_its_field() -> None:
    bad = {
        "status": 400,
        "error": {
            "type": "document_parsing_exception",
            "reason": "[1:9] failed to parse field [price] of type [double]",
            "caused_by": {"type": "x", "reason": "not a number"},
        },
    }
    run = Run(lambda asked: answer(asked, d2=bad))
    run.send(4)
    assert sorted(run.done) == ["0", "1", "3"]
    ((row, field, reason),) = run.refused
    assert (row, field) == ("2", "price")
    assert "not a number" in reason


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (403, "cluster_block_exception", ClusterRefusedError),
        (404, "index_not_found_exception", IndexBusyError),
    ],
)
def test_a_read_only_or_lost_index_stops_the_run(status: int, kind: str, expected: type[Exception]) -> None:
    item = {"status": status, "error": {"type": kind, "reason": "no"}}
    run = Run(lambda asked: answer(asked, d0=item))
    with pytest.raises(expected, match=kind):
        run.send(1)
    assert run.refused == [], "that is not the row's fault"


def test_a_whole_request_that_is_refused_stops_the_run() -> None:
    error = {"type": "security_exception", "reason": "no"}
    run = Run(lambda asked: Answer(status=403, body={"error": {"root_cause": [error], **error}}))
    with pytest.raises(ClusterRefusedError):
        run.send(1)


def test_an_answer_that_lacks_documents_stops_the_run() -> None:
    run = Run(lambda asked: Answer(body={"items": [{"index": {"status": 201}}]}))
    with pytest.raises(ClusterAnswerError, match="2 documents sent, 1 answered"):
        run.send(2)


def test_the_reader_waits_for_slow_requests_and_learns_of_errors() -> None:
    gate = threading.Event()

    def play(asked: Asked) -> Answer:
        gate.wait()
        return Answer(status=400, body={"error": {"type": "x", "reason": "y"}})

    run = Run(play, max_docs=1, threads=1, queued=1)
    threading.Timer(0.1, gate.set).start()
    with pytest.raises(ClusterError):
        run.send(1000)
    assert len(run.asked) == 1


def test_stopping_sends_nothing_more() -> None:
    run = Run(answer, max_docs=100)
    run.sender.add(Item(row="0", id="0", body=b"{}"))
    run.sender.stop()
    assert run.asked == []
    assert run.done == []
