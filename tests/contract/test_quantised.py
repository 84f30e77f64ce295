"""Every kind of vector index on a real server: requests are accepted, and the final scores are exact."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import EncoderInfo, Space
from es_xmodal.index.body import IndexOptions, build_body
from es_xmodal.index.quantisation import KINDS, Facts, FieldFacts, refusal
from es_xmodal.query.legs import VectorLeg
from es_xmodal.query.model import Query
from es_xmodal.query.plan import Plan, build_plan
from es_xmodal.query.view import Calibration, IndexView, Signals
from es_xmodal.resources import index_template
from es_xmodal.settings import load_settings
from es_xmodal.vectors import Matrix, unit_rows
from tests.contract.test_plans import hits_of, send

pytestmark = pytest.mark.contract

DIM = 64
PRODUCTS = 60
KIND_NAMES = sorted(KINDS)
FIELDS = {"id": "keyword", "text_vector": "dense_vector", "images.joint": "dense_vector"}
DRAW = np.random.default_rng(5)
TEXTS: Matrix = unit_rows(DRAW.standard_normal((PRODUCTS, DIM)).astype(np.float32))
PICTURES: Matrix = unit_rows(DRAW.standard_normal((PRODUCTS, DIM)).astype(np.float32))
QUERY = unit_rows(TEXTS[:1] + PICTURES[:1])[0]
ENCODER = EncoderInfo(
    spec="wide",
    fingerprint="wide-0",
    spaces=(Space(name="joint", dim=DIM, modalities=frozenset({"text", "picture"})),),
    text_space="joint",
    languages=("en",),
    licence="Apache-2.0",
    picture_side=8,
)


@pytest.fixture(scope="module")
def server(es_url: str) -> Iterator[tuple[httpx.Client, Facts]]:
    client = connect(load_settings(url=es_url))
    version = probe(client).version
    client.close()
    field = FieldFacts(name="images.joint", dims=DIM, vectors=PRODUCTS, nested=True)
    # These servers carry no licence; with one, the rule would take `bbq_disk` for possible.
    with httpx.Client(base_url=es_url, timeout=60) as caller:
        yield caller, Facts(fields=(field,), version=version, license="enterprise")


def plan_of(kind: str) -> Plan:
    factor = KINDS[kind].oversample
    view = IndexView(
        alias="shop",
        shards=1,
        fields=FIELDS,
        quantised=factor is not None,
        oversample={} if factor is None else dict.fromkeys(("text_vector", "images.joint"), factor),
        calibration={leg: Calibration(floor=0.5, spread=0.01) for leg in ("text", "image")},
    )
    signals = Signals(terms=("mug",), vectors={"text": QUERY, "image": QUERY})
    return build_plan(Query(text="mug", cutoff=1.0), signals, view)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_vector_leg_rescores_with_the_factor_of_its_kind(kind: str) -> None:
    legs = [leg for leg in plan_of(kind).legs if isinstance(leg, VectorLeg)]
    assert {leg.name for leg in legs} == {"text", "image"}
    for leg in legs:
        scored = leg.score(1.0, {"ids": {"values": ["p1"]}}, 1)
        knn = scored["nested"]["query"]["knn"] if leg.nested else scored["knn"]
        for clause in (leg.retrieve(100, [])["knn"], knn):
            factor = KINDS[kind].oversample
            assert clause.get("rescore_vector") == (None if factor is None else {"oversample": factor})
            assert clause["num_candidates"] >= clause["k"] * (factor or 1)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_real_server_takes_it_and_ranks_exactly(server: tuple[httpx.Client, Facts], kind: str) -> None:
    client, facts = server
    name = f"contract-{secrets.token_hex(5)}"
    body = build_body(index_template(), encoder=ENCODER, options=IndexOptions(vector_index=kind))
    created = client.put(f"/{name}", json=body)
    if refusal(kind, facts) is not None:
        assert created.status_code == 400, "what the rule calls unknown is unknown"
        return
    created.raise_for_status()
    if KINDS[kind].licensed:
        refused = client.put(f"/{name}/_doc/p0", json={"id": "p0", "text_vector": TEXTS[0].tolist()})
        client.delete(f"/{name}").raise_for_status()
        assert (refused.status_code, "license" in refused.text) == (403, True), (
            "Basic may make it, not fill it"
        )
        return
    try:
        for at in range(PRODUCTS):
            images = [{"ref": f"{at}.jpg", "joint": PICTURES[at].tolist()}]
            row: dict[str, Any] = {
                "id": f"p{at}",
                "title": "mug",
                "tokens": {"title": "mug"},
                "images": images,
            }
            client.put(
                f"/{name}/_doc/p{at}", json={**row, "text_vector": TEXTS[at].tolist()}
            ).raise_for_status()
        client.post(f"/{name}/_refresh").raise_for_status()
        plan = plan_of(kind)
        hits_of(send(client, name, plan.retrieve))
        ids = {"ids": {"values": [f"p{at}" for at in range(PRODUCTS)]}}
        for leg in (one for one in plan.legs if isinstance(one, VectorLeg)):
            relevant = leg.relevant(1.0, ids, PRODUCTS)
            assert relevant is not None
            for query in (leg.score(1.0, ids, PRODUCTS), relevant):
                answer = client.post(f"/{name}/_search", json={"query": query, "size": PRODUCTS}).json()
                ((*hits,),) = hits_of([answer])
                exact = (1 + (PICTURES if leg.nested else TEXTS) @ QUERY) / 2
                assert hits
                for product, score in hits:
                    assert score == pytest.approx(exact[int(product[1:])], abs=2e-6)
            assert len(hits_of([client.post(f"/{name}/_search", json=leg.retrieve(50, [])).json()])[0]) == 50
    finally:
        client.delete(f"/{name}").raise_for_status()
