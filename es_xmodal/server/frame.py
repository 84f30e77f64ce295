"""What surrounds every request: its id, its size, its time, and the headers that protect a page."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from es_xmodal.server.metrics import Metrics
from es_xmodal.server.problems import Problem
from es_xmodal.server.traces import RequestSpan, request_span

_log = logging.getLogger("es_xmodal.server.access")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# No script, style or picture from anywhere but here; pictures of products may lie at the shop's own hosts.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob: https: http:;"
    " connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)


class Frame:
    """Gives each request an id and a span, bounds its body, measures it, and logs one line without its words.

    Args:
        app: what answers.
        metrics: where requests are counted.
        max_body_bytes: of one request.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_body_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        seen: dict[str, Any] = {"status": 500, "begun": False}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"], seen["begun"] = message["status"], True
                own = {name for name, _ in message["headers"]}
                extra = [(name, value) for name, value in _HEADERS if name not in own]
                message["headers"] = [
                    *message["headers"],
                    *extra,
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        with request_span(scope, request_id) as traced:
            try:
                await self._app(scope, self._bounded(scope, receive), answer)
            except Exception as error:  # the last place before the server, which would say nothing of use
                if seen["begun"]:
                    raise
                await self._problem(error, request_id).response(request_id)(scope, receive, answer)
            finally:
                self._note(scope, seen["status"], time.perf_counter() - started, traced)

    def _problem(self, error: Exception, request_id: str) -> Problem:
        if not isinstance(error, Problem):  # else it came while the body was read, outside of any route
            # What went wrong is for the operator; the caller gets the id to ask with.
            _log.error("%s: unexpected", request_id, exc_info=error)
            error = Problem(500, "something went wrong here", kind="internal")
        self._metrics.errors.labels(error.kind).inc()
        return error

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_body_bytes:
            raise _too_large(self._max_body_bytes)
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._max_body_bytes:
                    raise _too_large(self._max_body_bytes)
            return message

        return bounded

    def _note(self, scope: Scope, status: int, seconds: float, traced: RequestSpan) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        traced.answered(route, status)
        ids = f"{scope['state']['request_id']} {traced.trace_id}".rstrip()
        _log.info("%s %s %d %.0f ms %s", scope["method"], route, status, 1000 * seconds, ids)


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes", kind="too-large")
