"""`bench recall` on a real node: exact kinds are exact, the shop is left alone, nothing stays behind."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import ClusterAnswerError, IndexStateError, SettingsError
from es_xmodal.evaluation import recall, recall_sample
from es_xmodal.evaluation.recall import RecallReport, measure_recall
from es_xmodal.index import scratch
from es_xmodal.settings import load_settings
from tests.support.cli import Cli, refused
from tests.support.ingesting import draw, ingest_catalog, write_rows
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.integration

MANY = 140
EXACT = ("hnsw", "flat")


@pytest.fixture(scope="module")
def shop(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Products with two pictures, in an index made by ingest."""
    folder = tmp_path_factory.mktemp("recall")
    prefix = f"t{secrets.token_hex(5)}-"
    for number in range(40):
        draw(folder / f"{number}.png", seed=number)
    rows = [
        {
            "id": f"p{at}",
            "title": f"mug {at} of shelf {at % 7}",
            "images": [f"{at % 40}.png", f"{at * 3 % 40}.png"] if at % 10 else [],
        }
        for at in range(MANY)
    ]
    report = ingest_catalog(es_url, write_rows(folder, rows), f"{prefix}shop")
    assert report.vector_index is not None
    assert report.vector_index.type == "flat"
    yield f"{prefix}shop"
    delete_everything_named(es_url, prefix)


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    with connect(load_settings(url=es_url)) as client:
        yield client


@pytest.fixture(autouse=True)
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_sample, "QUERIES", 8)


@pytest.fixture
def prefix(client: Elasticsearch, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Temporary indices of this test only."""
    name = f"t{secrets.token_hex(5)}-bench-"
    monkeypatch.setattr(scratch, "PREFIX", name)
    yield name
    assert not client.indices.get(index=f"{name}*").body, "a temporary index was left behind"


@pytest.fixture
def measured(client: Elasticsearch, shop: str, prefix: str) -> RecallReport:
    return measure_recall(client, shop)


def test_every_kind_is_measured(client: Elasticsearch, shop: str, measured: RecallReport) -> None:
    assert (measured.products, measured.held_out, measured.sampled) == (MANY, 8, MANY - 8)
    assert measured.present == dict.fromkeys(("images.joint", "images.visual", "text_vector"), "flat")
    kinds = {one.kind: one for one in measured.kinds}
    assert kinds.keys() == {"hnsw", "flat", "int8_hnsw", "int8_flat", "int4_hnsw", "int4_flat"}
    assert measured.left_out.keys() == {"bbq_hnsw", "bbq_flat", "bbq_disk"}
    assert "needs 64 dimensions" in measured.left_out["bbq_hnsw"]
    for name, one in kinds.items():
        assert one.disk_bytes > 0
        assert {row.field for row in one.rows} == set(measured.present)
        assert {row.rescored for row in one.rows} == ({False} if name in EXACT else {False, True})
    for row in kinds["flat"].rows:
        assert (row.recall_at_10, row.recall_at_100) == (1.0, 1.0)
        assert max(row.max_error, row.final_error) < 1e-6
    rough = [row for row in kinds["int4_flat"].rows if row.field == "text_vector"]
    raw, rescored = sorted(rough, key=lambda row: row.rescored)
    assert raw.max_error > 1e-4, "half a byte a dimension is not exact"
    assert rescored.final_error < 1e-6
    assert measured.choice.type == "flat"
    printed = measured.to_json()
    assert json.loads(json.dumps(printed)) == printed


def test_the_shop_is_only_read(client: Elasticsearch, shop: str, prefix: str) -> None:
    before = client.indices.get(index=shop).body
    measure_recall(client, shop, kinds=["flat"])
    assert client.indices.get(index=shop).body == before
    assert client.count(index=shop).body["count"] == MANY


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ClusterAnswerError("no room")])
def test_nothing_stays_behind(
    client: Elasticsearch, shop: str, prefix: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    seen = []

    def fail(client: Elasticsearch, index: str) -> int:
        seen.append(client.indices.exists(index=index).body)
        raise error

    monkeypatch.setattr(recall, "settle", fail)
    with pytest.raises(type(error)):
        measure_recall(client, shop, kinds=["hnsw"])
    assert seen == [True]


def test_what_cannot_be_measured_is_said(client: Elasticsearch, shop: str, prefix: str) -> None:
    with pytest.raises(SettingsError, match="'bbq' is none"):
        measure_recall(client, shop, kinds=["bbq"])
    with pytest.raises(IndexStateError, match="gave 50 products with vectors; 100 are needed"):
        measure_recall(client, shop, sample=50)
    by_name = measure_recall(client, shop, kinds=["flat", "bbq_hnsw"])
    assert "needs 64 dimensions" in by_name.left_out["bbq_hnsw"]


def test_the_command(es_url: str, shop: str, tmp_path: Path) -> None:
    cli = Cli(home=tmp_path, variables={"ES_XMODAL_URL": es_url})
    asked = ("bench", "recall", "--index", shop, "--sample", "120")
    printed: dict[str, Any] = cli.json(*asked, "--types", "flat,int8_hnsw")
    assert list(printed["kinds"]) == ["flat", "int8_hnsw"]
    assert printed["choice"]["type"] == "flat"
    assert printed["sampled"] + printed["held_out"] == 120
    told = cli.here(*asked, "--types", "hnsw").out
    assert "recall@10" in told
    assert "it should be: flat" in told
    refused(cli.here("bench", "recall", "--index", f"{shop}-none"), 2, "there is no index")
    refused(cli.here(*asked, "--types", "magic"), 2, "'magic' is none")
