"""The doctor on real servers: what they answer, and traps that were set on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.capabilities import probe, survey
from es_xmodal.cluster.client import connect
from es_xmodal.index.doctor import Asked, diagnose_cluster, diagnose_index
from es_xmodal.local import LocalNode
from es_xmodal.local.lock import VERSIONS
from es_xmodal.settings import load_settings
from tests.support.bodies import OURS, changed
from tests.support.encoders import HashEncoder
from tests.support.nodes import TEST_HEAP_MIB, call, require_local_extra
from tests.support.shops import ANALYZER, ingest_shop, write_shop

pytestmark = pytest.mark.integration

VECTOR = {"type": "dense_vector", "dims": 64, "index": True, "similarity": "cosine"}


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    client = connect(load_settings(url=es_url))
    yield client
    client.close()


def asked(**changes: Any) -> Asked:
    values: dict[str, Any] = {
        "encoder_for": lambda spec: HashEncoder().info,
        "text": ANALYZER.fingerprint,
        "window": 100,
    }
    return Asked(**{**values, **changes})


def bad(client: Elasticsearch, name: str, compared: Asked | None = None) -> dict[str, list[str]]:
    """Code -> what it was found about."""
    found: dict[str, list[str]] = {}
    for one in diagnose_index(client, name, compared or asked()):
        if one.severity != "ok":
            found.setdefault(one.code, []).append(one.about)
    return found


def test_a_local_node_has_the_basics_and_says_so(client: Elasticsearch, es_version: str) -> None:
    found = survey(client)
    assert ".".join(map(str, found.version)) == es_version
    assert (found.license, found.license_status, found.scripts) == (None, "absent", False)
    assert found.analyzers == frozenset({"standard", "whitespace"})
    assert found.rescore_vector
    assert found.allows("rrf") is found.allows("linear") is False
    findings = {one.about: one for one in diagnose_cluster(client)}
    assert findings["licence"].code == "no-retrievers"
    assert all(one.code != "not-asked" for one in findings.values())


def test_asking_stores_no_script(client: Elasticsearch) -> None:
    survey(client)
    metadata = client.cluster.state(metric="metadata", filter_path="metadata.stored_scripts").body
    assert not metadata.get("metadata", {}).get("stored_scripts")


def test_a_fresh_ingest_is_healthy(
    client: Elasticsearch, es_url: str, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}shop"
    ingest_shop(es_url, write_shop(tmp_path), name)
    # Two of six products have no picture; nothing else is to be said.
    assert bad(client, name) == {"no-pictures": ["with images.joint", "with images.visual"]}
    assert bad(client, f"{name}-v0001").keys() == {"no-pictures"}


def test_traps_set_on_an_index_of_ours(
    client: Elasticsearch, es_url: str, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}shop"
    ingest_shop(es_url, write_shop(tmp_path), name)
    settings = {"refresh_interval": "-1", "max_result_window": 20, "blocks.write": True}
    assert call(es_url, "PUT", f"/{name}/_settings", {"index": settings})[0] == 200
    other = asked(encoder_for=lambda spec: HashEncoder(fingerprint="hash-9").info, text="text-9")
    found = bad(client, name, other)
    assert found.keys() == {
        "no-pictures",
        "refresh-off",
        "result-window",
        "blocked",
        "encoder-mismatch",
        "tokeniser-mismatch",
    }
    call(es_url, "PUT", f"/{name}/_settings", {"index": {"blocks.write": False}})


def test_a_quantised_index_of_ours(
    client: Elasticsearch, es_url: str, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}shop"
    ingest_shop(es_url, write_shop(tmp_path), name, vector_index="int8_hnsw", shards=2)
    found = bad(client, name)
    assert found.keys() == {"no-pictures", "quantised", "shards", "vector-index"}
    assert len(found["quantised"]) == 3


def test_traps_of_a_foreign_index(
    client: Elasticsearch, es_url: str, index_prefix: str, es_version: str
) -> None:
    name = f"{index_prefix}old"
    properties = {
        "product_name": {"type": "text"},
        "image_url": {"type": "keyword"},
        "by_default": VECTOR,
        "unknown": {"type": "dense_vector"},
        "dead": {"type": "dense_vector", "dims": 4, "index": False},
    }
    body = {
        "settings": {"number_of_shards": 2, "number_of_replicas": 1},
        "mappings": {"_source": {"excludes": ["dead"]}, "properties": properties},
    }
    status, answer = call(es_url, "PUT", f"/{name}?wait_for_active_shards=0", body)
    assert status == 200, answer
    found = bad(client, name)
    # Without a dimension, 9.x has not yet chosen; 8.x writes int8_hnsw at once.
    implicit = {"implicit-options": ["unknown"]} if es_version.startswith("9") else {}
    quantised = ["by_default"] if implicit else ["by_default", "unknown"]
    assert found == {
        "foreign": [name],
        "fields": [name],
        "quantised-unrescored": quantised,
        "vector-not-indexed": ["dead"],
        "source-lacks-vectors": ["dead"],
        "shards-bm25": [name],
        "health-yellow": [name],
        **implicit,
    }
    fields = next(one.detail for one in diagnose_index(client, name, asked()) if one.code == "fields")
    assert fields.startswith(
        "title: product_name; images: image_url; vectors: by_default (64 dimensions, cosine)"
    )


def test_an_alias_of_several_indices(client: Elasticsearch, es_url: str, index_prefix: str) -> None:
    for number in (1, 2):
        body = {"aliases": {f"{index_prefix}two": {}}, "settings": {"number_of_replicas": 0}}
        assert call(es_url, "PUT", f"/{index_prefix}two-{number}", body)[0] == 200
    assert bad(client, f"{index_prefix}two") == {
        "alias-several": [f"{index_prefix}two"],
        "foreign": [f"{index_prefix}two-1", f"{index_prefix}two-2"],
    }


def test_an_index_whose_shard_has_no_node(client: Elasticsearch, es_url: str, index_prefix: str) -> None:
    nowhere = changed(OURS, "settings/index/routing", {"allocation": {"require": {"_name": "nobody"}}})
    settings = {**nowhere["settings"]["index"], "number_of_replicas": 0, "auto_expand_replicas": False}
    settings.pop("version")
    body = {"mappings": nowhere["mappings"], "settings": {"index": settings}}
    status, answer = call(es_url, "PUT", f"/{index_prefix}red?wait_for_active_shards=0", body)
    assert status == 200, answer
    assert bad(client, f"{index_prefix}red").keys() == {"not-counted", "health-red"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_basic_licence(version: str) -> None:
    require_local_extra()
    with LocalNode(version=version, heap_mib=TEST_HEAP_MIB, x_pack=True) as node:
        client = connect(load_settings(url=node.url))
        found = probe(client)
        client.close()
    assert (found.license, found.license_status) == ("basic", "active")
    assert found.allows("rrf") is found.allows("linear") is False
