"""Who may be asked when: a bound for each host, one for all, and rest for a host that does not answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from es_xmodal.errors import PictureError

_Result = TypeVar("_Result")

SILENT_TIMES: Final = 8
"""Pictures in a row that a host must fail to give before it is left alone for a while."""
REST_S: Final = 30.0


@dataclass(slots=True)
class Host:
    """What is known of one host in this run."""

    name: str
    failures: int = 0
    rests_until: float = 0.0
    running: int = 0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    """Work whose turn has not come."""

    def check_up(self, now: float) -> None:
        """Refuse at once while the host rests: a million pictures must not each wait for a dead host.

        Raises:
            PictureError: with code `host_down`.
        """
        if now < self.rests_until:
            raise PictureError(
                f"host {self.name!r} did not answer {self.failures} times in a row and is left alone for a"
                f" while",
                code="host_down",
                hint="run the same command again when it answers",
            )

    def failed(self, now: float, *, silent: bool) -> None:
        """Note that every attempt failed."""
        if not silent:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= SILENT_TIMES:
            self.rests_until = now + REST_S

    def answered(self) -> None:
        """Note an answer."""
        self.failures = 0


class Hosts:
    """Runs work for many hosts in a fixed number of threads; a slow host does not hold up the others.

    Args:
        threads: for all hosts.
        per_host: pieces of work at once for one host.
    """

    def __init__(self, threads: int, per_host: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "web")
        self._per_host = per_host
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._closed = False

    def state(self, url: str) -> Host:
        """Return what is known of the host of an address."""
        name = _host_of(url)
        with self._lock:
            return self._hosts.setdefault(name, Host(name))

    def submit(self, url: str, work: Callable[..., _Result], *args: Any) -> Future[_Result]:
        """Do some work for the host of an address, when it is its turn."""
        future: Future[_Result] = Future()
        host = self.state(url)

        def run() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(work(*args))
            except BaseException as error:  # handed to whoever waits for the result
                future.set_exception(error)
            finally:
                self._next(host)

        with self._lock:
            if self._closed:
                raise PictureError(f"host {host.name!r}: fetching has ended", code="stopped")
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
            if host.running < self._per_host:
                host.running += 1
                self._pool.submit(run)
            else:
                host.waiting.append(run)
        return future

    def close(self) -> None:
        """Wait for what runs; give up what waits."""
        with self._lock:
            self._closed = True
            for host in self._hosts.values():
                host.waiting.clear()
            waiting = list(self._futures)
        for future in waiting:
            future.cancel()  # refused where it runs; it is waited for below
        self._pool.shutdown(cancel_futures=True)

    def _next(self, host: Host) -> None:
        with self._lock:
            if self._closed:
                return
            if host.waiting:
                self._pool.submit(host.waiting.popleft())
            else:
                host.running -= 1


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:  # a broken IPv6 address; the request says so
        return ""
