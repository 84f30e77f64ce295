"""Tracing where there is no OpenTelemetry, and where its variables say something else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from es_xmodal.errors import MissingExtraError, SettingsError
from es_xmodal.server.traces import exporting

pytestmark = pytest.mark.unit

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
GRPC = {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_without_the_library_nothing_is_done() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
from es_xmodal.search.timing import Watch
from es_xmodal.search.tracing import past_span, span, tracer
from es_xmodal.server.traces import request_span
watch = Watch()
with span("a", index="x"), watch.stage("words"):
    watch.leg("lexical", 3)
past_span("b", began_ns=1, seconds=1)
with request_span({"headers": [], "method": "GET"}, "r1") as traced:
    traced.answered("/search", 500)
assert tracer() is None
assert traced.trace_id == ""
print(sorted(watch.timings().stages), dict(watch.timings().legs))
"""
    assert run(code) == "['words'] {'lexical': 0.003}\n"


def test_who_listens_later_is_heard_from_then_on() -> None:
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from es_xmodal.search.tracing import span, tracer
assert tracer() is None
with span("unheard"):
    pass
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with span("heard"):
    pass
print([one.name for one in exporter.get_finished_spans()])
"""
    assert run(code) == "['heard']\n"


def test_it_is_not_imported_before_it_is_used() -> None:
    code = "import sys, es_xmodal.search.tracing as t; print('opentelemetry' in sys.modules)"
    assert run(code) == "False\n"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_sent_unless_asked_for(environment: dict[str, str]) -> None:
    with exporting(environment) as sends:
        assert sends is False


def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="not by grpc"), exporting(GRPC):
        pass
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(MissingExtraError, match="otel"), exporting(ENDPOINT):
        pass
