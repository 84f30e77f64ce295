"""The command line in tests: a real process, or in this process where one of its own adds nothing."""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from es_xmodal.cli.main import root, run
from es_xmodal.encoders import registry
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.mini import load_mini

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "ingest" / "sample"
WRONG, UNREACHABLE = 2, 3
ELASTIC = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def refused(done: Ran, code: int, *says: str) -> None:
    """One line that says all this; nothing on standard output, no traceback, no control character."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith(("es-xmodal: ", "es_xmodal.ingest: "))
    assert done.err.endswith("\n")
    line = done.err[:-1]
    assert line.isprintable(), ascii(line)
    assert "Traceback" not in line
    for part in says:
        assert part in line, line


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a command: none of the developer's own settings, everything below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ES_XMODAL_")}
    own = {
        "ES_XMODAL_HOME": str(home / "home"),
        "ES_XMODAL_DATA_DIR": str(home / "data"),
        "ES_XMODAL_AUDIT": "false",
        "PYTHONPATH": str(REPOSITORY),
    }
    return {**kept, **own, **variables}


@dataclass(frozen=True, kw_only=True)
class Cli:
    """Calls the command line.

    Attributes:
        home: its working directory, its vector store, everything that it keeps.
        options: added to every call, such as `--url`.
        variables: added to the environment.
    """

    home: Path
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_variables(self, **variables: str) -> Cli:
        return replace(self, variables={**self.variables, **variables})

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return environment(self.home, **{**self.variables, **variables})

    def process(
        self, *args: str | Path, stdin: bytes = b"", module: str = "es_xmodal", **variables: str
    ) -> Ran:
        """Call `python -m es_xmodal` as a person does."""
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, args), *self.options],
            cwd=self.home,
            env=self._environment(variables),
            input=stdin,
            capture_output=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def here(self, *args: str | Path, stdin: bytes = b"", **variables: str) -> Ran:
        """Call the same in this process; the encoder is loaded once and kept."""
        out, err = _stream(), _stream()
        with (
            mock.patch.dict(os.environ, self._environment(variables), clear=True),
            mock.patch.dict(registry._LOADERS, {"mini": _mini}),
            mock.patch.object(sys, "stdin", _stream(stdin)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _working_directory(self.home),
        ):
            code = run(root, [*map(str, args), *self.options])
        return Ran(code, _text(out), _text(err))

    def json(self, *args: str | Path, stdin: bytes = b"", code: int = 0) -> Any:
        """Call with `--json` and read the object; the exit code must be `code`."""
        done = self.here(*args, "--json", stdin=stdin)
        assert done.code == code, done
        return done.json


@functools.cache
def _kept_mini() -> Encoder:
    return load_mini()


def _mini(argument: str, options: EncoderOptions) -> Encoder:
    return _kept_mini()


def _stream(data: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


@contextlib.contextmanager
def _working_directory(path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@dataclass(frozen=True)
class Reply:
    """What the server of a test answers; `body` is JSON, or bytes as they are."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=lambda: dict(ELASTIC))


@contextlib.contextmanager
def http_server(answer: Callable[[str], Reply | None]) -> Iterator[str]:
    """A tiny server on the loopback address.

    Args:
        answer: path to reply; None: the connection is closed without a word.

    Yields:
        Its address.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = answer(self.path)
            self.close_connection = True
            if reply is None:
                return
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            # A person on the other side of the wire must not find out through a broken test.
            with contextlib.suppress(ConnectionError):
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _reply  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(url: str, method: str, path: str, body: bytes, content_type: str) -> tuple[int, Any]:
    """One request as it is, and the decoded answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    try:
        connection.request(method, path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
