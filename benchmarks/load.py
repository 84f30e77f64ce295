"""Load over HTTP from one thread: callers that wait for each answer, or a stream that waits for nobody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

Exchange = Sequence[bytes]
"""Requests that are sent one after the other, on one connection; together they answer one query."""


@dataclass
class Load:
    """What came of it.

    Attributes:
        statuses: of all requests; 0: no answer at all.
        seconds: of each exchange that was answered with 200 throughout.
        without_retry_after: 503s that do not say when to come back.
        took_s: from the first request to the last answer.
        not_sent: what a stream held back because too many were under way.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    took_s: float = 0.0
    not_sent: int = 0

    def __iadd__(self, other: Load) -> Load:
        self.statuses += other.statuses
        self.seconds += other.seconds
        self.without_retry_after += other.without_retry_after
        self.took_s += other.took_s
        self.not_sent += other.not_sent
        return self

    @property
    def per_s(self) -> float:
        return len(self.seconds) / self.took_s

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def get(url: str, path: str) -> bytes:
    """A request that keeps its connection."""
    return f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode()


def post(url: str, path: str, body: bytes, media_type: str) -> bytes:
    """The same with a body."""
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: {media_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Caller:
    """One connection, opened again when it was lost."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = (parts.hostname or "", parts.port or 80)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, exchange: Exchange, into: Load) -> None:
        begun = time.perf_counter()
        good = True
        for request in exchange:
            status, patient = await self._answer(request)
            into.statuses[status] += 1
            into.without_retry_after += status == 503 and not patient
            good = good and status == 200
        if good:
            into.seconds.append(time.perf_counter() - begun)

    async def _answer(self, request: bytes) -> tuple[int, bool]:
        """As `_ask`; a connection that lay idle may be closed just when it is used, so then on a new one."""
        for fresh in (self._streams is None, True):
            try:
                return await self._ask(request)
            except (OSError, asyncio.IncompleteReadError):
                await self.close()
                if fresh:
                    break
        return 0, True

    async def _ask(self, request: bytes) -> tuple[int, bool]:
        """Status, and whether the answer says when to come back."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place, limit=1 << 22)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        return int(head.split(b" ", 2)[1]), b"\r\nretry-after:" in head

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def callers(url: str, exchanges: Sequence[Exchange], *, clients: int, seconds: float) -> Load:
    """So many callers for so long; each asks again as soon as it has its answer."""

    async def main() -> Load:
        load, numbers = Load(), count()
        begun = time.perf_counter()

        async def call() -> None:
            one = _Caller(url)
            while time.perf_counter() - begun < seconds:
                await one.run(exchanges[next(numbers) % len(exchanges)], load)
            await one.close()

        await asyncio.gather(*(call() for _ in range(clients)))
        load.took_s = time.perf_counter() - begun
        return load

    return asyncio.run(main())


def stream(
    url: str, exchanges: Sequence[Exchange], *, per_s: float, seconds: float, most: int = 512
) -> tuple[Load, float]:
    """So many exchanges a second, whatever comes back, with at most so many under way.

    Returns:
        What came of it, and the seconds from the last one that was sent to the first search that works again.
    """

    async def main() -> tuple[Load, float]:
        load, free = Load(), [_Caller(url) for _ in range(most)]
        begun = time.perf_counter()
        under_way: set[asyncio.Task[None]] = set()

        async def one(exchange: Exchange) -> None:
            caller = free.pop()
            await caller.run(exchange, load)
            free.append(caller)

        number = 0
        while (now := time.perf_counter() - begun) < seconds:
            while number < now * per_s:
                if len(under_way) < most:
                    task = asyncio.create_task(one(exchanges[number % len(exchanges)]))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                else:
                    load.not_sent += 1
                number += 1
            await asyncio.sleep(0.002)
        recovery_s = await _until_it_works(url, exchanges[0])
        await asyncio.gather(*under_way)
        load.took_s = time.perf_counter() - begun
        for caller in free:
            await caller.close()
        return load, recovery_s

    return asyncio.run(main())


async def _until_it_works(url: str, exchange: Exchange) -> float:
    begun, load, caller = time.perf_counter(), Load(), _Caller(url)
    while not load.seconds:
        await caller.run(exchange, load)
    await caller.close()
    return time.perf_counter() - begun
