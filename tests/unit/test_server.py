"""The parts of the service that need no cluster: who may come in, batches, options, problems."""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray

from es_xmodal.cli.main import run
from es_xmodal.cli.serve import serve, server_options
from es_xmodal.errors import (
    ClusterUnreachableError,
    EncoderError,
    IndexMissingError,
    PictureError,
    QueryError,
    SettingsError,
    XModalError,
)
from es_xmodal.server import run as run_module
from es_xmodal.server.batching import BatchingEncoder
from es_xmodal.server.gate import Gate, RateLimit
from es_xmodal.server.listener import listen
from es_xmodal.server.metrics import Metrics
from es_xmodal.server.options import ServerOptions, parse_keys, role_of
from es_xmodal.server.problems import Problem, problem_of
from es_xmodal.server.service import Service, as_html
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit

SEARCH, ADMIN = "s" * 20, "a" * 20


# --- the socket and the command ---


def test_an_answer_is_sent_at_once() -> None:
    """With Nagle's algorithm on, a body is held back until the caller's system acknowledges the head."""
    nodelay: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        nodelay.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        await writer.wait_closed()

    async def call(listener: socket.socket) -> None:
        async with await asyncio.start_server(answer, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    with closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(call(listener))
    assert len(nodelay) == 1 and nodelay[0] != 0


def test_a_port_in_use_is_one_line() -> None:
    with closing(listen("127.0.0.1", 0)) as listener, pytest.raises(SettingsError, match="cannot listen on"):
        listen("127.0.0.1", listener.getsockname()[1])


@pytest.mark.parametrize(("display", "opened"), [("", False), (":0", True)])
@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there is always a display")
def test_the_page_is_opened_where_there_is_a_display(
    display: str, opened: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = queue.SimpleQueue[str]()
    logger = logging.getLogger("es_xmodal.server")
    for name in ("handlers", "propagate", "level"):  # as they were for the tests after this one
        monkeypatch.setattr(logger, name, getattr(logger, name) if name != "handlers" else [])
    monkeypatch.setattr(webbrowser, "open", seen.put)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(run_module, "start", lambda *args, **options: uvicorn.Config("none"))
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    options = ["--port", "0", "--url", "http://127.0.0.1:9"]
    for quiet, level in (([], logging.INFO), (["--quiet"], logging.WARNING)):
        assert run(serve, [*options, *quiet, "--open"]) == 0
        address = capsys.readouterr().err.split()[0]
        assert address.startswith("http://127.0.0.1:")
        if opened:
            assert seen.get(timeout=60) == f"{address}/"
        assert seen.empty()
        assert logger.level == level
    assert run(serve, options) == 0
    assert seen.empty()


class ColdShop:
    """Counts its searches, which fail where there is no index."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.asked: list[Any] = []

    def query(self, text: str, **options: Any) -> Any:
        return {"text": text, **options}

    def search(self, query: Any) -> None:
        self.asked.append(query)
        if self.error:
            raise self.error

    def close(self) -> None:
        pass


@pytest.mark.parametrize("error", [None, IndexMissingError("there is no index")])
def test_a_search_warms_the_service_up(error: Exception | None, capfd: pytest.CaptureFixture[str]) -> None:
    shop = ColdShop(error)
    service = Service(shop, ServerOptions(), Metrics())  # type: ignore[arg-type]
    service.warm()
    service.close()  # waits for it
    assert shop.asked == [{"text": "warm", "size": 1}]
    assert capfd.readouterr() == ("", "")


# --- keys and options -----------------------------------------------------------------------------------


def test_keys_have_roles_and_are_not_kept() -> None:
    keys = parse_keys(f" search:{SEARCH}, admin:{ADMIN} ")
    assert SEARCH not in repr(keys)
    assert (role_of(keys, SEARCH), role_of(keys, ADMIN), role_of(keys, "x" * 20)) == ("search", "admin", None)
    assert role_of(keys, "\ud800") is None


@pytest.mark.parametrize(
    ("text", "says"), [("root:" + SEARCH, "no role"), ("search:short", "shorter"), (SEARCH, "no role")]
)
def test_bad_keys_are_refused_without_being_shown(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        parse_keys(f"search:{SEARCH},{text}")
    assert "number 2" in str(caught.value)
    assert "short" not in str(caught.value).replace("shorter", "")
    assert SEARCH not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "shop.example"])
def test_without_keys_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(SettingsError, match="without a key"):
        ServerOptions(host=host)
    assert ServerOptions(host=host, keys=parse_keys(f"search:{SEARCH}"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert ServerOptions(host=host).host == host


@pytest.mark.parametrize(
    "wrong",
    [
        {"cors_origins": ("*",)},
        {"running": 0},
        {"waiting": -1},
        {"answer_s": 0},
        {"rate_per_s": -1},
        {"max_hits": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        ServerOptions(**wrong)


def test_options_come_from_the_command_line_then_the_environment() -> None:
    environment = {
        "ES_XMODAL_SERVER_RUNNING": "3",
        "ES_XMODAL_SERVER_PORT": "9000",
        "ES_XMODAL_SERVER_CORS_ORIGINS": "https://a.example, https://b.example",
        "ES_XMODAL_SERVER_LOG_QUERIES": "yes",
        "ES_XMODAL_SERVER_KEYS": f"admin:{ADMIN}",
    }
    found = server_options({"port": 0, "host": None, "cors_origins": ()}, environment)
    assert (found.running, found.port, found.log_queries) == (3, 0, True)
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert role_of(found.keys, ADMIN) == "admin"
    for name, text in (("RUNNING", "many"), ("LOG_QUERIES", "perhaps")):
        with pytest.raises(SettingsError, match=f"ES_XMODAL_SERVER_{name}"):
            server_options({}, {f"ES_XMODAL_SERVER_{name}": text})
    assert (
        server_options({}, {"ES_XMODAL_SERVER_RUNNING": "", "ES_XMODAL_SERVER_KEYS": ""}) == ServerOptions()
    )


def test_keys_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"admin:{ADMIN}\n", encoding="utf-8")
    environment = {"ES_XMODAL_SERVER_KEYS_FILE": str(tmp_path / "keys")}
    assert role_of(server_options({}, environment).keys, ADMIN) == "admin"
    with pytest.raises(SettingsError, match="exclude each other"):
        server_options({}, {**environment, "ES_XMODAL_SERVER_KEYS": f"search:{ADMIN}"})


# --- the gate -------------------------------------------------------------------------------------------


def test_the_gate_bounds_what_runs_and_what_waits() -> None:
    async def main() -> None:
        gate = Gate(running=2, waiting=1, wait_s=5)
        free, most, refused = anyio.Event(), 0, 0

        async def visit() -> None:
            nonlocal most, refused
            try:
                async with gate.place():
                    most = max(most, gate.running)
                    await free.wait()
            except Problem as problem:
                refused += 1
                assert (problem.status, problem.headers["Retry-After"]) == (503, "1")

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(visit)
            await anyio.wait_all_tasks_blocked()
            assert (gate.running, gate.waiting, refused) == (2, 1, 2)
            free.set()
        assert (most, gate.running, gate.waiting) == (2, 0, 0)

    anyio.run(main)


def test_nobody_waits_longer_than_allowed() -> None:
    async def main() -> None:
        gate = Gate(running=1, waiting=5, wait_s=0.01)
        async with gate.place():
            with pytest.raises(Problem, match="within"):
                async with gate.place():
                    raise AssertionError("there was no place")
        async with gate.place():
            assert gate.running == 1

    anyio.run(main)


def test_who_would_wait_too_long_is_refused_at_the_door() -> None:
    async def main() -> None:
        now = [0.0]
        gate = Gate(running=1, waiting=5, wait_s=2, clock=lambda: now[0])

        async def visit(seconds: float) -> None:
            async with gate.place():
                now[0] += seconds

        await visit(40)  # lately: 4 s
        async with gate.place():
            with pytest.raises(Problem, match=r"in about 4\.0 s") as caught:
                await visit(0)
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "4"})
        for _ in range(10):
            await visit(0)
        async with anyio.create_task_group() as tasks, gate.place():
            tasks.start_soon(visit, 0)
            await anyio.wait_all_tasks_blocked()
            assert gate.waiting == 1  # lately it goes fast again
        assert (gate.running, gate.waiting) == (0, 0)

    anyio.run(main)


def test_a_caller_that_comes_too_often_is_told_when_to_come_again() -> None:
    now = [0.0]
    limit = RateLimit(2.0, burst=3, clock=lambda: now[0])
    for _ in range(3):
        limit.take("a")
    with pytest.raises(Problem) as caught:
        limit.take("a")
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
    limit.take("b")
    now[0] = 0.5
    limit.take("a")
    with pytest.raises(Problem):
        limit.take("a")
    RateLimit(0, burst=1).take("a")


# --- batches --------------------------------------------------------------------------------------------


class Slow(HashEncoder):
    """The first batch waits until it is let go, so that others gather behind it."""

    def __init__(self) -> None:
        super().__init__(batch_size=8)
        self.begun, self.go = threading.Event(), threading.Event()
        self.closed = False

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        self.begun.set()
        assert self.go.wait(60)
        if "bad" in batch:
            raise EncoderError("bad text")
        return super()._text_batch(batch)

    def close(self) -> None:
        self.closed = True


def test_texts_that_come_together_are_encoded_together_and_go_to_whom_they_belong() -> None:
    slow, sizes = Slow(), []
    batching = BatchingEncoder(slow, wait_ms=0, on_batch=lambda kind, size: sizes.append((kind, size)))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.encode_texts, ["first"])
        assert slow.begun.wait(60)
        later = [pool.submit(batching.encode_texts, [f"text {n}", "same"]) for n in range(3)]
        while batching._jobs.qsize() < 3:
            pass
        slow.go.set()
        found = [one.result() for one in (first, *later)]
    assert sizes == [("text", 1), ("text", 6)]
    plain = HashEncoder()
    for given, rows in zip([["first"], *([f"text {n}", "same"] for n in range(3))], found, strict=True):
        expected = plain.encode_texts(given)
        for space in ("joint", "text"):
            assert np.allclose(rows[space], expected[space])
    batching.close()
    assert slow.closed


def test_only_who_had_company_lately_waits_for_others() -> None:
    slow, sizes = Slow(), []
    hours = 1e7
    batching = BatchingEncoder(slow, wait_ms=hours, on_batch=lambda kind, size: sizes.append(size))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.encode_texts, ["alone"])
        assert slow.begun.wait(60)
        later = [pool.submit(batching.encode_texts, [f"text {n}"]) for n in range(2)]
        while batching._jobs.qsize() < 2:
            pass
        slow.go.set()
        for one in (first, *later):
            assert one.result(60)["text"].shape == (1, 24)
        halves = [pool.submit(batching.encode_texts, [f"{n} {half}" for n in range(4)]) for half in "ab"]
        for one in halves:  # the one that came first waited until the batch was full
            assert one.result(60)["text"].shape == (4, 24)
    assert sizes == [1, 2, 8]
    batching.close()


def test_one_bad_text_costs_only_its_own_caller() -> None:
    slow = Slow()
    batching = BatchingEncoder(slow, wait_ms=0)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batching.encode_texts, ["first"])
        assert slow.begun.wait(60)
        bad, good = (pool.submit(batching.encode_texts, [text]) for text in ("bad", "good"))
        while batching._jobs.qsize() < 2:
            pass
        slow.go.set()
        first.result()
        assert good.result()["text"].shape == (1, 24)
        with pytest.raises(EncoderError, match="bad text"):
            bad.result()
    batching.close()
    with pytest.raises(EncoderError, match="closed"):
        batching.encode_texts(["late"])
    batching.close()


# --- problems -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "more"),
    [
        (QueryError("no", field="size"), 422, {"field": "size"}),
        (PictureError("no", code="broken", hint="another"), 422, {"code": "broken", "hint": "another"}),
        (PictureError("no", code="too_many_pixels"), 413, {"code": "too_many_pixels"}),
        (IndexMissingError("no"), 503, {}),
        (ClusterUnreachableError("no"), 503, {}),
        (XModalError("no"), 500, {}),
    ],
)
def test_errors_of_the_package_are_problems(error: XModalError, status: int, more: dict[str, str]) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.detail.endswith("no"), problem.more) == (status, True, more)
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_highlights_are_safe_in_a_page() -> None:
    marked = '<em>red</em> <script>alert("1")</script> & mug'
    assert as_html(marked) == "<em>red</em> &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; mug"
