"""A searcher that looks on while something happens to its index."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elasticsearch import Elasticsearch, NotFoundError


@contextmanager
def watched(client: Elasticsearch, alias: str, allowed: set[int]) -> Iterator[list[int]]:
    """Search again and again; every answer must be whole. A missing alias counts as no products."""
    seen: list[int] = []
    wrong: list[Any] = []
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.01):
            try:
                answer = client.search(index=alias, size=0, track_total_hits=True).body
            except NotFoundError:
                seen.append(0)
            except Exception as error:  # whatever a searcher met is the test's result
                wrong.append(error)
            else:
                seen.append(answer["hits"]["total"]["value"])
                if answer["_shards"]["failed"]:
                    wrong.append(answer)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert wrong == []
    assert seen
    assert set(seen) <= allowed
