"""Every golden body is accepted by a real server, and means what the plan says."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from es_xmodal.cluster.capabilities import is_retriever_refusal
from es_xmodal.encoders.base import EncoderInfo, Space
from es_xmodal.index.body import IndexOptions, build_body
from es_xmodal.index.combining import Combining
from es_xmodal.query.answers import read_found, read_hits
from es_xmodal.query.console import console_text, msearch_lines
from es_xmodal.query.plan import Request
from es_xmodal.resources import index_template
from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR
from tests.support.cases import CASES, requests_of

pytestmark = pytest.mark.contract

ENCODER = EncoderInfo(
    spec="two",
    fingerprint="two-0",
    spaces=(
        Space(name="joint", dim=2, modalities=frozenset({"text", "picture"})),
        Space(name="visual", dim=2, modalities=frozenset({"picture"})),
        Space(name="text", dim=2, modalities=frozenset({"text"})),
    ),
    text_space="text",
    languages=("en",),
    licence="Apache-2.0",
    picture_side=8,
)

DOCUMENTS: dict[str, dict[str, Any]] = {
    "p1": {"title": "red mug", "brand": "Apple", "price": 12.0, "text_vector": [0.6, 0.8]},
    "p2": {"title": "red cup", "price": 25.0, "text_vector": [1.0, 0.0]},
    "p3": {"title": "blue bowl", "price": 15.0, "text_vector": [0.0, 1.0]},
    "p4": {"title": "mug", "images": [{"ref": "a.jpg", "joint": [0.6, 0.8], "visual": [0.0, 1.0]}]},
    "p5": {
        "title": "plate",
        "images": [
            {"ref": "b.jpg", "joint": [1.0, 0.0], "visual": [1.0, 0.0]},
            {"ref": "c.jpg", "joint": [0.0, 1.0], "visual": [0.6, 0.8]},
        ],
    },
}


KINDS = {
    "exact": IndexOptions(shards=2),
    "quantised": IndexOptions(vector_index="int8_hnsw", shards=2),
    "dot": IndexOptions(shards=2, combining=Combining(similarity="dot_product")),
    "l2": IndexOptions(shards=2, combining=Combining(similarity="l2_norm")),
    "mean": IndexOptions(shards=2, combining=Combining(pictures="mean")),
    "fused": IndexOptions(shards=2, combining=Combining(pictures="mean", fuse="add")),
    "ocr": IndexOptions(shards=2, ocr=True),
}


def kind_of(case: str) -> str:
    """Which index a case is meant for: `text_quantised`, `mean_image`."""
    return next((kind for kind in KINDS if kind in case.split("_")), "exact")


def laid_out(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """A document as an index of that kind has it; of several pictures the first one is its mean here."""
    if kind not in ("mean", "fused"):
        return row
    images = row.get("images", [])
    top = {name: value for name, value in row.items() if name not in ("images", "text_vector")}
    if kind == "fused":
        vector = row.get("text_vector") or (images[0]["joint"] if images else None)
        return {**top, **({"fused_vector": vector} if vector else {})}
    found = {
        f"{leg}_vector": images[0][space]
        for leg, space in (("image", "joint"), ("visual", "visual"))
        if images
    }
    text = {"text_vector": row["text_vector"]} if "text_vector" in row else {}
    return {**top, **text, **found, "images": [{"ref": image["ref"]} for image in images]}


@pytest.fixture(scope="module")
def indices(es_url: str) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """An index of each kind."""
    with httpx.Client(base_url=es_url, timeout=60) as client:
        names = {}
        for kind, options in KINDS.items():
            name = names[kind] = f"contract-{secrets.token_hex(4)}"
            body = build_body(index_template(), encoder=ENCODER, options=options)
            client.put(f"/{name}", json=body).raise_for_status()
            for product, row in DOCUMENTS.items():
                tokens = {"title": row["title"]}
                if kind == "ocr":
                    tokens["grams"] = SEPARATOR.join(grams([row["title"], "Arla"]))
                document = {"id": product, "tokens": tokens, **laid_out(row, kind)}
                client.put(f"/{name}/_doc/{product}", json=document).raise_for_status()
            client.post(f"/{name}/_refresh").raise_for_status()
        yield client, names
        for name in names.values():
            client.delete(f"/{name}").raise_for_status()


def send(client: httpx.Client, index: str, request: Request) -> list[dict[str, Any]]:
    if request.endpoint == "_msearch":
        lines = "".join(json.dumps(part) + "\n" for part in msearch_lines(request))
        kind = {"content-type": "application/x-ndjson"}
        answers: list[dict[str, Any]] = client.post(f"/{index}/_msearch", content=lines, headers=kind).json()[
            "responses"
        ]
        return answers
    return [client.post(f"/{index}/_search", params=dict(request.params), json=request.bodies[0]).json()]


def paste(client: httpx.Client, text: str) -> list[dict[str, Any]]:
    """Do what Kibana's Console does with its text."""
    head, body = text.split("\n", 1)
    method, path = head.split(" ", 1)
    kind = "application/x-ndjson" if "_msearch" in path else "application/json"
    answer = client.request(
        method, f"/{path}", content=f"{body}\n".encode(), headers={"content-type": kind}
    ).json()
    return list(answer["responses"]) if "responses" in answer else [answer]


def hits_of(answers: list[dict[str, Any]]) -> list[list[tuple[str, float]]]:
    assert not [answer for answer in answers if "hits" not in answer], answers
    assert not [answer for answer in answers if answer["_shards"]["failed"]], answers
    return [[(hit["_id"], hit["_score"]) for hit in answer["hits"]["hits"]] for answer in answers]


@pytest.mark.parametrize("name", sorted(CASES))
def test_accepted_and_the_same_when_pasted(indices: tuple[httpx.Client, dict[str, str]], name: str) -> None:
    client, names = indices
    index = names[kind_of(name)]
    for request in requests_of(CASES[name]):
        if request is CASES[name].server:
            # The servers of these tests lack the module rank-rrf, which needs a licence: see the test below.
            continue
        sent = hits_of(send(client, index, request))
        assert sent == hits_of(paste(client, console_text(index, request)))
        assert len(sent) == len(request.bodies)


@pytest.mark.parametrize("name", sorted(name for name, plan in CASES.items() if plan.server))
def test_the_server_s_own_fusion_lacks_nothing_but_the_module(
    indices: tuple[httpx.Client, dict[str, str]], name: str
) -> None:
    """No licensed server is here: the whole is refused for its name only, and each part alone is a window."""
    client, names = indices
    plan = CASES[name]
    assert plan.server is not None
    (refused,) = send(client, names["exact"], plan.server)
    kind = plan.fusion.removeprefix("server-")
    assert refused["error"]["reason"] == f"unknown retriever [{kind}]"
    assert is_retriever_refusal(Exception(refused["error"]["reason"]))
    windows = send(client, names["exact"], plan.retrieve)
    for part, window in zip(plan.server.bodies[0]["retriever"][kind]["retrievers"], windows, strict=False):
        body = {**plan.server.bodies[0], "retriever": part.get("retriever", part)}
        alone = Request(endpoint="_search", params={}, bodies=(body,))
        assert hits_of(send(client, names["exact"], alone)) == hits_of([window])


def test_ranking_adds_up(indices: tuple[httpx.Client, dict[str, str]]) -> None:
    client, names = indices
    plan = CASES["text_and_image"]
    found = read_found(plan.legs, send(client, names["exact"], plan.retrieve))
    last = plan.rank(found)
    assert last is not None
    (answer,) = send(client, names["exact"], last)
    hits = read_hits(answer, plan.fuse(found), offset=0)
    assert {hit.id for hit in hits} == set(DOCUMENTS)
    scores = [hit.ledger.score for hit in hits]
    assert scores == sorted(scores, reverse=True), "the server adds up in the same order as the ledger"
    by_id = {hit.id: hit for hit in hits}
    assert by_id["p5"].best_image == "c.jpg"
    assert by_id["p1"].ledger.legs["image"].raw is None
    assert by_id["p4"].ledger.legs["image"].raw == pytest.approx(1.0, abs=1e-6)
    assert by_id["p2"].ledger.legs["text"].raw == pytest.approx((1 + 0.6) / 2, abs=1e-6)
