"""Every trap, from index bodies as real servers answer them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.cluster.capabilities import Capabilities
from es_xmodal.encoders.base import Space
from es_xmodal.index.abilities import ability_findings, disk_findings
from es_xmodal.index.advice import ADVICE, Diagnosis, found, good, worst
from es_xmodal.index.foreign import foreign_findings, product_fields
from es_xmodal.index.traps import look
from tests.support.bodies import FOREIGN, FULL, META, OURS, changed, facts, vector
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
INT8 = {"type": "int8_hnsw", "m": 16, "ef_construction": 100}
BBQ = {"type": "bbq_hnsw", "m": 16, "ef_construction": 100, "rescore_vector": {"oversample": 3.0}}
OLD = replace(FULL, version=(8, 17, 0))
INFO = HashEncoder().info
TEXT = "mappings/properties/text_vector"
JOINT = "mappings/properties/images/properties/joint"
SETTING = "settings/index"


def bad(findings: list[Diagnosis]) -> list[tuple[str, str]]:
    return [(one.code, one.about) for one in findings if one.severity != "ok"]


def test_a_healthy_index_of_ours_has_no_finding_and_says_what_was_looked_at() -> None:
    findings = look(facts())
    assert not bad(findings)
    assert {one.about for one in findings} == {
        "vector fields",
        "vectors and encoder",
        "calibration",
        "source",
        "shards",
        "health",
        "result window",
        "refresh",
        "blocks",
        "segments",
    }
    assert all(one.detail for one in findings)


def test_a_healthy_foreign_index_has_no_finding() -> None:
    assert not bad(look(facts(FOREIGN)))


@pytest.mark.parametrize(
    ("body", "code", "about", "says"),
    [
        # 9.5.3 leaves index_options out where no dimension is known; 8.19.21 writes int8_hnsw.
        (changed(OURS, f"{TEXT}/index_options", None), "implicit-options", "text_vector", "no index_options"),
        (changed(OURS, f"{JOINT}/index_options", INT8), "quantised", "images.joint", "int8_hnsw"),
        (changed(OURS, f"{JOINT}/index_options", BBQ), "quantised", "images.joint", "bbq_hnsw"),
        (
            changed(FOREIGN, "mappings/properties/embedding/index_options", INT8),
            "quantised-unrescored",
            "embedding",
            "int8_hnsw",
        ),
        (
            changed(FOREIGN, "mappings/properties/embedding/index_options", BBQ),
            "quantised",
            "embedding",
            "bbq_hnsw",
        ),
        (
            changed(OURS, "mappings/_source", {"excludes": ["text_vector"]}),
            "source-lacks-vectors",
            "text_vector",
            "excludes text_vector",
        ),
        (
            changed(FOREIGN, "mappings/_source", {"excludes": ["emb*"]}),
            "source-lacks-vectors",
            "embedding",
            "emb*",
        ),
        (
            changed(FOREIGN, "mappings/_source", {"includes": ["sku", "productName"]}),
            "source-lacks-vectors",
            "embedding",
            "includes sku",
        ),
        (changed(OURS, "mappings/_source", {"enabled": False}), "no-source", "shop-v0001", "off"),
        (
            changed(OURS, f"{SETTING}/mapping", {"source": {"mode": "disabled"}}),
            "no-source",
            "shop-v0001",
            "off",
        ),
        (
            changed(
                FOREIGN,
                "mappings/properties/embedding",
                {"type": "dense_vector", "dims": 384, "index": False},
            ),
            "vector-not-indexed",
            "embedding",
            "index: false",
        ),
        (changed(OURS, JOINT, None), "vector-missing", "images.joint", "no such field"),
        (changed(OURS, TEXT, vector(25)), "dims-mismatch", "text_vector", "25 in the index, 24 from"),
        (
            changed(OURS, TEXT, vector(24, similarity="dot_product")),
            "similarity-mismatch",
            "text_vector",
            "dot_product in the index, not cosine",
        ),
        (
            changed(OURS, "mappings/_meta/es_xmodal/calibration/visual", None),
            "not-calibrated",
            "leg visual",
            "images.visual",
        ),
        (changed(OURS, f"{SETTING}/number_of_shards", "3"), "shards", "shop-v0001", "3 shards"),
        (changed(FOREIGN, f"{SETTING}/number_of_shards", "3"), "shards-bm25", "shop-v0001", "3 shards"),
        (
            changed(OURS, f"{SETTING}/number_of_replicas", "0"),
            "no-replicas",
            "shop-v0001",
            "0 replicas, 2 data nodes",
        ),
        (
            changed(FOREIGN, f"{SETTING}/max_result_window", "50"),
            "result-window",
            "shop-v0001",
            "max_result_window 50, window 100",
        ),
        (changed(OURS, f"{SETTING}/refresh_interval", "-1"), "refresh-off", "shop-v0001", "-1"),
        (
            changed(OURS, f"{SETTING}/blocks", {"read_only_allow_delete": "true", "write": "false"}),
            "blocked",
            "shop-v0001",
            "index.blocks.read_only_allow_delete",
        ),
    ],
)
def test_a_trap_in_the_body(body: dict[str, Any], code: str, about: str, says: str) -> None:
    findings = [one for one in look(facts(body)) if one.severity != "ok"]
    assert [(one.code, one.about) for one in findings] == [(code, about)]
    assert says in findings[0].detail
    assert (findings[0].severity, findings[0].fix) == (ADVICE[code].severity, ADVICE[code].fix)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"health": {"status": "yellow", "unassigned_shards": 1}}, ["health-yellow"]),
        ({"health": {"status": "red", "unassigned_shards": 2}}, ["health-red"]),
        ({"stats": {"docs": {"count": 2000, "deleted": 1100}, "segments": {"count": 4}}}, ["deleted-docs"]),
        ({"stats": {"docs": {"count": 20, "deleted": 900}, "segments": {"count": 4}}}, []),
        ({"stats": {"docs": {"count": 5000, "deleted": 1100}, "segments": {"count": 4}}}, []),
        ({"stats": {"docs": {"count": 5000}, "segments": {"count": 31}}}, ["segments"]),
        ({"stats": {"docs": {"count": 5000}, "segments": {"count": 30}}}, []),
        ({"window": 10_001}, ["result-window"]),
        ({"window": 10_000}, []),
        (
            {
                "encoder": replace(
                    INFO,
                    spaces=(*INFO.spaces[:2], Space(name="text", dim=48, modalities=frozenset({"text"}))),
                )
            },
            ["dims-mismatch"],
        ),
    ],
)
def test_a_trap_outside_the_body(changes: dict[str, Any], codes: list[str]) -> None:
    assert [code for code, _ in bad(look(facts(**changes)))] == codes


def test_without_the_encoder_the_index_is_compared_with_what_it_says_itself() -> None:
    body = changed(OURS, JOINT, vector(99))
    assert bad(look(facts(body, encoder=None))) == [("dims-mismatch", "images.joint")]
    assert not bad(look(facts(encoder=None)))


@pytest.mark.parametrize(
    ("kind", "documents", "lucene", "says"),
    [
        ("hnsw", 100, 200, None),
        ("flat", 100, 200, None),
        ("flat", 20_000, 40_000, "flat; by the rule hnsw: exact scores"),
        ("flat", 6_000, 18_000, "flat; by the rule hnsw: exact scores"),
        ("hnsw", 20_000, 40_000, None),
        ("int8_hnsw", 20_000, 40_000, "int8_hnsw; by the rule hnsw"),
        ("hnsw", 7_000_000, 14_000_000, "hnsw; by the rule int8_hnsw: floats and graph would take"),
        ("flat", None, 40_000, None),
        ("flat", 0, 0, None),
    ],
)
def test_the_rule_is_asked_again(kind: str, documents: int | None, lucene: int, says: str | None) -> None:
    body = OURS
    for place in (JOINT, JOINT.replace("joint", "visual"), TEXT):
        body = changed(body, f"{place}/index_options", {"type": kind})
    known = facts(body, documents=documents, stats={"docs": {"count": lucene}, "segments": {"count": 1}})
    told = [one for one in look(known) if one.about in ("shop-v0001", "vector index")]
    assert [one.detail.startswith(says or "?") for one in told if one.code == "vector-index"] == (
        [True] if says else []
    )
    assert bool([one for one in told if one.code == "ok"]) == (not says and bool(documents))


def test_an_old_server_cannot_rescore_quantised_vectors() -> None:
    body = changed(OURS, f"{JOINT}/index_options", INT8)
    assert bad(look(facts(body, capabilities=OLD))) == [("quantised-unrescored", "images.joint")]


def test_one_node_needs_no_replica_and_is_not_blamed_for_it() -> None:
    body = changed(OURS, f"{SETTING}/number_of_replicas", "0")
    assert not bad(look(facts(body, capabilities=replace(FULL, nodes=1, data_nodes=1))))


def test_an_index_that_is_being_built_may_have_no_refresh_and_no_calibration() -> None:
    meta = {**META, "state": "building", "calibration": {}}
    body = changed(changed(OURS, "mappings/_meta/es_xmodal", meta), f"{SETTING}/refresh_interval", "-1")
    assert not bad(look(facts(body)))


def test_a_leg_without_a_vector_needs_no_calibration() -> None:
    body = changed(OURS, "mappings/_meta/es_xmodal/calibration/visual", None)
    assert not bad(look(facts(body, unused=frozenset({"images.visual"}))))


def test_a_pattern_covers_what_lies_below_it_and_no_neighbour() -> None:
    below = changed(OURS, "mappings/_source", {"excludes": "images"})
    assert bad(look(facts(below))) == [
        ("source-lacks-vectors", "images.joint"),
        ("source-lacks-vectors", "images.visual"),
    ]
    assert not bad(look(facts(changed(OURS, "mappings/_source", {"excludes": ["image", "text"]}))))
    assert not bad(look(facts(changed(OURS, "mappings/_source", {"includes": ["*"]}))))


def test_fields_of_a_foreign_index() -> None:
    assert product_fields(FOREIGN["mappings"]) == {
        "id": ["product_id"],
        "title": ["productName"],
        "description": ["long_description"],
        "images": ["media.image_url"],
        "identifiers": ["ean", "sku"],
        "price": ["list_price"],
        "vectors": ["embedding (384 dimensions, cosine)"],
    }
    assert [one.code for one in foreign_findings("old", FOREIGN["mappings"])] == ["foreign", "fields"]
    assert [one.code for one in foreign_findings("old", {})] == ["foreign"]


def test_a_whole_cluster_costs_nothing() -> None:
    assert not bad(ability_findings(FULL))


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"license": "basic"}, "no-retrievers", "licence basic; without rrf, linear"),
        ({"license_status": "expired"}, "no-retrievers", "trial, expired"),
        ({"license": None, "license_status": "absent"}, "no-retrievers", "no licence API"),
        ({"license": None, "license_status": None}, "not-asked", "only trying tells"),
        ({"refused": frozenset({"rrf"})}, "no-retrievers", "refused: rrf; without rrf"),
        ({"scripts": False}, "no-scripts", "Painless"),
        ({"scripts": None}, "not-asked", "Painless"),
        ({"analyzers": frozenset({"standard"})}, "few-analyzers", "standard; without english, cjk"),
        ({"analyzers": None}, "not-asked", "analyzers"),
        ({"version": (9, 2, 0)}, "no-base64", "base64"),
        ({"nodes": 1, "data_nodes": 1}, "one-node", "1 hold data"),
        ({"nodes": None, "data_nodes": None}, "not-asked", "nodes"),
    ],
)
def test_what_a_cluster_lacks(changes: dict[str, Any], code: str, says: str) -> None:
    findings = [one for one in ability_findings(replace(FULL, **changes)) if one.severity != "ok"]
    assert [one.code for one in findings] == [code]
    assert says in findings[0].detail
    assert findings[0].severity == "note", "a missing ability is no fault of the index"


def test_an_old_server_lacks_several_things() -> None:
    codes = [code for code, _ in bad(ability_findings(Capabilities(version=(8, 15, 0))))]
    assert {"no-rescore", "no-base64", "no-retrievers"} <= set(codes)


GIB = 2**30
HEADROOM = {"low.max_headroom": "200GB", "high.max_headroom": "150GB", "flood_stage.max_headroom": "100GB"}
PERCENT = {"low": "85%", "high": "90%", "flood_stage": "95%", **HEADROOM}


@pytest.mark.parametrize(
    ("size_gib", "free_gib", "marks", "code", "says"),
    [
        (100, 16, PERCENT, "ok", "16.0 of 100.0 GiB free"),
        (100, 14, PERCENT, "disk-low", "watermark low 85%"),
        (100, 9, PERCENT, "disk-high", "watermark high 90%"),
        (100, 4, PERCENT, "disk-high", "watermark flood_stage 95%"),
        (10_000, 300, PERCENT, "ok", "300.0"),  # 3 % of a big disk is enough: the headroom is 200 GB
        (10_000, 180, PERCENT, "disk-low", "low"),
        (100, 14, {"low": "0.85"}, "disk-low", "0.85"),
        (100, 14, {"low": "20gb", "high": "15gb", "flood_stage": "1gb"}, "disk-high", "15gb"),
        (100, 14, {"low": {"max_headroom": "1gb"}}, "ok", ""),
        (100, 14, {"low": "no size"}, "ok", ""),
    ],
)
def test_watermarks(size_gib: int, free_gib: int, marks: dict[str, Any], code: str, says: str) -> None:
    total = {"total_in_bytes": size_gib * GIB, "available_in_bytes": free_gib * GIB}
    full = {"total_in_bytes": 100, "available_in_bytes": 0}
    nodes = {
        "a": {"name": "one", "roles": ["master", "data_hot"], "fs": {"total": total}},
        "b": {"name": "no answer"},
        "c": {"name": "master", "roles": ["master"], "fs": {"total": full}},
    }
    (finding,) = disk_findings(nodes, disk_settings("defaults", watermark=marks))
    assert (finding.code, finding.about) == (code, "disk of one")
    assert says in finding.detail


def disk_settings(level: str, **disk: Any) -> dict[str, Any]:
    return {level: {"cluster": {"routing": {"allocation": {"disk": disk}}}}}


def test_settings_of_the_cluster_win_over_defaults() -> None:
    total = {"total_in_bytes": 100 * GIB, "available_in_bytes": 14 * GIB}
    nodes = {"a": {"name": "one", "fs": {"total": total}}}
    defaults = disk_settings("defaults", threshold_enabled="true", watermark=PERCENT)
    low = disk_settings("persistent", watermark={"low": "90%"})
    assert [one.code for one in disk_findings(nodes, {**defaults, **low})] == ["ok"]
    off = disk_settings("transient", threshold_enabled="false")
    assert [one.detail for one in disk_findings(nodes, {**defaults, **off})] == [
        "watermarks are switched off"
    ]


def test_worst() -> None:
    assert worst([]) == "ok"
    assert worst([found("shards", "x", ""), found("refresh-off", "x", ""), good("y", "")]) == "warning"
    assert worst([found("blocked", "x", ""), found("refresh-off", "x", "")]) == "error"


def test_every_finding_stands_in_the_manual_as_it_is() -> None:
    text = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    written = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    assert written == [(code, one.severity, one.costs, one.fix) for code, one in ADVICE.items()]


def test_every_advice_is_given_somewhere() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "es_xmodal" / "index").glob("*.py")
        if path.name != "advice.py"
    )
    dynamic = {"health-yellow", "health-red"}
    assert not [name for name in ADVICE if f'"{name}"' not in code and name not in dynamic]
