"""A search through the server's own fusion, against answers of the documented shape.

No licensed server is at hand: the files in tests/recorded were written by hand after the documentation, the
400 is that of a server without the module.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.capabilities import probe
from es_xmodal.errors import ClusterRefusedError, QueryError
from es_xmodal.index.meta import Builder, EncoderMeta, IndexMeta
from es_xmodal.index.target import Target
from es_xmodal.query.model import Query
from es_xmodal.search.engine import Searcher
from tests.support.encoders import HashEncoder
from tests.support.fake_node import Answer, Asked, fake_client
from tests.support.plans import FIELDS
from tests.support.shops import ANALYZER

pytestmark = pytest.mark.unit

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
WINDOWS = ({"p1": 8.0, "p2": 5.0, "p3": 2.0}, {"p2": 0.875, "p4": 0.75, "p1": 0.625})
WEIGHTS = {"lexical": 0.3, "text": 0.7, "image": 0.0}
SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
FORBIDDEN = Answer(status=403, body={"error": {"type": "security_exception", "reason": "unauthorized"}})


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def window(scores: dict[str, float]) -> dict[str, Any]:
    hits = [{"_index": "shop-v0001", "_id": one, "_score": score} for one, score in scores.items()]
    total = {"value": len(hits), "relation": "eq"}
    return {"_shards": SHARDS, "timed_out": False, "status": 200, "hits": {"total": total, "hits": hits}}


def page(body: dict[str, Any]) -> dict[str, Any]:
    """What a server does with the last request: constants add up, and the quiet legs report."""
    boosts: dict[str, float] = {}
    for clause in body["query"]["bool"]["should"]:
        if "constant_score" in clause and "ids" in clause["constant_score"]["filter"]:
            (product,) = clause["constant_score"]["filter"]["ids"]["values"]
            boosts[product] = clause["constant_score"]["boost"]
    ids = body["query"]["bool"]["filter"][0]["ids"]["values"]
    order = sorted(ids, key=lambda one: (-boosts.get(one, 0.0), one))
    hits = [
        {
            "_index": "shop-v0001",
            "_id": one,
            "_score": boosts.get(one, 0.0),
            "_source": {"id": one, "title": one},
            "matched_queries": {"lexical": 1e-12 * 3.0},
        }
        for one in order[body["from"] : body["from"] + body["size"]]
    ]
    return {
        "_shards": SHARDS,
        "timed_out": False,
        "hits": {"total": {"value": len(ids), "relation": "eq"}, "hits": hits},
    }


def server(
    retriever: Answer, *, licence: Answer | str = "trial", version: str = "9.5.3"
) -> tuple[Elasticsearch, list[Asked]]:
    """A cluster whose retrievers answer `retriever`."""

    def play(asked: Asked) -> Answer:
        if asked.target.startswith("/_nodes"):
            return Answer(body={"nodes": {"n0": {"version": version}}})
        if asked.target.startswith("/_license"):
            kind = {"license": {"type": licence, "status": "active"}}
            return licence if isinstance(licence, Answer) else Answer(body=kind)
        if "_msearch" in asked.target:
            return Answer(body={"responses": [window(one) for one in WINDOWS]})
        body = orjson.loads(asked.body)
        return retriever if "retriever" in body else Answer(body=page(body))

    client, asked, _ = fake_client(play, max_retries=0)
    return client, asked


def searcher(client: Elasticsearch) -> Searcher:
    encoder = HashEncoder()
    meta = IndexMeta(
        index="shop-v0001",
        version="0",
        state="complete",
        encoder=EncoderMeta(spec="hash", fingerprint=encoder.info.fingerprint, text_space="text", spaces={}),
        text_fingerprint=ANALYZER.fingerprint,
        layout="",
        created="",
        lease=0.0,
        builder=Builder(host="h", pid=1, run_id="r", started=0.0, machine="m"),
    )
    made = Searcher(client, "shop", encoder_for=lambda spec: encoder, analyzer_for=lambda: ANALYZER)
    made._targets._known = Target(
        alias="shop", index="shop-v0001", version=1, shards=1, meta=meta, fields=FIELDS, quantised=False
    )
    return made


def query(fusion: str, **options: Any) -> Query:
    return Query(text="red mug", fusion=fusion, weights=WEIGHTS, **options)  # type: ignore[arg-type]


def tries(asked: list[Asked]) -> int:
    return sum(b'"retriever"' in one.body for one in asked)


@pytest.mark.parametrize(
    ("fusion", "order"),
    [("server-rrf", ["p2", "p1", "p4", "p3"]), ("server-linear", ["p2", "p4", "p1", "p3"])],
)
def test_the_recorded_answer_ranks_and_the_ledger_adds_up(fusion: str, order: list[str]) -> None:
    answer = recorded(f"retriever_{fusion.removeprefix('server-')}")
    client, asked = server(Answer(body=answer))
    result = searcher(client).search(query(fusion))
    assert [hit.id for hit in result.hits] == [row["_id"] for row in answer["hits"]["hits"]] == order
    assert [hit.score for hit in result.hits] == pytest.approx(
        [row["_score"] for row in answer["hits"]["hits"]], abs=1e-6
    )
    for hit in result.hits:
        assert hit.score == pytest.approx(
            sum(leg.contribution for leg in hit.ledger.legs.values()), abs=1e-12
        )
    by_id = {hit.id: hit for hit in result.hits}
    assert by_id["p1"].ledger.legs["lexical"].raw == 8.0
    assert by_id["p4"].ledger.legs["lexical"].raw == pytest.approx(3.0), "filled in by the last request"
    assert by_id["p4"].ledger.legs["lexical"].contribution == 0.0
    assert by_id["p2"].leg_ranks == {"lexical": 2, "text": 1}
    assert (result.fusion, result.requests, result.warnings) == (fusion, 3, ())
    assert result.total.reachable == 4
    assert tries(asked) == 1


def test_rrf_of_the_client_gives_the_recorded_order() -> None:
    answer = recorded("retriever_rrf")
    client, asked = server(Answer(body=answer))
    result = searcher(client).search(query("rrf"))
    assert [hit.id for hit in result.hits] == [row["_id"] for row in answer["hits"]["hits"]]
    assert [hit.score for hit in result.hits] == pytest.approx(
        [row["_score"] for row in answer["hits"]["hits"]], abs=1e-6
    )
    assert tries(asked) == 0


@pytest.mark.parametrize("fusion", ["server-rrf", "server-linear"])
def test_pages_go_on(fusion: str) -> None:
    client, _ = server(Answer(body=recorded(f"retriever_{fusion.removeprefix('server-')}")))
    shop = searcher(client)
    whole = [hit.id for hit in shop.search(query(fusion)).hits]
    first = shop.search(query(fusion, size=3))
    second = shop.search(query(fusion, size=3), cursor=first.cursor)
    assert [hit.id for hit in (*first.hits, *second.hits)] == whole
    assert (second.hits[0].rank, second.cursor) == (4, None)


@pytest.mark.parametrize(
    ("refusal", "status"), [("retriever_403", 403), ("retriever_400", 400)], ids=["licence", "module"]
)
def test_a_refusal_falls_back_once_and_is_remembered(refusal: str, status: int) -> None:
    refused = Answer(status=status, body=recorded(refusal))
    client, asked = server(refused, licence=FORBIDDEN)  # may not be asked, so only trying tells
    shop = searcher(client)
    first = shop.search(query("server-rrf", size=2))
    assert first.fusion == "rrf"
    assert any("rrf ranks instead" in warning for warning in first.warnings)
    assert [hit.id for hit in first.hits] == ["p2", "p1"]
    assert tries(asked) == 1
    assert probe(client).refused == {"rrf"}
    second = shop.search(query("server-rrf", size=2), cursor=first.cursor)
    assert [hit.id for hit in second.hits] == ["p4", "p3"]
    assert tries(asked) == 1, "not tried again"
    assert second.warnings == first.warnings
    other, asked_there = server(refused, licence=FORBIDDEN)
    again = searcher(other).search(query("server-rrf", size=2), cursor=first.cursor)
    assert [hit.id for hit in again.hits] == ["p4", "p3"], "the cursor also fits where it is not known yet"
    assert tries(asked_there) == 1


@pytest.mark.parametrize(
    ("licence", "version"), [("basic", "9.5.3"), ("platinum", "9.5.3"), ("trial", "8.15.5")]
)
def test_what_the_cluster_cannot_do_is_not_tried(licence: str, version: str) -> None:
    client, asked = server(Answer(body=recorded("retriever_rrf")), licence=licence, version=version)
    shop = searcher(client)
    assert shop.search(query("server-rrf")).fusion == "rrf"
    assert shop.search(query("server-linear")).fusion == "convex"
    assert tries(asked) == 0


def test_weights_go_to_servers_that_take_them() -> None:
    bodies = {}
    for version in ("9.1.9", "9.2.0"):
        client, asked = server(Answer(body=recorded("retriever_rrf")), version=version)
        result = searcher(client).search(query("server-rrf"))
        bodies[version] = next(orjson.loads(one.body) for one in asked if tries([one]))
        assert bool(result.warnings) is (version == "9.1.9")
    parts = {version: body["retriever"]["rrf"]["retrievers"] for version, body in bodies.items()}
    assert [part["weight"] for part in parts["9.2.0"]] == [0.3, 0.7]
    assert not any("weight" in part for part in parts["9.1.9"])


def test_another_score_of_the_server_is_said() -> None:
    answer = recorded("retriever_linear")
    answer["hits"]["hits"][1]["_score"] = 0.4
    client, _ = server(Answer(body=answer))
    result = searcher(client).search(query("server-linear"))
    assert result.warnings == ("the server's own score of 1 of 4 hits is not that of the ledger",)


def test_other_errors_of_a_retriever_are_errors() -> None:
    client, _ = server(FORBIDDEN)
    with pytest.raises(ClusterRefusedError):
        searcher(client).search(query("server-rrf"))
    assert probe(client).refused == frozenset()
    client, _ = server(Answer(body=recorded("retriever_rrf")))
    shop = searcher(client)
    cursor = shop.search(query("server-rrf", size=1)).cursor
    with pytest.raises(QueryError, match="cursor"):
        shop.search(replace(query("server-rrf", size=1), text="blue mug"), cursor=cursor)


def test_the_planned_requests_are_those_that_are_sent() -> None:
    client, asked = server(Answer(body=recorded("retriever_linear")))
    shop = searcher(client)
    planned = shop.plan(query("server-linear"))
    assert [one.endpoint for one in planned.requests] == ["_search", "_msearch", "_search"]
    del asked[:]
    shop.search(query("server-linear"))
    sent = [orjson.loads(one.body) for one in asked if "_search" in one.target]
    for request, body in zip((planned.requests[0], planned.requests[2]), sent, strict=True):
        body.pop("timeout")
        assert body == request.bodies[0]
