"""A Kibana on the loopback address that imports saved objects as its documentation describes."""

from __future__ import annotations

import base64
import email
import email.policy
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.kibana_shapes import read_export

KEY = "a2V5OnNlY3JldA=="
USER, PASSWORD = "merchandiser", "not-to-be-printed"


@dataclass
class FakeKibana:
    """What it holds, and what it was asked."""

    url: str = ""
    spaces: set[str] = field(default_factory=lambda: {"default", "shop"})
    held: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """(space, type, id) -> object."""
    asked: list[str] = field(default_factory=list)
    answer: tuple[int, Any] | None = None
    """Instead of its own, to a call that may be made."""

    def import_(self, space: str, data: bytes, *, overwrite: bool) -> dict[str, Any]:
        """Import, object by object; a conflict or a missing reference is that object's error."""
        read_export(data)
        objects = [json.loads(line) for line in data.decode().splitlines()]
        given = {(one["type"], one["id"]) for one in objects}
        done: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for one in objects:
            attributes = one["attributes"]
            title = attributes.get("name") or attributes["title"]
            told = {"type": one["type"], "id": one["id"], "meta": {"title": title, "icon": "x"}}
            key = (space, one["type"], one["id"])
            lacking = [
                {"type": ref["type"], "id": ref["id"]}
                for ref in one["references"]
                if (ref["type"], ref["id"]) not in given and (space, ref["type"], ref["id"]) not in self.held
            ]
            if lacking:
                error: dict[str, Any] = {"type": "missing_references", "references": lacking}
                errors.append({**told, "title": title, "error": error})
            elif key in self.held and not overwrite:
                errors.append({**told, "title": title, "error": {"type": "conflict"}})
            else:
                done.append({**told, **({"overwrite": True} if key in self.held else {})})
                self.held[key] = one
        answer: dict[str, Any] = {"success": not errors, "successCount": len(done), "warnings": []}
        return answer | ({"successResults": done} if done else {}) | ({"errors": errors} if errors else {})


@contextmanager
def fake_kibana() -> Iterator[FakeKibana]:
    """A server that knows one key and one user; it listens until the block ends."""
    kibana = FakeKibana()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kibana.asked.append(f"{self.command} {self.path}")
            status, answer = self._decide(body)
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("kbn-name", "fake")
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _decide(self, body: bytes) -> tuple[int, Any]:
            parts = urlsplit(self.path)
            basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") not in (f"ApiKey {KEY}", f"Basic {basic}"):
                return _error(401, "Unauthorized", "[security_exception] unable to authenticate")
            if parts.path.startswith("/api/spaces/space/"):
                space = parts.path.rpartition("/")[2]
                return (
                    (200, {"id": space}) if space in kibana.spaces else _error(404, "Not Found", "Not Found")
                )
            space, path = "default", parts.path
            if path.startswith("/s/"):
                _, _, space, path = path.split("/", 3)
                path = f"/{path}"
            if (self.command, path) != ("POST", "/api/saved_objects/_import"):
                return _error(404, "Not Found", "Not Found")
            if "kbn-xsrf" not in self.headers:
                return _error(400, "Bad Request", "Request must contain a kbn-xsrf header.")
            if kibana.answer is not None:
                return kibana.answer
            overwrite = parse_qs(parts.query).get("overwrite") == ["true"]
            return 200, kibana.import_(space, _file(self.headers["Content-Type"], body), overwrite=overwrite)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kibana.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kibana
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _error(status: int, error: str, message: str) -> tuple[int, Any]:
    return status, {"statusCode": status, "error": error, "message": message}


def _file(content_type: str, body: bytes) -> bytes:
    """The part `file` of a form, which must be named like NDJSON."""
    text = f"Content-Type: {content_type}\r\n\r\n".encode() + body
    form = email.message_from_bytes(text, policy=email.policy.HTTP)
    (part,) = form.iter_parts()
    assert part.get_param("name", header="content-disposition") == "file"
    assert str(part.get_filename()).endswith(".ndjson")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content
