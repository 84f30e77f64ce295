"""The one border where errors of the Elasticsearch client become errors of this package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from elastic_transport import ApiError as TransportApiError
from elastic_transport import ConnectionTimeout, SerializationError, TlsError, TransportError
from elasticsearch import Elasticsearch, UnsupportedProductError

from es_xmodal.cluster.trouble import remedy_of
from es_xmodal.errors import (
    ClusterAnswerError,
    ClusterError,
    ClusterNotReadyError,
    ClusterRefusedError,
    ClusterUnreachableError,
)

_MAX_REASON = 400
_PRIVILEGES = re.compile(r"granted by the (index|cluster) privileges \[([^\]]+)\]")
_INDICES = re.compile(r"on (?:restricted )?indices \[([^\]]+)\]")


@contextmanager
def cluster_errors(client: Elasticsearch, doing: str) -> Iterator[None]:
    """Turn what the client raises inside the block into an error of this package.

    Args:
        client: the client used inside, for its address.
        doing: what is being done, such as `creating index products-v0001`; it starts the error line.

    Yields:
        Nothing.

    Raises:
        ClusterUnreachableError: no answer.
        ClusterRefusedError: 401 or 403.
        ClusterNotReadyError: 429 or 503.
        ClusterAnswerError: any other answer that says no; the cause is kept as `__cause__`.
    """
    try:
        yield
    except (TransportError, TransportApiError) as error:
        raise translate(error, where=address(client), doing=doing) from error


def address(client: Elasticsearch) -> str:
    """Return the addresses of a client's nodes, without credentials.

    Args:
        client: any client.

    Returns:
        Such as `http://127.0.0.1:9200`.
    """
    return ", ".join(sorted(str(node.base_url) for node in client.transport.node_pool.all())) or "the cluster"


def translate(error: Exception, *, where: str, doing: str) -> ClusterError:
    """Return the error of this package for an error of the client.

    Args:
        error: what the client raised.
        where: address without credentials.
        doing: what was being done.

    Returns:
        The error to raise.
    """
    if isinstance(error, UnsupportedProductError):
        return _not_elasticsearch(where, "it does not say that it is one")
    if isinstance(error, TransportApiError):
        return _from_answer(error.meta.status, error.body, where=where, doing=doing)
    if isinstance(error, SerializationError):
        if "deserialize" in str(error.message) or "mimetype" in str(error.message):
            return _not_elasticsearch(where, "its answer is not JSON")
        return ClusterAnswerError(f"{doing}: the request cannot be written as JSON: {_short(error.message)}")
    return _from_transport(error, where=where, doing=doing)


def refusal(client: Elasticsearch | None, doing: str, error: Mapping[str, Any], status: int) -> ClusterError:
    """Return the error of this package for an error inside an answer: of one document, of one search.

    Args:
        client: who was asked; None: not known.
        doing: what was being done.
        error: with `type` and `reason`.
        status: of the item.

    Returns:
        The error to raise.
    """
    where = address(client) if client is not None else "the cluster"
    return _from_answer(status, {"error": error}, where=where, doing=doing)


def reason_of(answer: Any) -> str:
    """Return `type: reason` of an error in an answer, as far as there is one.

    Args:
        answer: the body of an answer, its `error`, or one item's error.

    Returns:
        One line, at most about 400 characters.
    """
    error = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    if not isinstance(error, Mapping):
        return _short(error)
    roots = error.get("root_cause")
    root = roots[0] if isinstance(roots, list) and roots else error
    found = [f"{root.get('type', 'error')}: {root.get('reason', 'no reason given')}"]
    deepest = _deepest_cause(root if "caused_by" in root else error)
    if deepest and deepest not in found[0]:
        found.append(deepest)
    return _short(" <- ".join(found))


def _deepest_cause(error: Mapping[str, Any]) -> str:
    cause: Any = error.get("caused_by")
    last = ""
    for _ in range(16):
        if not isinstance(cause, Mapping):
            break
        last = str(cause.get("reason") or last)
        cause = cause.get("caused_by")
    return last


def _from_answer(status: int, body: Any, *, where: str, doing: str) -> ClusterError:
    reason = reason_of(body) if body else "empty answer"
    if status == 401:
        return ClusterRefusedError(
            f"{doing}: {where} does not accept these credentials (401)",
            hint="check ES_XMODAL_API_KEY, or ES_XMODAL_USERNAME and ES_XMODAL_PASSWORD",
        )
    if status == 403:
        return _forbidden(reason, where=where, doing=doing)
    if status in (404, 405) and not isinstance(body, Mapping):
        return _not_elasticsearch(where, f"it answers {status}")
    if status == 429 and remedy_of(reason):
        return ClusterRefusedError(f"{doing}: {where} refused (429): {reason}", hint=remedy_of(reason) or "")
    if status in (429, 503):
        return ClusterNotReadyError(
            f"{doing}: {where} is overloaded or not ready ({status}): {reason}",
            hint="wait until the cluster is healthy, then run the same command again",
        )
    return ClusterAnswerError(f"{doing}: {where} answered {status}: {reason}")


def _forbidden(reason: str, *, where: str, doing: str) -> ClusterRefusedError:
    if "cluster_block_exception" in reason or "non-compliant" in reason:
        hint = remedy_of(reason) or ""
        return ClusterRefusedError(f"{doing}: {where} refused (403): {reason}", hint=hint)
    hint = "ask for a role or an API key that may do this"
    privileges = _PRIVILEGES.search(reason)
    if privileges:
        kind, names = privileges.groups()
        indices = _INDICES.search(reason)
        place = f" on {indices.group(1)}" if indices else ""
        hint = f"the missing {kind} privilege{place} is one of: {names.replace(',', ', ')}"
    return ClusterRefusedError(
        f"{doing}: {where} knows these credentials, and they may not do this (403): {reason}", hint=hint
    )


def _from_transport(error: Exception, *, where: str, doing: str) -> ClusterUnreachableError:
    text = _innermost(error)
    if isinstance(error, TlsError):
        if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
            return ClusterUnreachableError(
                f"{doing}: {where} does not speak TLS", hint="write http:// in place of https://"
            )
        return ClusterUnreachableError(
            f"{doing}: no TLS connection to {where}: {text}",
            hint="name the certificate authority with ES_XMODAL_CA_CERTS",
        )
    if isinstance(error, ConnectionTimeout):
        return ClusterUnreachableError(
            f"{doing}: {where} did not answer in time",
            hint="check the address, or allow more seconds with ES_XMODAL_TIMEOUT_S",
        )
    return ClusterUnreachableError(
        f"{doing}: no answer from {where}: {text}",
        hint="check the address, or start a local one with `es-xmodal up`",
    )


def _innermost(error: Exception) -> str:
    """The words of the error underneath, without addresses of Python objects."""
    inner = error.__cause__ or error.__context__
    text = str(getattr(error, "message", None) or inner or error)
    text = re.sub(r"<?[\w.]+ object at 0x[0-9a-f]+>?:? ?", "", text)
    text = re.sub(r"\b\w*HTTPS?Connection\([^)]*\): ?", "", text)
    return _short(text)


def _not_elasticsearch(where: str, why: str) -> ClusterAnswerError:
    return ClusterAnswerError(
        f"{where} is not an Elasticsearch: {why}", hint="check the address, the port and the path"
    )


def _short(text: Any) -> str:
    line = "".join(c if c.isprintable() else " " for c in str(text))
    line = " ".join(line.split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 1] + "…"
