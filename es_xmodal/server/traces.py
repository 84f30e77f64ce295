"""The service in OpenTelemetry's traces: a span for each request, and where spans are sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from es_xmodal._version import __version__
from es_xmodal.errors import MissingExtraError, SettingsError
from es_xmodal.search.tracing import failed, tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The span of one request.

    Attributes:
        trace_id: 32 hexadecimal digits; empty where nothing records.
    """

    trace_id: str = ""
    _span: Any = None
    _method: str = ""

    def answered(self, route: str, status: int) -> None:
        """Say how it ended; the address itself may hold words of a query, so only its route is told."""
        if self._span is None:
            return
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            failed(self._span, str(status))


@contextlib.contextmanager
def request_span(scope: Scope, request_id: str) -> Iterator[RequestSpan]:
    """Put a span around a request; its parent is what the caller's `traceparent` names.

    Args:
        scope: of the request.
        request_id: goes into the span, as the span's trace goes into the log.

    Yields:
        The span.
    """
    found = tracer()
    if found is None:
        yield RequestSpan()
        return
    from opentelemetry import propagate
    from opentelemetry.trace import SpanKind

    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    given = {
        "http.request.method": scope["method"],
        "url.scheme": scope.get("scheme", "http"),
        "es_xmodal.request_id": request_id,
    }
    with found.start_as_current_span(
        scope["method"],
        context=propagate.extract(headers),
        kind=SpanKind.SERVER,
        attributes=given,
        record_exception=False,
        set_status_on_exception=False,
    ) as one:
        known = one.is_recording()
        trace_id = f"{one.get_span_context().trace_id:032x}"
        yield RequestSpan(trace_id, one, scope["method"]) if known else RequestSpan()


@contextlib.contextmanager
def exporting(environment: Mapping[str, str]) -> Iterator[bool]:
    """Send spans where OpenTelemetry's own variables say, until the block ends; the rest is sent then.

    Nothing happens where they name no endpoint, or where the process is instrumented already.

    Args:
        environment: of the process.

    Yields:
        Whether spans are sent from here.

    Raises:
        MissingExtraError: an endpoint is named, and the extra `otel` is not installed.
        SettingsError: it speaks another protocol than HTTP.
    """
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    if off or elsewhere or not _first(environment, _ENDPOINTS):
        yield False
        return
    protocol = _first(environment, _PROTOCOLS) or "http/protobuf"
    if protocol != "http/protobuf":
        raise SettingsError(
            f"traces are sent by http/protobuf, not by {protocol}", hint=f"unset {_PROTOCOLS[1]}"
        )
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise MissingExtraError("sending traces", extra="otel") from None
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield False  # `opentelemetry-instrument` came first
        return
    # What the environment says of the resource wins.
    named = Resource({"service.name": "es_xmodal", "service.version": __version__})
    given = Resource.create()
    if str(given.attributes.get("service.name", "")).startswith("unknown_service"):
        given = given.merge(named)
    provider = TracerProvider(resource=given)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield True
    finally:
        provider.shutdown()


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next(filter(None, (environment.get(name) for name in names)), "")
