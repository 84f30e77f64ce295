"""One shop behind a gate: what every route does around the library's own call."""

from __future__ import annotations

import asyncio
import contextvars
import html
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import anyio.to_thread

from es_xmodal.errors import XModalError
from es_xmodal.query.model import Query
from es_xmodal.query.terms import Term
from es_xmodal.search.explain import explain
from es_xmodal.search.result import SearchResult
from es_xmodal.server.gate import Gate, RateLimit
from es_xmodal.server.metrics import Metrics
from es_xmodal.server.models import SearchRequest
from es_xmodal.server.options import ServerOptions
from es_xmodal.server.problems import Problem
from es_xmodal.shop import Shop

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

READY_S = 1.0
"""How long an answer to "are you ready" is good for: a probe a millisecond must not load the cluster."""


class Service:
    """The shop, the gate in front of it, and the threads that work for it.

    Args:
        shop: what is searched.
        options: limits.
        metrics: where searches are counted.
    """

    def __init__(self, shop: Shop, options: ServerOptions, metrics: Metrics) -> None:
        self.shop = shop
        self.options = options
        self.metrics = metrics
        self.gate = Gate(options.running, options.waiting, options.wait_s)
        self.rate = RateLimit(options.rate_per_s, options.burst)
        self._threads = ThreadPoolExecutor(options.running, "search")
        self._ready: tuple[float, bool, str] = (-READY_S, False, "not asked yet")
        self._asking = asyncio.Lock()
        metrics.watch(lambda: self.gate.running, lambda: self.gate.waiting)

    def warm(self) -> None:
        """Load what the first search would wait for (tokeniser, encoder) beside what is asked meanwhile."""
        self._threads.submit(self._warm)

    def _warm(self) -> None:
        try:
            self.shop.search(self.shop.query("warm", size=1))
        except XModalError as error:  # whoever searches gets the line, and /readyz knows it
            _log.debug("not warmed up: %s", error)

    def close(self) -> None:
        """Let what runs finish, then close the shop."""
        self._threads.shutdown(wait=True)
        self.shop.close()

    async def run(self, work: Callable[..., _Result], *args: Any, **options: Any) -> _Result:
        """Do blocking work in a thread, when there is a place for it.

        Raises:
            Problem: 503 where there is no place, 504 where it takes too long.
            XModalError: what the work raises.
        """
        async with self.gate.place():
            loop = asyncio.get_running_loop()
            # With the request's context, so that the spans of its search lie below its own.
            context = contextvars.copy_context()
            future = loop.run_in_executor(self._threads, lambda: context.run(work, *args, **options))
            done, _ = await asyncio.wait({future}, timeout=self.options.answer_s)
            if not done:
                # The thread cannot be stopped; it keeps its place in the pool until Elasticsearch times out.
                future.add_done_callback(lambda late: late.cancelled() or late.exception())
                raise Problem(504, f"no answer within {self.options.answer_s:g} s", kind="timeout")
            return future.result()

    def query(self, asked: SearchRequest, pictures: Sequence[str | bytes]) -> Query:
        """Turn a request into a query.

        Raises:
            QueryError: it makes no sense.
            Problem: the page is larger than the service gives.
        """
        if asked.size > self.options.max_hits:
            raise Problem(422, f"size: must be at most {self.options.max_hits}", kind="query", field="size")
        for one in asked.minus:
            if one.lstrip().lower().startswith("image:"):
                raise Problem(422, "minus: pictures do not stand here", kind="query", field="minus")
        return self.shop.query(
            asked.text,
            images=[Term(kind="image", value=one) for one in pictures],
            like=asked.like,
            minus=asked.minus,
            keep_like=asked.keep_like,
            composition=asked.composition,
            filters=asked.filters,
            facets=asked.facets,
            sort=asked.sort,
            collapse=asked.collapse,
            size=asked.size,
            fusion=asked.fusion,
            weights=asked.weights,
            cutoff=asked.cutoff,
            window=asked.window,
            hold=asked.hold,
        )

    def search(self, query: Query, *, cursor: str | None = None, explained: bool = False) -> dict[str, Any]:
        """Search, and write the answer as the command line does, with highlights that are safe in a page."""
        if self.options.log_queries:
            _log.info("search for %r", query.text)
        result = self.shop.search(query, cursor=cursor)
        self._count(result)
        answer = result.to_json()
        for hit, written in zip(result.hits, answer["hits"], strict=True):
            written["highlight"] = {name: as_html(text) for name, text in written["highlight"].items()}
            if explained:
                written["explain"] = explain(hit, query.filters).to_json()
        return answer

    async def ready(self) -> tuple[bool, str]:
        """Ask the cluster for the index, at most once a second; a full queue does not hold this up."""
        async with self._asking:
            asked, ready, detail = self._ready
            if time.monotonic() - asked < READY_S:
                return ready, detail
            try:
                await anyio.to_thread.run_sync(self.shop.check)
                ready, detail = True, "ready"
            except XModalError as error:
                # The one line names hosts and indices, which are no business of who asks without a key.
                _log.warning("not ready: %s", error)
                ready, detail = False, type(error).__name__
            self._ready = (time.monotonic(), ready, detail)
            return ready, detail

    def _count(self, result: SearchResult) -> None:
        if not result.hits:
            self.metrics.empty.labels(result.query_class).inc()
        for stage, seconds in result.timings.stages.items():
            self.metrics.stages.labels(stage).observe(seconds)
        for leg, seconds in result.timings.legs.items():
            self.metrics.legs.labels(leg).observe(seconds)


def as_html(marked: str) -> str:
    """Escape a highlighted text; only the marks around words stay tags.

    Args:
        marked: a shop's own text with `<em>` and `</em>` in it.
    """
    safe = html.escape(marked)
    return safe.replace("&lt;em&gt;", "<em>").replace("&lt;/em&gt;", "</em>")
