"""Pictures from the web: fetched politely, bounded in every direction, fetched again only when they changed.

What a picture server may do is answer slowly, wrongly, never, with ten gigabytes, with a page of HTML, with a
redirect into the shop's own network. Each of these costs one `PictureError` with a code of its own, and
never more than the limits that are set here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx
import tenacity

from es_xmodal._version import __version__
from es_xmodal.errors import PictureError
from es_xmodal.media.addresses import Resolve, system_resolve
from es_xmodal.media.answer import Again, judge, moved_to, read_body
from es_xmodal.media.hosts import Hosts
from es_xmodal.media.picture import DEFAULT_LIMITS, PictureLimits, content_hash, printable
from es_xmodal.media.wire import CheckedBackend, CheckedTransport

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """How pictures are fetched.

    Args:
        connections: at once, in all.
        per_host: at once, to one host.
        connect_timeout_s: for a connection.
        read_timeout_s: between two pieces of an answer.
        total_timeout_s: for one answer, from the request to its last byte.
        attempts: for one picture, where the host is busy (429), in trouble (5xx) or silent.
        longest_pause_s: between two attempts, also where the host asks for more (then it is given up).
        max_redirects: for one picture.
        allow_hosts: hosts that may have addresses which are not public.
        fresh_s: a picture that was asked about less than so many seconds ago is taken as unchanged.
    """

    connections: int = 32
    per_host: int = 8
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    attempts: int = 4
    longest_pause_s: float = 60.0
    max_redirects: int = 5
    allow_hosts: frozenset[str] = field(default_factory=frozenset)
    fresh_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is remembered of an address.

    Args:
        content: hash of the bytes that came last.
        etag: as the host sent it; empty where it sent none.
        last_modified: likewise.
        checked: when the host was last asked, in seconds since 1970.
    """

    content: str
    etag: str
    last_modified: str
    checked: float


class Memory(Protocol):
    """Remembers addresses between runs. Safe to use from several threads."""

    def get(self, url: str) -> Known | None:
        """What is remembered of an address."""

    def put(self, url: str, known: Known) -> None:
        """Remember an address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """One picture from the web.

    Args:
        content: hash of its bytes.
        data: the bytes; None where the host said that they are what they were.
        stale: why the host could not be asked now, so that the picture is taken as it was last time.
    """

    content: str
    data: bytes | None
    stale: PictureError | None = None


class WebPictures:
    """Fetches pictures over HTTP and HTTPS. Safe to use from several threads; close it at the end.

    Args:
        options: bounds.
        limits: of a picture.
        memory: what was fetched before; None asks for every picture as if for the first time.
        resolve: how names become addresses; tests replace it.
        sleep: how to wait; tests replace it.
        clock: seconds since 1970; tests replace it.
    """

    def __init__(
        self,
        options: WebOptions | None = None,
        *,
        limits: PictureLimits = DEFAULT_LIMITS,
        memory: Memory | None = None,
        resolve: Resolve = system_resolve,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options or WebOptions()
        self._limits = limits
        self._memory = memory
        self._clock = clock
        self._sleep = sleep
        self._hosts = Hosts(self.options.connections, self.options.per_host)
        transport = CheckedTransport(
            CheckedBackend(self.options.allow_hosts, resolve), connections=self.options.connections
        )
        self._client = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(
                self.options.read_timeout_s, connect=self.options.connect_timeout_s, pool=None
            ),
            headers={
                "User-Agent": f"es-xmodal/{__version__}",
                "Accept": "image/*,video/*;q=0.8,*/*;q=0.1",
                # Unpacking a compressed answer could grow without bound, and pictures gain nothing by it.
                "Accept-Encoding": "identity",
            },
        )

    def close(self) -> None:
        """Close the connections; what waits is given up."""
        self._hosts.close()
        self._client.close()

    def fetch_many(
        self, urls: Sequence[str], *, revalidate: bool = True
    ) -> dict[str, Fetched | PictureError]:
        """Fetch pictures, many at once.

        Args:
            urls: http or https.
            revalidate: where something is remembered, ask only whether it changed; the answer may then have
                no bytes.

        Returns:
            For each address the picture, or why there is none.
        """
        futures = {url: self._hosts.submit(url, self._fetch, url, revalidate) for url in dict.fromkeys(urls)}
        found: dict[str, Fetched | PictureError] = {}
        for url, future in futures.items():
            try:
                found[url] = future.result()
            except PictureError as error:
                found[url] = error
            except CancelledError:
                found[url] = _error(url, "was not fetched: the run was stopped", "stopped")
        return found

    def read(self, url: str) -> bytes:
        """Fetch one picture, its bytes in any case.

        Args:
            url: http or https.

        Raises:
            PictureError: it cannot be had; codes as in `docs/pictures-from-the-web.md`.
        """
        (found,) = self.fetch_many([url], revalidate=False).values()
        if isinstance(found, PictureError):
            raise found
        if found.data is None:
            raise PictureError(f"picture {_shown(url)!r} has no bytes", code="empty")
        return found.data

    def _fetch(self, url: str, revalidate: bool) -> Fetched:
        known = self._memory.get(url) if self._memory and revalidate else None
        if known and self._clock() - known.checked < self.options.fresh_s:
            return Fetched(content=known.content, data=None)
        host = self._hosts.state(url)
        try:
            host.check_up(self._clock())
        except PictureError as error:
            return _as_last_time(known, error)
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.options.attempts),
            wait=self._pause,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Again) and not error.final),
            sleep=self._sleep,
            before_sleep=lambda state: _log.info("picture again, attempt %d", state.attempt_number + 1),
            reraise=True,
        )
        try:
            fetched = retrying(self._attempt, url, known)
        except Again as again:
            host.failed(self._clock(), silent=again.silent)
            return _as_last_time(known, again.error)
        host.answered()
        return fetched

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """What the host asks for, else exponential back-off with jitter."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, Again) else None
        if asked is not None:
            return asked
        backoff = tenacity.wait_random_exponential(
            multiplier=_FIRST_PAUSE_S, max=self.options.longest_pause_s
        )
        return float(backoff(state))

    def _attempt(self, url: str, known: Known | None) -> Fetched:
        headers = {}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        if known and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        deadline = time.monotonic() + self.options.total_timeout_s
        try:
            answer = self._open(url, headers)
            try:
                return self._take(url, answer, known, deadline)
            finally:
                answer.close()
        except httpx.TimeoutException as error:
            raise Again(_error(url, "did not come in time", "timeout"), silent=True) from error
        except httpx.TransportError as error:
            reason = printable(str(error))
            raise Again(_error(url, f"did not come whole: {reason}", "network"), silent=True) from error
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            raise _error(url, f"has no usable address: {printable(str(error))}", "bad_reference") from error

    def _open(self, url: str, headers: dict[str, str]) -> httpx.Response:
        """Send the request, and follow redirects without reading what they say."""
        request = self._client.build_request("GET", url, headers=headers)
        for _ in range(self.options.max_redirects + 1):
            answer = self._client.send(request, stream=True, follow_redirects=False)
            following = moved_to(answer)
            if following is None:
                return answer
            answer.close()
            request = following
        raise _error(url, f"is redirected more than {self.options.max_redirects} times", "too_many_redirects")

    def _take(self, url: str, answer: httpx.Response, known: Known | None, deadline: float) -> Fetched:
        name = _shown(url)
        if answer.status_code == httpx.codes.NOT_MODIFIED and known:
            self._remember(url, known.content, answer, known)
            return Fetched(content=known.content, data=None)
        judge(answer, name, longest_pause_s=self.options.longest_pause_s, clock=self._clock)
        data = read_body(answer, name, self._limits, deadline)
        content = content_hash(data)
        self._remember(url, content, answer, None)
        return Fetched(content=content, data=data)

    def _remember(self, url: str, content: str, answer: httpx.Response, known: Known | None) -> None:
        if self._memory is None:
            return
        headers = answer.headers
        self._memory.put(
            url,
            Known(
                content=content,
                etag=headers.get("etag", known.etag if known else ""),
                last_modified=headers.get("last-modified", known.last_modified if known else ""),
                checked=self._clock(),
            ),
        )


def _as_last_time(known: Known | None, error: PictureError) -> Fetched:
    """A host that is down for an hour must not cost the index the vectors of all its pictures."""
    if known is None:
        raise error from None
    return Fetched(content=known.content, data=None, stale=error)


def _shown(url: str) -> str:
    """An address that is safe in a message: without user, password and the signature in its query."""
    try:
        parsed = httpx.URL(url)
        return printable(str(parsed.copy_with(username=None, password=None, query=None, fragment=None)))
    except (httpx.InvalidURL, ValueError, TypeError):
        return printable(url)


def _error(url: str, what: str, code: str, **more: Any) -> PictureError:
    return PictureError(f"picture {_shown(url)!r} {what}", code=code, **more)
