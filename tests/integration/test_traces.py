"""Spans of a search through the service: their tree, and what does not stand in them."""

from __future__ import annotations

import gzip
import http.server
import logging
import re
import secrets
import threading
from collections.abc import Iterator, Sequence

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from es_xmodal.encoders import registry
from es_xmodal.server.batching import BatchingEncoder
from es_xmodal.server.factory import create_app
from es_xmodal.server.options import ServerOptions
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.cli import Cli
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named
from tests.support.served import serving
from tests.support.shops import ingest_shop, write_shop

pytestmark = pytest.mark.integration

STAGES = ("search.words", "search.encode", "search.retrieve", "search.rank")


@pytest.fixture(scope="session")
def exporter() -> Iterator[InMemorySpanExporter]:
    """A process has one provider for good, and this module runs once for each server."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    yield kept
    provider.shutdown()


@pytest.fixture(scope="module")
def client(
    exporter: InMemorySpanExporter, es_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    prefix = f"t{secrets.token_hex(5)}-"
    ingest_shop(es_url, write_shop(tmp_path_factory.mktemp("shop")), f"{prefix}traced")
    before = dict(registry._LOADERS)
    registry._LOADERS["hash"] = lambda argument, options: HashEncoder()
    shop = Shop(
        settings=load_settings(url=es_url),
        index=f"{prefix}traced",
        around_encoder=lambda encoder: BatchingEncoder(encoder, wait_ms=1),
    )
    with TestClient(create_app(shop, ServerOptions())) as one:
        yield one
    registry._LOADERS.clear()
    registry._LOADERS.update(before)
    delete_everything_named(es_url, prefix)


def spans_of(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for one in exporter.get_finished_spans():
        found.setdefault(one.name, []).append(one)
    exporter.clear()
    return found


def below(parent: ReadableSpan, spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    assert parent.context is not None
    return [one for one in spans if one.parent and one.parent.span_id == parent.context.span_id]


def test_the_spans_of_a_search(
    client: TestClient, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "es_xmodal.server")
    client.get("/search", params={"q": "mug"})  # looks the index up
    exporter.clear()
    given = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{given}-b7ad6b7169203331-01", "x-request-id": "mine-9"}
    answer = client.get("/search", params={"q": "unspeakable red mug"}, headers=headers)
    assert answer.status_code == 200
    everything = exporter.get_finished_spans()
    spans = spans_of(exporter)

    (request,) = spans["GET /search"]
    assert request.context is not None
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == given
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/search",
        "http.response.status_code": 200,
        "es_xmodal.request_id": "mine-9",
    }
    (search,) = below(request, everything)
    assert (search.name, (search.attributes or {})["es_xmodal.fusion"]) == ("search", "convex")
    assert [one.name for one in below(search, everything)] == list(STAGES)
    retrieve, rank = spans["search.retrieve"][0], spans["search.rank"][0]
    legs = [one.name for one in below(retrieve, everything) if one.name.startswith("leg.")]
    assert legs == ["leg.lexical", "leg.text", "leg.image"]
    for stage in (retrieve, rank):  # Elasticsearch's own client says what it asks
        (asked,) = [one for one in below(stage, everything) if "db.system" in (one.attributes or {})]
        assert asked.instrumentation_scope is not None
        assert asked.instrumentation_scope.name == "elasticsearch-api"
    for leg in (one for name, several in spans.items() if name.startswith("leg.") for one in several):
        assert leg.start_time is not None
        assert retrieve.start_time is not None
        assert leg.start_time >= retrieve.start_time
    for one in everything:
        assert "unspeakable" not in one.to_json()
    assert f"mine-9 {given}" in caplog.text


def test_what_fails_is_marked_without_its_words(client: TestClient, exporter: InMemorySpanExporter) -> None:
    exporter.clear()
    assert client.post("/search", json={"text": "x", "filters": ["unspeakable=1"]}).status_code == 422
    everything = exporter.get_finished_spans()
    (request,) = [one for one in everything if one.name == "POST /search"]
    assert request.status.status_code is StatusCode.UNSET  # the caller's fault is none of the server's
    (search,) = below(request, everything)
    assert search.status.status_code is StatusCode.ERROR
    assert (search.attributes or {})["error.type"] == "QueryError"
    assert all("unspeakable" not in one.to_json() for one in everything)


def test_a_server_error_marks_the_request(
    client: TestClient, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(id_: str) -> None:
        raise RuntimeError("unspeakable")

    app = client.app
    monkeypatch.setattr(app.state.service.shop, "product", broken)  # type: ignore[attr-defined]
    with TestClient(app, raise_server_exceptions=False) as other:
        exporter.clear()
        assert other.get("/products/a").status_code == 500
    (request,) = exporter.get_finished_spans()
    assert (request.name, request.status.status_code) == ("GET /products/{id_}", StatusCode.ERROR)
    assert "unspeakable" not in request.to_json()


def test_a_process_sends_its_spans_where_it_is_told(sample_cli: Cli) -> None:
    sent: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            sent.append((self.path, gzip.decompress(body) if packed else body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        try:
            with serving(sample_cli, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as served:
                found = httpx.get(f"{served.url}/search", params={"q": "unspeakable couch"}, timeout=120)
                assert found.status_code == 200
                log = served.end()  # what was not sent yet is sent now
        finally:
            collector.shutdown()
            thread.join()
    assert {path for path, _ in sent} == {"/v1/traces"}
    everything = b"".join(body for _, body in sent)
    for text in (b"es_xmodal", b"GET /search", b"search.retrieve", b"leg.lexical"):
        assert text in everything
    assert b"unspeakable" not in everything
    assert re.search(r"GET /search 200 \d+ ms [0-9a-f]{32} [0-9a-f]{32}\n", log)
