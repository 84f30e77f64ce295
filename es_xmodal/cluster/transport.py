"""The HTTP transport: the client's own, with pauses between its retries.

The transport of `elastic_transport` retries at once; against one node that is busy (429) or restarting
(connection refused) every retry is then spent within milliseconds. This one waits in between: exponential
back-off with jitter, or what the server asks for in `Retry-After`. The options stay the client's own
(`client.options(max_retries=..., retry_on_timeout=...)`); a `patient` client counts seconds, not attempts.
Of several nodes the next attempt goes to another one: a node that did not answer is left alone for a while.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from elastic_transport import (
    ApiResponseMeta,
    ConnectionError,
    ConnectionTimeout,
    TlsError,
    Transport,
    TransportApiResponse,
    TransportError,
)
from elastic_transport.client_utils import DEFAULT, DefaultType, resolve_default
from elasticsearch import Elasticsearch

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
PATIENCE_S = 300.0
"""A node that is restarted, or a primary shard that moves, is back within this time."""
_TELL_AT = 5
_WHILE_PATIENT = 1_000_000
"""Attempts of a `patient` client: the seconds end first."""


def pause_s(attempt: int, *, retry_after: str | None = None, longest_s: float = LONGEST_PAUSE_S) -> float:
    """Return how long to wait before the next attempt.

    Args:
        attempt: number of the attempt that failed, from 0.
        retry_after: the server's header of that name, seconds or a date; it wins over our own choice.
        longest_s: the most that is waited because the server asks for it.

    Returns:
        Seconds; without `retry_after` between half and all of `FIRST_PAUSE_S` * 2 ** attempt, at most
        `LONGEST_PAUSE_S`.
    """
    asked_s = _asked_s(retry_after) if retry_after else None
    if asked_s is not None:
        return min(asked_s, longest_s)
    whole = min(FIRST_PAUSE_S * 2.0 ** min(attempt, 16), LONGEST_PAUSE_S)
    return whole * (0.5 + random.random() / 2)


class Patience:
    """Counts down the seconds in which something is tried again.

    Args:
        total_s: how many there are.
    """

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._begun_s = time.monotonic()
        self._paused_s = 0.0

    @property
    def left_s(self) -> float:
        """Seconds that are left; none below 0."""
        spent_s = max(time.monotonic() - self._begun_s, self._paused_s)
        return max(0.0, self._total_s - spent_s)

    def pause(self, seconds: float, sleep: Callable[[float], None]) -> None:
        """Wait."""
        self._paused_s += seconds
        sleep(seconds)


def patient(client: Elasticsearch) -> Elasticsearch:
    """Return a client over the same connections that waits for a cluster which is in trouble.

    Args:
        client: see `es_xmodal.cluster.client.connect`; its `patience_s` counts.

    Returns:
        A client that tries again, also after a time-out, until `patience_s` has passed. For requests that may
        safely come twice.
    """
    return client.options(max_retries=_WHILE_PATIENT, retry_on_timeout=True)


def patience_of(client: Elasticsearch) -> float:
    """Return the seconds for which a `patient` client waits."""
    return float(getattr(client.transport, "patience_s", PATIENCE_S))


_sent = threading.local()


def sent_twice() -> bool:
    """Whether this thread's last request went out more than once, and may have been carried out twice."""
    return getattr(_sent, "times", 1) > 1


class BackoffTransport(Transport):
    """The client's transport, which pauses before it tries again."""

    sleep: Callable[[float], None] = staticmethod(time.sleep)
    patience_s: float = PATIENCE_S
    """No attempt begins later than this after the first one."""

    def perform_request(
        self,
        method: str,
        target: str,
        *,
        max_retries: int | DefaultType = DEFAULT,
        retry_on_status: Collection[int] | DefaultType = DEFAULT,
        retry_on_timeout: bool | DefaultType = DEFAULT,
        **rest: Any,
    ) -> TransportApiResponse:
        """Send one request, again where that helps.

        Args:
            method: HTTP method.
            target: path and query.
            max_retries: attempts after the first.
            retry_on_status: answers that are worth another attempt.
            retry_on_timeout: whether no answer in time is.
            rest: body, headers and so on, as the client gives them.

        Returns:
            The last answer.

        Raises:
            TransportError: the last attempt got none.
        """
        attempts = 1 + resolve_default(max_retries, self.max_retries)
        statuses = resolve_default(retry_on_status, self.retry_on_status)
        patient = resolve_default(retry_on_timeout, self.retry_on_timeout)
        patience = Patience(self.patience_s)
        for attempt in range(attempts):
            last = attempt == attempts - 1 or not patience.left_s
            _sent.times = attempt + 1
            longest_s = max(LONGEST_PAUSE_S, patience.left_s if attempts == 1 + _WHILE_PATIENT else 0.0)
            try:
                answer = super().perform_request(method, target, max_retries=0, **rest)
            except TransportError as error:
                if last or not _worth_another(error, patient=patient):
                    raise
                wait_s, why = pause_s(attempt), type(error).__name__
            else:
                if last or answer.meta.status not in statuses:
                    return answer
                asked = _retry_after(answer.meta)
                wait_s = pause_s(attempt, retry_after=asked, longest_s=longest_s)
                why = str(answer.meta.status)
            # Once for each trouble a person may wonder why nothing moves.
            level = logging.WARNING if attempt == _TELL_AT else logging.INFO
            _log.log(level, "%s again after %s, attempt %d, in %.1f s", method, why, attempt + 2, wait_s)
            patience.pause(wait_s, self.sleep)
        raise AssertionError("the loop above always returns or raises")


def _asked_s(retry_after: str) -> float | None:
    """Seconds from now that a `Retry-After` means (RFC 9110, 10.2.3); None where it is neither form."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if when.tzinfo is None:  # "-0000": a time of UTC whose zone is not told
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())


def _worth_another(error: TransportError, *, patient: bool) -> bool:
    if isinstance(error, TlsError):
        return False
    if isinstance(error, ConnectionTimeout):
        return patient
    return isinstance(error, ConnectionError)


def _retry_after(meta: ApiResponseMeta) -> str | None:
    headers: Mapping[str, str] = meta.headers
    return headers.get("retry-after")
