"""A way to a real node that does what networks and busy servers do: refuse, lose requests, lose answers."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

Fate: TypeAlias = Literal["pass", "busy", "away", "no room", "lose request", "lose answer"]
"""`busy` is a 429 that asks for a pause, `away` a 503, `no room` a 429 of each document of a bulk request."""
Fates: TypeAlias = Callable[[str, str], Fate]
"""Method and path to what becomes of the request."""

_OWN = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
_DROPPED = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@contextlib.contextmanager
def unreliable(url: str, fates: Fates) -> Iterator[str]:
    """Serve on a free port of the loopback address what the node behind `url` answers, as the fates allow."""
    target = urlsplit(url)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = fates(self.command, self.path)
            if fate == "lose request":
                self._hang_up()
            elif fate == "busy":
                self._send(429, _error("es_rejected_execution_exception"), {**_OWN, "Retry-After": "1"})
            elif fate == "away":
                self._send(503, _error("master_not_discovered_exception"), _OWN)
            elif fate == "no room":
                self._send(200, _no_room(body), _OWN)
            else:
                status, headers, answer = self._forward(body)
                if fate == "lose answer":
                    self._hang_up()
                else:
                    self._send(status, answer, headers)

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(target.hostname or "", target.port)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
            headers["Accept-Encoding"] = "identity"
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                kept = {name: value for name, value in answer.getheaders() if name.lower() not in _DROPPED}
                return answer.status, kept, answer.read()
            finally:
                connection.close()

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.close()

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _reply  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """It hung up on purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _error(kind: str) -> bytes:
    cause = {"type": kind, "reason": "played by the test"}
    return json.dumps({"error": {"root_cause": [cause], **cause}}).encode()


def _no_room(body: bytes) -> bytes:
    """The answer to a bulk request of which no document was taken."""
    items = []
    lines = iter(body.splitlines())
    for line in lines:
        ((action, meta),) = json.loads(line).items()
        if action != "delete":
            next(lines)
        error = {"type": "es_rejected_execution_exception", "reason": "played by the test"}
        items.append({action: {"_id": meta["_id"], "status": 429, "error": error}})
    return json.dumps({"items": items}).encode()
