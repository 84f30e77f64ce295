"""The HTTP transport: the client's own, with pauses between its retries.

The transport of `elastic_transport` retries at once; against one node that is busy (429) or restarting
(connection refused) every retry is then spent within milliseconds. This one waits in between: exponential
back-off with jitter, or what the server asks for in `Retry-After`. The options stay the client's own
(`client.options(max_retries=..., retry_on_timeout=...)`).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
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

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0


def pause_s(attempt: int, *, retry_after: str | None = None) -> float:
    """Return how long to wait before the next attempt.

    Args:
        attempt: number of the attempt that failed, from 0.
        retry_after: the server's header of that name; seconds win over our own choice.

    Returns:
        Seconds, at most `LONGEST_PAUSE_S`; between half and all of `FIRST_PAUSE_S` * 2 ** attempt.
    """
    if retry_after and retry_after.isdecimal():
        return min(float(retry_after), LONGEST_PAUSE_S)
    whole = min(FIRST_PAUSE_S * 2.0 ** min(attempt, 16), LONGEST_PAUSE_S)
    return whole * (0.5 + random.random() / 2)


class BackoffTransport(Transport):
    """The client's transport, which pauses before it tries again."""

    sleep: Callable[[float], None] = staticmethod(time.sleep)

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
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                answer = super().perform_request(method, target, max_retries=0, **rest)
            except TransportError as error:
                if last or not _worth_another(error, patient=patient):
                    raise
                wait_s, why = pause_s(attempt), type(error).__name__
            else:
                if last or answer.meta.status not in statuses:
                    return answer
                wait_s, why = pause_s(attempt, retry_after=_retry_after(answer.meta)), str(answer.meta.status)
            _log.info("%s after %s, attempt %d of %d, in %.1f s", method, why, attempt + 2, attempts, wait_s)
            self.sleep(wait_s)
        raise AssertionError("the loop above always returns or raises")


def _worth_another(error: TransportError, *, patient: bool) -> bool:
    if isinstance(error, TlsError):
        return False
    if isinstance(error, ConnectionTimeout):
        return patient
    return isinstance(error, ConnectionError)


def _retry_after(meta: ApiResponseMeta) -> str | None:
    headers: Mapping[str, str] = meta.headers
    return headers.get("retry-after")
