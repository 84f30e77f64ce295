"""Proof that scores are filled in exactly: the ranking of a window of 100 is that of all documents.

The other side is worked out here, outside the plan: cosines of the stored vectors, BM25 of every match.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_xmodal.app import ingest_parts
from es_xmodal.ingest.pipeline import IngestOptions, run_ingest
from es_xmodal.query.legs import LexicalLeg
from es_xmodal.query.plan import Plan
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.data import shared_data
from tests.support.nodes import call, delete_everything_named

pytestmark = [pytest.mark.model, pytest.mark.integration]

SETS = [("yanxuan_zh", {"description": "brief"}, 60), ("grocery", {}, 100)]
Scores = dict[str, float]
Given = tuple[Shop, str, Path, int]


@pytest.fixture(scope="module", params=SETS, ids=[name for name, *_ in SETS])
def data(
    request: pytest.FixtureRequest, es_url: str, tmp_path_factory: Any
) -> Iterator[tuple[Shop, str, Path, int]]:
    name, renames, least = request.param
    folder = shared_data(name)
    work = tmp_path_factory.mktemp(name)
    settings = load_settings(url=es_url, data_dir=work)
    index = f"texact{abs(hash(es_url)) % 10**8}-{name.replace('_', '')}"
    with ingest_parts(settings, folder) as parts:
        options = IngestOptions(
            catalog=folder / "catalog.jsonl", index=index, renames=renames, rejects=work / "rejects.jsonl"
        )
        run_ingest(parts, options)
    with Shop(settings=settings, index=index) as shop:
        yield shop, es_url, folder, least
    delete_everything_named(es_url, index)


def stored(url: str, index: str) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Every product's vectors by leg, one row a picture."""
    body = {"size": 10_000, "_source": False, "fields": ["text_vector", "images.joint"]}
    _, answer = call(url, "POST", f"/{index}/_search", body)
    found = {}
    for hit in answer["hits"]["hits"]:
        fields = hit.get("fields", {})
        pictures = [image["joint"] for image in fields.get("images", []) if image.get("joint")]
        rows = {"text": [fields["text_vector"]] if fields.get("text_vector") else [], "image": pictures}
        found[hit["_id"]] = {leg: np.array(one, dtype=np.float64) for leg, one in rows.items() if one}
    return found


def exhaustive(plan: Plan, url: str, vectors: Mapping[str, Mapping[str, Any]]) -> dict[str, Scores]:
    """Leg name to the raw score of every product that has one."""
    raws: dict[str, Scores] = {}
    for leg in plan.legs:
        if isinstance(leg, LexicalLeg):
            body = {"query": leg.clause, "size": 10_000, "_source": False}
            path = f"/{plan.alias}/_search?search_type=dfs_query_then_fetch"
            _, answer = call(url, "POST", path, body)
            raws[leg.name] = {hit["_id"]: hit["_score"] for hit in answer["hits"]["hits"]}
            continue
        asked = leg.vector.astype(np.float64) / np.linalg.norm(leg.vector)
        raws[leg.name] = {
            product: float(np.max((1 + own[leg.name] @ asked / np.linalg.norm(own[leg.name], axis=1)) / 2))
            for product, own in vectors.items()
            if leg.name in own
        }
    return raws


def convex(plan: Plan, raws: Mapping[str, Scores]) -> Scores:
    """The documented formula, over all documents."""
    share = sum(leg.weight for leg in plan.legs if not leg.pinned)
    totals: Scores = {}
    for leg in plan.legs:
        scores = raws[leg.name]
        if not scores:
            continue
        floor = leg.calibration.floor if leg.calibration else 0.0
        span = max(max(scores.values()) - floor, 3 * leg.calibration.spread if leg.calibration else 0.0)
        weight = leg.weight if leg.pinned else leg.weight / share
        for product, raw in scores.items():
            totals[product] = totals.get(product, 0.0) + weight * (raw - floor) / span
    return totals


def test_a_window_of_100_ranks_as_all_documents(data: Given) -> None:
    shop, url, folder, least = data
    vectors = stored(url, shop.index)
    with (folder / "queries.tsv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file, delimiter="\t") if row["mode"] == "text"]
    assert len(texts) >= least
    for text in texts:
        plan = shop.plan(text, window=100).plan
        totals = convex(plan, exhaustive(plan, url, vectors))
        hits = shop.search(text, window=100).hits
        best = sorted(totals.values(), reverse=True)[:10]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=2e-6), text
        assert [totals[hit.id] for hit in hits] == pytest.approx(best, abs=2e-6), text
