"""Spans for OpenTelemetry: where a search spends its time, inside the shop's own traces.

Nothing is imported before a span is asked for, and nothing is done where `opentelemetry-api` is not
installed, or no SDK listens. No span holds a word of a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from es_xmodal._version import __version__


def tracer() -> Any:
    """Return this package's tracer; None where there is no OpenTelemetry, or nobody listens so far."""
    api, own = _imported()
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    return own


@cache
def _imported() -> tuple[Any, Any]:
    """The API, and a tracer of whichever provider there will be."""
    try:
        from opentelemetry import trace
    except ImportError:
        return None, None
    return trace, trace.get_tracer("es_xmodal", __version__)


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """Put a span around what the block does.

    Args:
        name: of the span.
        attributes: with `_` for each dot, below `es_xmodal.`.
    """
    found = tracer()
    if found is None:
        yield
        return
    given = {f"es_xmodal.{key.replace('_', '.')}": value for key, value in attributes.items()}
    # An exception's text may quote the query, so only its kind is told.
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with found.start_as_current_span(name, attributes=given, **quiet) as one:
        try:
            yield
        except BaseException as error:  # raised again; also Ctrl-C leaves a span that says it was not done
            failed(one, type(error).__name__)
            raise


def past_span(name: str, *, began_ns: int, seconds: float) -> None:
    """Add a span of something that is over, below the current one.

    Args:
        name: of the span.
        began_ns: when, since 1970.
        seconds: how long it took.
    """
    found = tracer()
    if found is not None:
        found.start_span(name, start_time=began_ns).end(end_time=began_ns + int(seconds * 1e9))


def failed(one: Any, kind: str) -> None:
    """Mark a span as failed.

    Args:
        one: the span.
        kind: of the error, never its text.
    """
    from opentelemetry.trace import StatusCode

    one.set_attribute("error.type", kind)
    one.set_status(StatusCode.ERROR)
