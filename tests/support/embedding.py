"""Embedding services on the loopback address: our own protocol, and OpenAI's with pictures."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from es_xmodal.encoders.base import Encoder
from es_xmodal.media.picture import decode_picture
from tests.support.encoders import HashEncoder


@dataclass
class Fault:
    """What is answered instead.

    Attributes:
        body: JSON, or bytes as they are.
        times: how often; then the service works.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1_000_000
    hang: threading.Event | None = None


@dataclass
class Service:
    """An embedding service that a test can break.

    Attributes:
        encoder: does the work.
        spoil: path to fault; `/` is the info.
        mend: changes an answer before it is sent.
        asked: method, path, body and `Authorization` of each request.
    """

    encoder: Encoder = field(default_factory=HashEncoder)
    spoil: dict[str, Fault] = field(default_factory=dict)
    mend: Callable[[str, Any], Any] = lambda path, answer: answer
    asked: list[tuple[str, str, Any, str | None]] = field(default_factory=list)
    as_base64: bool = False
    url: str = ""

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]

    def answer(self, path: str, body: Any) -> Any:
        if path.endswith("/embeddings"):
            return self.mend(path, self._openai(body))
        if path == "/":
            return self.mend(path, self._info())
        if path == "/texts":
            found = self.encoder.encode_texts(body["texts"])
        else:
            found = self.encoder.encode_pictures([self._prepared(one) for one in body["pictures"]])
        vectors = {name: self._written(rows) for name, rows in found.items()}
        return self.mend(path, {"fingerprint": self.encoder.info.fingerprint, "vectors": vectors})

    def _written(self, rows: Any) -> Any:
        return base64.b64encode(rows.astype("<f4").tobytes()).decode() if self.as_base64 else rows.tolist()

    def _prepared(self, text: str) -> Any:
        return self.encoder.prepare(decode_picture(base64.b64decode(text), source="sent"))

    def _info(self) -> dict[str, Any]:
        info = self.encoder.info
        spaces = [
            {
                "name": s.name,
                "dim": s.dim,
                "similarity": s.similarity,
                "modalities": sorted(s.modalities),
            }
            for s in info.spaces
        ]
        return {
            "protocol": "es_xmodal.encoder/1",
            "fingerprint": info.fingerprint,
            "spaces": spaces,
            "text_space": info.text_space,
            "languages": list(info.languages),
            "licence": info.licence,
            "picture_side": info.picture_side,
        }

    def _openai(self, body: Any) -> dict[str, Any]:
        data = []
        for at, one in enumerate(body["input"]):
            if "text" in one:
                row = self.encoder.encode_texts([one["text"]])["joint"][0]
            else:
                row = self.encoder.encode_pictures([self._prepared(one["image"])])["joint"][0]
            row = row[: body.get("dimensions")]
            data.append({"object": "embedding", "index": at, "embedding": row.tolist()})
        # In another order than asked for, as a service may.
        return {"object": "list", "model": body["model"], "data": data[::-1]}


@contextlib.contextmanager
def embedding_service(service: Service) -> Iterator[Service]:
    """Serve on a free port of the loopback address; `service.url` says where."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            service.asked.append((self.command, self.path, body, self.headers.get("Authorization")))
            fault = service.spoil.get(self.path)
            if fault is None or fault.times <= 0:
                self._send(200, service.answer(self.path, body), {})
                return
            fault.times -= 1
            if fault.hang is not None:
                fault.hang.wait()
            self._send(fault.status, fault.body, fault.headers)

        def _send(self, status: int, answer: Any, headers: Mapping[str, str]) -> None:
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            # The other side may have given up.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                kind = {"Content-Type": "application/json"}
                for name, value in {**kind, **headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = _reply  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that hangs up is no fault, and what it says on standard error is looked at by tests.
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        for fault in service.spoil.values():
            if fault.hang is not None:
                fault.hang.set()
        server.shutdown()
        thread.join()
        server.server_close()


def jpeg(colour: tuple[int, int, int], side: int = 40) -> bytes:
    """A picture of one colour, with a stripe."""
    pixels = np.full((side, side, 3), colour, np.uint8)
    pixels[: side // 4] //= 2
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()
