"""A client whose HTTP node is played by the test: for answers that a real server cannot be made to give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders, NodeConfig
from elastic_transport._node import NodeApiResponse
from elasticsearch import Elasticsearch

from es_xmodal.cluster.transport import BackoffTransport

GOOD_HEADERS = {"x-elastic-product": "Elasticsearch", "content-type": "application/json"}


@dataclass(frozen=True)
class Asked:
    """One request as it would go over the wire."""

    method: str
    target: str
    body: bytes
    timeout_s: float | None = field(default=None, compare=False)

    def lines(self) -> list[Any]:
        """The JSON lines of a bulk or multi-search body."""
        return [orjson.loads(line) for line in self.body.splitlines()]


@dataclass(frozen=True)
class Answer:
    """What the fake node answers."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=lambda: dict(GOOD_HEADERS))


Play: TypeAlias = Callable[[Asked], "Answer | Exception"]


def fake_client(play: Play, *, max_retries: int = 2) -> tuple[Elasticsearch, list[Asked], list[float]]:
    """Return a client whose requests go to `play`, the requests so far, and the pauses so far."""
    asked: list[Asked] = []
    pauses: list[float] = []

    class _Node(BaseNode):
        def __init__(self, config: NodeConfig) -> None:
            super().__init__(config)

        def perform_request(  # type: ignore[no-untyped-def]
            self, method, target, body=None, headers=None, request_timeout=None
        ) -> NodeApiResponse:
            request = Asked(method, target, body or b"", request_timeout)
            asked.append(request)
            answer = play(request)
            if isinstance(answer, Exception):
                raise answer
            raw = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
            meta = ApiResponseMeta(
                status=answer.status,
                http_version="1.1",
                headers=HttpHeaders(answer.headers),
                duration=0.0,
                node=self.config,
            )
            return NodeApiResponse(meta, raw)

        def close(self) -> None:
            pass

    class _Transport(BackoffTransport):
        sleep = staticmethod(pauses.append)

    client = Elasticsearch(
        "http://shop.example:9200",
        transport_class=_Transport,
        node_class=_Node,
        max_retries=max_retries,
        retry_on_status=(429, 502, 503, 504),
    )
    return client, asked, pauses


def script(*answers: Answer | Exception) -> Play:
    """Answer with these in turn; the last one again and again."""
    left = list(answers)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]
