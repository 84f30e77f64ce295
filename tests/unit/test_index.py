from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from es_xmodal.encoders.base import Space
from es_xmodal.errors import (
    FingerprintMismatchError,
    ForeignIndexError,
    IndexBusyError,
    IndexMissingError,
    IndexStateError,
    SettingsError,
)
from es_xmodal.index.body import IndexOptions, build_body, layout_of, with_meta
from es_xmodal.index.builder import LEASE_S, forget, is_abandoned, new_builder
from es_xmodal.index.lifecycle import Blueprint, begin, check_layout
from es_xmodal.index.meta import Builder, EncoderMeta, IndexMeta, LegCalibration, SpaceMeta, parse_meta
from es_xmodal.index.names import check_name, nearest, physical_name, version_number
from es_xmodal.index.target import load_target
from es_xmodal.index.versions import drop, list_versions, prune, serving_version, swap, version_before
from es_xmodal.resources import data_path, index_template
from tests.support.encoders import HashEncoder
from tests.support.fake_node import Answer, Asked, fake_client

pytestmark = pytest.mark.unit

INFO = HashEncoder().info


def meta(index: str = "shop-v0001", *, state: str = "complete", builder: Builder | None = None) -> IndexMeta:
    gone = Builder(host="h", pid=1, run_id="r", started=0.0, machine="elsewhere")
    return IndexMeta(
        index=index,
        version="0.1.0",
        state="complete" if state == "complete" else "building",
        encoder=EncoderMeta(
            spec="hash", fingerprint="hash-1", text_space="text", spaces={"joint": SpaceMeta(dim=32)}
        ),
        text_fingerprint="text-1",
        layout="l",
        created="2026-01-01T00:00:00+00:00",
        lease=0.0,
        builder=builder or gone,
        calibration={"image": LegCalibration(floor=0.5, spread=0.1)},
        counts={"documents": 3},
    )


def body_of(one: IndexMeta | None, *aliases: str) -> dict[str, Any]:
    mappings: dict[str, Any] = {
        "properties": {
            "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
            "images": {
                "type": "nested",
                "properties": {"joint": {"type": "dense_vector", "index_options": {"type": "hnsw"}}},
            },
        }
    }
    if one is not None:
        mappings["_meta"] = {"es_xmodal": one.to_json()}
    return {
        "aliases": {alias: {} for alias in aliases},
        "mappings": mappings,
        "settings": {"index": {"number_of_shards": "3"}},
    }


class Cluster:
    """Indices and aliases, as far as the lifecycle asks for them."""

    def __init__(self, **indices: dict[str, Any]) -> None:
        self.indices = {name.replace("_", "-"): body for name, body in indices.items()}
        self.actions: list[dict[str, Any]] = []
        self.client, self.asked, _ = fake_client(self.play)

    def play(self, asked: Asked) -> Answer:
        path = asked.target.partition("?")[0].strip("/")
        if asked.method == "POST" and path == "_aliases":
            self.actions = asked.lines()[0]["actions"]
            for action in self.actions:
                ((verb, one),) = action.items()
                aliases = self.indices[one["index"]]["aliases"]
                aliases.pop(one["alias"], None)
                if verb == "add":
                    aliases[one["alias"]] = {}
            return Answer(body={"acknowledged": True})
        if asked.method == "DELETE":
            self.indices.pop(path)
            return Answer(body={"acknowledged": True})
        if asked.method == "PUT":
            exists = {"type": "resource_already_exists_exception", "reason": "it is there"}
            return Answer(status=400, body={"error": {"root_cause": [exists], **exists}})
        if "/_settings/" in path:
            index = path.partition("/")[0]
            return Answer(body={index: {"settings": self.indices[index]["settings"]}})
        if "/_stats/" in path:
            copy = {"routing": {"primary": True}, "seq_no": {"global_checkpoint": 7, "max_seq_no": 7}}
            index = path.partition("/")[0]
            shards = {str(number): [copy] for number in range(3)}
            return Answer(body={"indices": {index: {"uuid": "u1", "shards": shards}}})
        if path.endswith("_alias"):
            return Answer(body={name: {"aliases": body["aliases"]} for name, body in self.indices.items()})
        wanted = path.replace("%2C", ",").replace("%2A", "*").replace("*", "").split(",")
        found = {
            name: body
            for name, body in self.indices.items()
            if name in wanted
            or wanted[0] in body["aliases"]
            or (len(wanted) > 1 and name.startswith(wanted[1]))
        }
        return Answer(body=found)


def test_names() -> None:
    assert check_name("products-2") == "products-2"
    assert check_name("商品") == "商品"
    assert physical_name("products", 12) == "products-v0012"
    assert version_number("products", "products-v0012") == 12
    assert version_number("products", "products-v12345") == 12345
    assert version_number("products", "products-view-v0001") is None
    assert version_number("a.b", "axb-v0001") is None
    assert nearest("prodcts", ["products", "logs"]) == "products"
    assert nearest("zzz", ["products"]) is None


@pytest.mark.parametrize(
    "name", ["", "*", "a,b", "_all", "Products", "-x", "a b", "a/b", "a?", "..", "x" * 201]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(SettingsError):
        check_name(name)


def test_meta_survives_the_way_through_the_index() -> None:
    assert parse_meta("shop-v0001", {"_meta": {"es_xmodal": meta().to_json()}}) == meta()


def test_foreign_newer_and_damaged_meta() -> None:
    for mappings in ({}, {"_meta": {"owner": "shop"}}, {"_meta": {"es_xmodal": "x"}}):
        with pytest.raises(ForeignIndexError):
            parse_meta("x", mappings)
    with pytest.raises(IndexStateError, match="format 2"):
        parse_meta("x", {"_meta": {"es_xmodal": {**meta().to_json(), "format": 2}}})
    damaged = meta().to_json()
    del damaged["encoder"]["fingerprint"]
    with pytest.raises(IndexStateError, match="damaged"):
        parse_meta("x", {"_meta": {"es_xmodal": damaged}})


def test_fingerprints_are_compared() -> None:
    meta().check_encoder("hash-1")
    meta().check_text("text-1")
    with pytest.raises(FingerprintMismatchError, match=r"hash-1.*hash-2.*--rebuild"):
        meta().check_encoder("hash-2")
    with pytest.raises(FingerprintMismatchError, match="tokeniser"):
        meta().check_text("text-2")


def test_body_has_a_field_for_each_space_and_no_other() -> None:
    body = build_body(index_template(), encoder=INFO, options=IndexOptions())
    properties = body["mappings"]["properties"]
    assert properties["images"]["properties"]["joint"]["dims"] == 32
    assert properties["images"]["properties"]["visual"]["dims"] == 16
    assert properties["text_vector"]["dims"] == 24
    only = replace(INFO, spaces=INFO.spaces[:1], text_space=None)
    properties = build_body(index_template(), encoder=only, options=IndexOptions())["mappings"]["properties"]
    assert "visual" not in properties["images"]["properties"]
    assert "text_vector" not in properties


def test_every_vector_field_names_its_index_options() -> None:
    for kind, expected in {
        "hnsw": {"type": "hnsw", "m": 16, "ef_construction": 100},
        "flat": {"type": "flat"},
        "int8_flat": {"type": "int8_flat"},
    }.items():
        body = build_body(index_template(), encoder=INFO, options=IndexOptions(vector_index=kind))
        properties = body["mappings"]["properties"]
        for field in (*properties["images"]["properties"].values(), properties["text_vector"]):
            if field["type"] == "dense_vector":
                assert field["index_options"] == expected


@pytest.mark.parametrize("bad", [{"vector_index": "magic"}, {"shards": 0}, {"replicas": -1}], ids=str)
def test_options_that_no_index_has(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        IndexOptions(**bad)


def test_body_leaves_the_template_alone() -> None:
    template = index_template()
    build_body(template, encoder=INFO, options=IndexOptions(shards=7))
    assert template == index_template()


def test_layout_changes_with_the_mapping_and_not_with_the_shards() -> None:
    def layout(encoder: Any = INFO, **options: Any) -> str:
        return layout_of(build_body(index_template(), encoder=encoder, options=IndexOptions(**options)))

    assert layout() == layout(shards=3, replicas=2)
    assert layout() != layout(vector_index="flat")
    bigger = Space(name="joint", dim=33, modalities=frozenset({"text", "picture"}))
    assert layout() != layout(encoder=replace(INFO, spaces=(bigger, *INFO.spaces[1:])))
    body = build_body(index_template(), encoder=INFO, options=IndexOptions())
    assert layout_of(with_meta(body, meta())) == layout()


def blueprint(**options: Any) -> Blueprint:
    return Blueprint(
        name="shop",
        template=index_template(),
        encoder=INFO,
        text_fingerprint="text-1",
        options=IndexOptions(**options),
    )


def test_layout_is_checked_before_writing_in_place() -> None:
    current = replace(meta(), layout=layout_of(blueprint().body))
    check_layout(current, blueprint())
    with pytest.raises(IndexStateError, match="--rebuild"):
        check_layout(current, blueprint(vector_index="flat"))


def test_own_run_is_not_abandoned_until_it_ends() -> None:
    builder = new_builder()
    building = meta(state="building", builder=builder)
    assert not is_abandoned(building)
    forget(builder.run_id)
    assert is_abandoned(building)


def test_a_dead_process_abandons_and_a_living_one_does_not() -> None:
    mine = new_builder()
    forget(mine.run_id)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        import psutil

        started = psutil.Process(child.pid).create_time()
        building = meta(state="building", builder=replace(mine, pid=child.pid, started=started))
        assert not is_abandoned(building)
        reused = meta(state="building", builder=replace(mine, pid=child.pid, started=started - 60))
        assert is_abandoned(reused)
    finally:
        child.kill()
        child.communicate()
    assert is_abandoned(building)


def test_on_another_machine_only_the_lease_tells() -> None:
    other = Builder(host="h2", pid=os.getpid(), run_id="r", started=0.0, machine="other")
    building = replace(meta(state="building", builder=other), lease=1000.0)
    assert not is_abandoned(building, now_s=1000.0 + LEASE_S)
    assert is_abandoned(building, now_s=1001.0 + LEASE_S)


def test_target_knows_fields_shards_and_version() -> None:
    cluster = Cluster(shop_v0002=body_of(meta("shop-v0002"), "shop"))
    target = load_target(cluster.client, "shop")
    assert (target.alias, target.index, target.version, target.shards) == ("shop", "shop-v0002", 2, 3)
    assert target.fields == {
        "title": "text",
        "title.raw": "keyword",
        "images": "nested",
        "images.joint": "dense_vector",
    }
    assert target.meta == meta("shop-v0002")


def test_missing_index_names_the_nearest() -> None:
    cluster = Cluster(shop_v0001=body_of(meta(), "shop"))
    with pytest.raises(IndexMissingError, match="did you mean shop"):
        load_target(cluster.client, "shopp")


def test_foreign_index_is_no_target() -> None:
    cluster = Cluster(theirs=body_of(None, "shop"))
    with pytest.raises(ForeignIndexError):
        load_target(cluster.client, "shop")
    with pytest.raises(ForeignIndexError):
        serving_version(list_versions(cluster.client, "shop"))


def test_name_of_an_index_is_no_alias() -> None:
    cluster = Cluster(shop=body_of(None))
    with pytest.raises(ForeignIndexError, match="is an index, not an alias"):
        list_versions(cluster.client, "shop")


def three() -> Cluster:
    return Cluster(
        shop_v0001=body_of(meta("shop-v0001")),
        shop_v0002=body_of(meta("shop-v0002"), "shop"),
        shop_v0003=body_of(meta("shop-v0003", state="building")),
        shop_view_v0001=body_of(None),
    )


def test_versions_and_their_states() -> None:
    cluster = three()
    cluster.indices["shop-v0004"] = body_of(None)
    found = [(one.index, one.state, one.serving) for one in list_versions(cluster.client, "shop")]
    assert found == [
        ("shop-v0001", "complete", False),
        ("shop-v0002", "complete", True),
        ("shop-v0003", "abandoned", False),
        ("shop-v0004", "foreign", False),
    ]


def test_swap_moves_the_alias_in_one_request() -> None:
    cluster = three()
    assert swap(cluster.client, "shop", "shop-v0001", writer="shop-build-r") == "shop-v0002"
    assert cluster.actions == [
        {"add": {"index": "shop-v0001", "alias": "shop"}},
        {"add": {"index": "shop-v0001", "alias": "shop-v0001-edits", "is_hidden": True}},
        {"remove": {"index": "shop-v0002", "alias": "shop", "must_exist": True}},
        {"remove": {"index": "shop-v0002", "alias": "shop-v0002-edits", "must_exist": False}},
        {"remove": {"index": "shop-v0001", "alias": "shop-build-r", "must_exist": False}},
    ]


def test_swap_refuses_what_is_not_complete_or_not_ours() -> None:
    cluster = three()
    cluster.indices["shop-v0004"] = body_of(None)
    with pytest.raises(IndexStateError, match="abandoned"):
        swap(cluster.client, "shop", "shop-v0003")
    with pytest.raises(ForeignIndexError):
        swap(cluster.client, "shop", "shop-v0004")
    with pytest.raises(IndexMissingError, match="shop-v0002"):
        swap(cluster.client, "shop", "shop-v0009")
    assert cluster.actions == []


def test_rollback_goes_to_the_version_before() -> None:
    cluster = three()
    assert version_before(cluster.client, "shop") == ("shop-v0002", "shop-v0001")
    swap(cluster.client, "shop", "shop-v0001")
    with pytest.raises(IndexStateError, match="before shop-v0001"):
        version_before(cluster.client, "shop")


def test_drop_spares_what_serves_what_is_built_and_what_is_foreign() -> None:
    cluster = three()
    builder = new_builder()
    cluster.indices["shop-v0004"] = body_of(meta("shop-v0004", state="building", builder=builder))
    cluster.indices["shop-v0005"] = body_of(None)
    for version, error in (("2", IndexStateError), ("v4", IndexBusyError), ("shop-v0005", ForeignIndexError)):
        with pytest.raises(error):
            drop(cluster.client, "shop", version)
    forget(builder.run_id)
    assert drop(cluster.client, "shop", "1") == "shop-v0001"
    assert "shop-v0001" not in cluster.indices


def test_prune_keeps_what_serves_and_what_served_before() -> None:
    cluster = Cluster(
        **{
            f"shop_v000{n}": body_of(meta(f"shop-v000{n}"), *(["shop"] if n == 4 else []))
            for n in (1, 2, 3, 4)
        }
    )
    # After a rollback from 2 to 1 and a new build, 1 is what a rollback must find, not 3.
    assert prune(cluster.client, "shop", keep=2, before="shop-v0001") == ["shop-v0003", "shop-v0002"]
    assert sorted(cluster.indices) == ["shop-v0001", "shop-v0004"]
    assert prune(cluster.client, "shop", keep=1, before=None) == ["shop-v0001"]
    assert prune(cluster.client, "shop", keep=1, before=None) == []


def test_a_living_build_is_named_and_left_alone() -> None:
    cluster = three()
    builder = new_builder()
    cluster.indices["shop-v0004"] = body_of(meta("shop-v0004", state="building", builder=builder))
    with pytest.raises(IndexBusyError, match=f"process {builder.pid} on"):
        begin(cluster.client, blueprint())
    assert "shop-v0003" in cluster.indices
    forget(builder.run_id)


def test_an_abandoned_build_is_deleted_and_a_lost_race_is_told() -> None:
    cluster = three()
    with pytest.raises(IndexBusyError, match="just made by another"):
        begin(cluster.client, blueprint())
    assert "shop-v0003" not in cluster.indices


def test_data_that_is_missing_is_named() -> None:
    assert data_path("mappings", "product.json").is_file()
    with pytest.raises(SettingsError, match=r"mappings/none\.json"):
        index_template("none")
