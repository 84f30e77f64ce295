"""A picture host on loopback that does what the tests ask for, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Answer = Callable[["Handler"], None]


def jpeg(colour: tuple[int, int, int] = (200, 30, 30), side: int = 32) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(data, "JPEG")
    return data.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Looks the path up in the host's answers."""

    protocol_version = "HTTP/1.1"
    host: PictureHost

    def do_GET(self) -> None:
        with self.host.lock:
            self.host.requests.append((self.path, dict(self.headers)))
            self.host.open += 1
            self.host.most_open = max(self.host.most_open, self.host.open)
        try:
            answer = self.host.answers.get(self.path, missing)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                answer(self)
        finally:
            with self.host.lock:
                self.host.open -= 1

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers hang up; that is no news."""


class PictureHost:
    """Answers by path; `requests` tells what came."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.open = 0
        self.most_open = 0
        handler = type("Bound", (Handler,), {"host": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def serve(self, path: str, data: bytes, kind: str = "image/jpeg", **headers: str) -> str:
        self.answers[path] = lambda handler: handler.reply(200, data, Content_Type=kind, **headers)
        return self.url + path


@contextlib.contextmanager
def picture_host() -> Iterator[PictureHost]:
    host = PictureHost()
    thread = threading.Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def missing(handler: Handler) -> None:
    handler.reply(404, b"nothing here")


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other; the last one stays."""
    waiting = list(answers)
    lock = threading.Lock()

    def answer(handler: Handler) -> None:
        with lock:
            now = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        now(handler)

    return answer


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.reply(code, b"", **headers)


def picture(data: bytes, **headers: str) -> Answer:
    return lambda handler: handler.reply(200, data, Content_Type="image/jpeg", **headers)


def half(data: bytes) -> Answer:
    """Announces all, sends half, hangs up."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def stalls(seconds: float) -> Answer:
    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        handler.reply(200, jpeg(), Content_Type="image/jpeg")

    return answer


def drips(data: bytes, pause_s: float) -> Answer:
    """A byte at a time."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(pause_s)

    return answer


def endless(handler: Handler) -> None:
    """Ten gigabytes without saying so."""
    handler.send_response(200)
    handler.send_header("Content-Type", "image/jpeg")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    piece = b"\xff\xd8\xff" + bytes(65533)
    for _ in range(160_000):
        handler.wfile.write(piece)
