"""One conversation with an embedding service: bounded in time, in tries and in bytes."""

from __future__ import annotations

import email.utils
import json
import logging
import random
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from es_xmodal.errors import EncoderError, EncoderServiceError

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr

    from es_xmodal.encoders.http.address import Address

_log = logging.getLogger(__name__)

TRIES: Final = 4
MAX_WAIT_S: Final = 30.0
"""A service that asks for a longer pause is not waited for."""
_FIRST_WAIT_S: Final = 0.5
_CONNECT_S: Final = 10.0
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_INPUT: Final = frozenset({400, 413, 415, 422})
_REFUSED: Final = frozenset({401, 403})


class Client:
    """Sends JSON, reads JSON. Safe to use from several threads.

    Args:
        address: of the service.
        api_key: sent as `Authorization: Bearer`; never shown.
        timeout_s: seconds to wait for one answer.
    """

    def __init__(
        self, address: Address, *, api_key: SecretStr | None = None, timeout_s: float = 60.0
    ) -> None:
        import httpx

        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        secret = api_key.get_secret_value().strip() if api_key else ""
        if not (secret.isascii() and secret.isprintable()):
            raise EncoderError(
                "the key of the embedding service holds characters that no key has",
                hint="set ES_XMODAL_ENCODER_API_KEY again",
            )
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        self.address = address
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            follow_redirects=False,  # a key must not follow to another host
            trust_env=not address.loopback,
            # Certificates are read in 80 ms, and http on this machine needs none.
            verify=not (address.loopback and address.url.startswith("http:")),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str = "", *, max_bytes: int) -> Any:
        """Ask.

        Args:
            path: behind the address.
            max_bytes: a longer answer is refused.

        Returns:
            The JSON that was answered.

        Raises:
            EncoderServiceError: no answer, a refusal, or no JSON.
            EncoderError: the service says that the input is wrong.
        """
        return self._send("GET", path, None, max_bytes)

    def post(self, path: str, body: Mapping[str, Any], *, max_bytes: int) -> Any:
        """Send JSON; arguments, answer and errors as those of `get`."""
        return self._send("POST", path, json.dumps(body).encode(), max_bytes)

    def error(self, what: str, hint: str = "") -> EncoderServiceError:
        """The error of this service."""
        return EncoderServiceError(f"embedding service {self.address.url}: {what}", hint=hint)

    def _send(self, method: str, path: str, body: bytes | None, max_bytes: int) -> Any:
        last: EncoderServiceError | None = None
        for number in range(TRIES):
            answer = self._once(method, path, body, max_bytes)
            if not isinstance(answer, _Again):
                return answer.value
            last = answer.error
            if number + 1 < TRIES:
                wait = answer.wait_s
                # Spread, so that many callers do not come back in step.
                pause = _FIRST_WAIT_S * 2**number * random.uniform(0.75, 1.25) if wait is None else wait
                _log.info("%s; asked again in %.1f s", last.message, pause)
                time.sleep(pause)
        assert last is not None
        raise EncoderServiceError(f"{last.message}, {TRIES} times", hint=last.hint)

    def _once(self, method: str, path: str, body: bytes | None, max_bytes: int) -> _Answer | _Again:
        import httpx

        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            with self._http.stream(
                method, f"{self.address.url}{path}", content=body, headers=headers
            ) as response:
                return self._read(response, max_bytes)
        except httpx.TimeoutException:
            hint = "raise ES_XMODAL_ENCODER_TIMEOUT_S, or lower ES_XMODAL_ENCODER_BATCH"
            return _Again(self.error(f"no answer within {self._timeout_s:g} s", hint))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            return _Again(self.error(f"cannot be reached: {reason}", "check the address, and that it runs"))
        except httpx.HTTPError as error:  # a redirect loop, a broken encoding
            raise self.error(f"cannot be understood: {error}") from None

    def _read(self, response: httpx.Response, max_bytes: int) -> _Answer | _Again:
        status = response.status_code
        if status in _BUSY:
            return _Again(self.error(f"answered {_named(status)}"), self._asked_wait(response))
        if response.is_redirect:
            where = response.headers.get("location", "")[:120]
            raise self.error(f"redirects to {where!r}, which is not followed", "write the final address")
        if status in _REFUSED:
            raise self.error(f"answered {_named(status)}", "set the key in ES_XMODAL_ENCODER_API_KEY")
        data = self._bounded(response, max_bytes)
        if status in _INPUT:
            raise EncoderError(
                f"embedding service {self.address.url}: answered {_named(status)}: {_excerpt(data)}"
            )
        if status != HTTPStatus.OK:
            raise self.error(f"answered {_named(status)}: {_excerpt(data)}", "check the address")
        try:
            return _Answer(json.loads(data))
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "")[:60]
            raise self.error(f"answered no JSON, but {kind!r}", "check the address") from None

    def _bounded(self, response: httpx.Response, max_bytes: int) -> bytes:
        """The body; a service that sends without end costs no more than the limit."""
        data = bytearray()
        end = time.monotonic() + self._timeout_s
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > max_bytes:
                raise self.error(f"its answer has more than {max_bytes} bytes")
            if time.monotonic() > end:  # a byte now and then keeps the timeout of a single read away
                raise self.error(f"its answer was not complete within {self._timeout_s:g} s")
        return bytes(data)

    def _asked_wait(self, response: httpx.Response) -> float | None:
        """Seconds that the service asks for; None where it says nothing that can be used."""
        wait = _retry_after_s(response.headers.get("retry-after", ""))
        if wait is not None and wait > MAX_WAIT_S:
            raise self.error(
                f"answered {_named(response.status_code)} and wants {wait:.0f} s of rest",
                "repeat the command then; what is done is kept",
            )
        return wait


class _Answer:
    def __init__(self, value: Any) -> None:
        self.value = value


class _Again:
    def __init__(self, error: EncoderServiceError, wait_s: float | None = None) -> None:
        self.error, self.wait_s = error, wait_s


def _retry_after_s(text: str) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _excerpt(data: bytes) -> str:
    """The first words of what a service says about an error."""
    text = " ".join(data[:1000].decode("utf-8", "replace").split())
    return repr(text[:200]) if text else "nothing"
