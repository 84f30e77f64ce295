"""What a catalogue takes: the formulas by hand, and the command."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from es_xmodal.errors import SettingsError
from es_xmodal.index.capacity import GB, GIB, Load, VectorField, plan_capacity, size_of, store_bytes
from tests.e2e.blocks import read_blocks
from tests.support.cli import REPOSITORY, WRONG, Cli, refused

pytestmark = pytest.mark.unit

MILLION = 1_000_000
ONE_FIELD = (VectorField(name="joint", dims=512, of_pictures=True),)
LOAD = Load(
    products=10 * MILLION,
    pictures_per_product=1.0,
    pictures_per_second=100,
    texts_per_second=100,
    fields=ONE_FIELD,
)


def test_bytes_of_a_vector_by_kind() -> None:
    """Floats in any case, codes beside them, a graph of 32 links of 4 bytes."""
    per_vector = {
        one.kind: (one.disk_bytes / (10 * MILLION), one.memory_bytes / (10 * MILLION))
        for one in (size_of(LOAD, name) for name in ("hnsw", "flat", "int8_hnsw", "int4_hnsw", "bbq_hnsw"))
    }
    assert per_vector == {
        "hnsw": (2048 + 128, 2048 + 128),
        "flat": (2048, 2048),
        "int8_hnsw": (2048 + 528 + 128, 528 + 128),
        "int4_hnsw": (2048 + 272 + 128, 272 + 128),
        "bbq_hnsw": (2048 + 78 + 128, 78 + 128),
    }
    disk = size_of(LOAD, "bbq_disk")
    assert disk.disk_bytes / (10 * MILLION) == pytest.approx(2048 + 78)
    assert disk.memory_bytes < size_of(LOAD, "bbq_hnsw").memory_bytes / 10


def test_a_plan_by_hand() -> None:
    load = replace(LOAD, vector_index="int8_hnsw", replicas=1, text_bytes=1000, hot_bytes=400, hours=10)
    plan = plan_capacity(load)
    # 20 million embeddings at 100 a second are 55.6 hours of one worker.
    assert plan.workers == 6
    assert plan.hours_by_stage["embed"] == pytest.approx(20e6 / 100 / 6 / 3600)
    assert plan.text_bytes == pytest.approx(10e9)
    assert plan.primary_bytes == pytest.approx(10e9 + 27.04e9)
    assert plan.cluster_bytes == pytest.approx(2 * 37.04e9)
    assert plan.peak_bytes == pytest.approx(4 * 37.04e9)
    assert plan.memory_bytes == pytest.approx(2 * (6.56e9 + 4e9))
    assert (plan.shards, plan.data_nodes, plan.nodes_because) == (1, 2, "replicas")
    # A picture of 100 kB comes in and goes out again.
    assert plan.hours_by_stage["fetch"] == pytest.approx(10e6 * 2e5 / 1.25e9 / 3600)
    seen = plan_capacity(replace(load, files_seen=True))
    assert seen.hours_by_stage["fetch"] == pytest.approx(plan.hours_by_stage["fetch"] / 2)
    assert plan.hours_by_stage["index"] == pytest.approx(20e6 / (250 * 2) / 3600)
    assert plan.hours == plan.hours_by_stage[plan.slowest] == max(plan.hours_by_stage.values())
    assert plan.hours_from_store == pytest.approx(max(10e6 / 900, 20e6 / 500) / 3600)


def test_shards_keep_within_bytes_and_documents() -> None:
    load = replace(LOAD, vector_index="int8_hnsw", text_bytes=1000)
    large = plan_capacity(replace(load, products=100 * MILLION))
    assert large.shards == math.ceil(370.4 / 50)
    assert large.primary_bytes / large.shards <= 50 * GB
    tiny = replace(load, fields=(), text_bytes=10, products=1000 * MILLION)
    assert plan_capacity(tiny).shards == 1000 // 200
    nested = replace(tiny, fields=(VectorField(name="joint", dims=1, of_pictures=True),))
    assert plan_capacity(replace(nested, text_bytes=1)).shards >= 2000 // 200


def test_data_nodes_follow_memory_or_disk() -> None:
    load = replace(LOAD, products=100 * MILLION, vector_index="hnsw")
    by_memory = plan_capacity(load)
    assert by_memory.nodes_because == "memory"
    # Of 64 GiB, 31 are heap.
    assert by_memory.data_nodes == math.ceil(by_memory.memory_bytes / (33 * GIB))
    small = plan_capacity(replace(load, node_memory_bytes=16 * GIB))
    assert small.data_nodes == math.ceil(by_memory.memory_bytes / (8 * GIB))
    by_disk = plan_capacity(replace(load, vector_index="bbq_hnsw", node_disk_bytes=100 * GB))
    assert by_disk.nodes_because == "disk"
    assert by_disk.data_nodes == math.ceil(by_disk.peak_bytes / (85 * GB))


def test_the_kind_is_that_of_the_rule() -> None:
    assert plan_capacity(replace(LOAD, products=1000)).choice.type == "flat"
    assert plan_capacity(replace(LOAD, products=MILLION)).choice.type == "hnsw"
    several = replace(LOAD, products=100 * MILLION, pictures_per_product=1.5)
    assert plan_capacity(several).choice.type == "int8_hnsw"
    assert plan_capacity(replace(several, server=(8, 19, 0))).choice.type == "hnsw"


def test_servers_before_9_2_keep_vectors_in_the_source() -> None:
    new, old = (plan_capacity(replace(LOAD, server=version)) for version in ((9, 2, 0), (9, 1, 0)))
    assert old.text_bytes - new.text_bytes == pytest.approx(10e6 * 512 * 8.6)


def test_the_vector_store_by_hand() -> None:
    def entry(dims: int) -> float:
        field = (VectorField(name="joint", dims=dims, of_pictures=True),)
        return store_bytes(replace(LOAD, products=1, fields=field))

    assert entry(384) == pytest.approx(4096 / (2 * 0.69))  # two a page
    assert entry(64) == pytest.approx(4096 / (13 * 0.69))
    assert 4096 < entry(512) < 4200  # a page of its own
    assert 8192 < entry(1280) < 8300


@pytest.mark.parametrize(
    ("name", "value"),
    [("products", 0), ("hours", 0.0), ("pictures_per_second", -1.0), ("text_bytes", math.nan)],
)
def test_numbers_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        replace(LOAD, **{name: value})  # type: ignore[arg-type]


def test_a_catalogue_without_pictures() -> None:
    plan = plan_capacity(replace(LOAD, pictures_per_product=0.0, vector_index="hnsw"))
    assert plan.hours_by_stage["fetch"] == 0
    assert plan.primary_bytes == plan.text_bytes


@pytest.fixture
def shop(tmp_path: Path) -> Cli:
    return Cli(home=tmp_path)


BASE = ("bench", "capacity", "--products", "10000000", "--encoder-pictures-per-second", "40")


def test_the_command_prints_what_is_computed(shop: Cli) -> None:
    done = shop.here(*BASE, "--json")
    found = json.loads(done.out)
    plan = plan_capacity(
        Load(products=10 * MILLION, pictures_per_product=1.5, pictures_per_second=40, texts_per_second=40)
    )
    assert found == json.loads(json.dumps(plan.to_json()))
    shown = shop.here(*BASE).out
    for says in ("10,000,000 products, 15,000,000 pictures", "int8_hnsw <", "152.8 GB", "--shards 4"):
        assert says in shown, shown


OPTIONS = {
    "--pictures-per-product": ("3", "primary_bytes"),
    "--encoder-texts-per-second": ("10", "workers"),
    "--hours": ("1", "workers"),
    "--space": ("joint=64", "primary_bytes"),
    "--vector-index": ("bbq_hnsw", "memory_bytes"),
    "--server": ("8.19", "text_bytes"),
    "--picture-bytes": ("5000000", "hours"),
    "--text-bytes": ("9000", "text_bytes"),
    "--hot-bytes": ("9000", "memory_bytes"),
    "--rows-per-second": ("1", "hours_from_store"),
    "--docs-per-second": ("1", "hours"),
    "--network-gbit": ("0.01", "hours"),
    "--replicas": ("3", "cluster_bytes"),
    "--node-memory-gib": ("8", "data_nodes"),
    "--node-disk-gb": ("10", "data_nodes"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_an_effect(shop: Cli, option: str) -> None:
    value, changes = OPTIONS[option]
    before, after = shop.json(*BASE), shop.json(*BASE, option, value)
    assert after[changes] != before[changes]


def test_files_that_workers_see(shop: Cli) -> None:
    before, after = (shop.json(*BASE, *more)["hours_by_stage"] for more in ((), ("--files-seen",)))
    assert after["fetch"] < before["fetch"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--space", "smell=512"), "--space"),
        (("--space", "joint=0"), "--space"),
        (("--server", "new"), "--server"),
        (("--hours", "0"), "hours"),
        (("--vector-index", "best"), "vector_index"),
    ],
)
def test_wrong_calls_are_one_line(shop: Cli, given: tuple[str, str], says: str) -> None:
    refused(shop.here(*BASE, *given), WRONG, says)


def test_the_page_shows_what_the_command_prints(shop: Cli) -> None:
    blocks = read_blocks(REPOSITORY / "docs" / "many-machines.md")
    pairs = [(one, after) for one, after in pairwise(blocks) if "bench capacity" in one.text]
    assert [after.language for _, after in pairs] == ["text", "text"]
    for command, shown in pairs:
        printed = shop.here(*shlex.split(command.text.replace("\\\n", " "))[1:]).out
        assert [line.rstrip() for line in printed.splitlines()] == shown.text.splitlines()
