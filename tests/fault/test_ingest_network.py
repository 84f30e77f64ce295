"""Ingests over a network, and to a cluster, that refuse, lose requests, and lose answers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.index.target import load_target
from es_xmodal.index.versions import list_versions
from es_xmodal.ingest.sender import SenderOptions
from es_xmodal.settings import load_settings
from tests.support.ingesting import counts, documents, ingest_catalog, rejects, shop_rows, write_rows
from tests.support.unreliable import Fate, Fates, unreliable

pytestmark = pytest.mark.fault

MANY = 20
BULK: tuple[Fate, ...] = (
    "lose answer",
    "pass",
    "no room",
    "busy",
    "lose request",
    "pass",
    "away",
    "lose answer",
    "no room",
    "pass",
)
ALIASES: tuple[Fate, ...] = ("lose answer", "pass")
OTHERS: tuple[Fate, ...] = ("pass", "pass", "pass", "pass", "lose answer")


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


def troubled(seen: Counter[str]) -> Fates:
    """Requests go wrong in turn: bulk requests, those that move aliases, and all others."""
    bulks, aliases, others = map(itertools.cycle, (BULK, ALIASES, OTHERS))

    def fate(method: str, path: str) -> Fate:
        kind = "bulk" if "_bulk" in path else "alias" if "_alias" in path else "other"
        found: Fate = next({"bulk": bulks, "alias": aliases, "other": others}[kind])
        seen[f"{kind}: {found}"] += 1
        return found

    return fate


def test_nothing_is_lost_and_nothing_comes_twice(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = shop_rows(tmp_path, MANY)
    changed = [{**row, "title": "Blue mug"} if at % 2 else row for at, row in enumerate(rows)]
    gone = [{"id": "p0", "deleted": True}, *changed[1:]]
    partial: list[dict[str, Any]] = [
        {"id": "p1", "price": 5},
        {"id": "p2", "title": "Green mug"},
        {"id": "p3", "brand": "New"},
    ]
    bad = [{"id": "untitled"}, *rows]
    ways: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        (bad, {}),
        (gone, {}),
        (partial * 4, {"update": True}),
        (rows[:15], {"delete_missing": True}),
        (bad, {"rebuild": True, "keep": 1}),
    ]
    calm, name = f"{index_prefix}calm", f"{index_prefix}troubled"
    seen: Counter[str] = Counter()
    with unreliable(es_url, troubled(seen)) as url:
        for at, (some, how) in enumerate(ways):
            catalog = write_rows(tmp_path, some, name=f"{at}.jsonl")
            options = {**how, "sender": SenderOptions(max_docs=5, threads=1)}
            undisturbed = ingest_catalog(es_url, catalog, calm, **options)
            told = rejects(tmp_path / "rejects.jsonl")
            report = ingest_catalog(url, catalog, name, **options)
            assert documents(client, name) == documents(client, calm), at
            assert load_target(client, name).meta.calibration == load_target(client, calm).meta.calibration
            counts(report)  # add up; a deletion whose answer was lost finds nothing to delete the second time
            for count in ("read", "rejected"):
                assert report.counts[count] == undisturbed.counts[count]
            assert rejects(tmp_path / "rejects.jsonl") == told
    assert {f"bulk: {fate}" for fate in BULK} <= seen.keys()
    assert seen["other: lose answer"] > 2
    assert seen["alias: lose answer"] > 1
    assert [one.serving for one in list_versions(client, name)] == [True]
