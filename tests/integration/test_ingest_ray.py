"""`ingest --engine ray` on a real Ray cluster of this machine: the same index as the local engine's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import EncoderError, WorkersError
from es_xmodal.ingest.pipeline import IngestOptions, run_ingest
from es_xmodal.ingest.remote.package import Again
from es_xmodal.ingest.remote.ray_cluster import RayCluster, RayOptions
from es_xmodal.ingest.remote.ray_pool import RayPool
from es_xmodal.ingest.report import IngestReport
from es_xmodal.media.web import WebOptions, WebPictures
from es_xmodal.settings import load_settings
from tests.support import nodes
from tests.support.cli import Cli, environment
from tests.support.data import shared_data
from tests.support.encoders import HashEncoder
from tests.support.ingesting import documents, parts_for, rejects, shop_rows, write_rows
from tests.support.picture_host import jpeg, picture_host
from tests.support.remote import (
    AGAIN,
    dying_encoder,
    other_encoder,
    outcome,
    place,
    products_of,
)
from tests.support.video import BLUE, RED, video

pytestmark = [
    pytest.mark.integration,
    # Ray's own, about its own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
ONE = RayOptions(workers=1)
# What comes from Ray does not depend on the server.
NEWEST = pytest.mark.parametrize("es_version", nodes.tested_versions()[:1], indirect=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A cluster for all tests of this file; an ingest that finds it leaves it as it is."""
    if not os.environ.get("CI"):
        pytest.importorskip("ray")
    with RayCluster(RayOptions(workers=2)) as found:
        yield found
    assert left_behind() == []


def left_behind() -> list[str]:
    """Processes of Ray below this one that still run."""
    return [
        " ".join(one.cmdline()) or one.name()
        for one in psutil.Process().children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE and "ray" in " ".join([one.name(), *one.cmdline()])
    ]


def test_real_workers_give_the_rows_of_the_local_engine(cluster: RayCluster, tmp_path: Path) -> None:
    root = tmp_path / "shop"
    rows = shop_rows(root, 30)
    (root / "images/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (root / "images/film.mp4").write_bytes(video([RED, BLUE]))
    rows[3]["images"] = ["images/broken.jpg", "images/none.png", "images/3.png"]
    rows[7]["images"] = ["images/film.mp4"]
    with picture_host() as host:
        rows[9]["images"] = [host.serve("/9.jpg", jpeg((9, 99, 9))), f"{host.url}/none.jpg"]
        web = WebPictures(WebOptions(allow_hosts=frozenset({"127.0.0.1"})))
        with place(tmp_path / "local", root, web=web) as here:
            expected = outcome(here, here.local(), products_of(rows))
        with place(tmp_path / "ray", root, web=web) as there:
            found = outcome(there, there.remote(RayPool(cluster, there.recipe)), products_of(rows))
        web.close()
    assert found == expected
    assert there.tally.counts() == here.tally.counts()


def test_a_worker_that_is_killed_costs_nothing_but_time(cluster: RayCluster, tmp_path: Path) -> None:
    root, mark = tmp_path / "shop", tmp_path / "killed"
    products = products_of(shop_rows(root, 40))
    with place(tmp_path / "local", root) as here:
        expected = outcome(here, here.local(), products)
    with place(tmp_path / "ray", root, again=Again(encoder=partial(dying_encoder, mark))) as there:
        found = outcome(there, there.remote(RayPool(cluster, there.recipe)), products)
    assert mark.exists()
    assert found == expected
    assert there.tally["encoded_images"] == 40


def test_a_worker_with_another_model_ends_the_ingest_in_one_line(cluster: RayCluster, tmp_path: Path) -> None:
    products = products_of(shop_rows(tmp_path / "shop", 3))
    with (
        place(tmp_path / "ray", tmp_path / "shop", again=Again(encoder=other_encoder)) as there,
        pytest.raises(EncoderError, match="the encoder here is hash-0000000000000002, the ingest's is hash-"),
    ):
        outcome(there, there.remote(RayPool(cluster, there.recipe)), products)


class Broken(HashEncoder):
    """Has a bug."""

    def _picture_batch(self, batch: Sequence[Any]) -> Any:
        raise RuntimeError("a bug")


def broken(cores: int, gpu: bool) -> Encoder:
    return Broken()


def test_a_bug_in_a_worker_ends_the_ingest_in_one_line(
    cluster: RayCluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    products = products_of(shop_rows(tmp_path / "shop", 3))
    with (
        place(tmp_path / "ray", tmp_path / "shop", again=Again(encoder=broken)) as there,
        pytest.raises(WorkersError, match="the workers cannot go on: RuntimeError: a bug"),
    ):
        outcome(there, there.remote(RayPool(cluster, there.recipe)), products)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_machine_without_gpu_is_refused_by_name(cluster: RayCluster) -> None:
    with pytest.raises(WorkersError, match="a GPU and a core") as caught:
        cluster.machines(1)
    assert "--ray-gpus 0" in caught.value.hint


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@NEWEST
def test_the_index_is_that_of_the_local_engine(
    cluster: RayCluster, client: Elasticsearch, es_url: str, index_prefix: str, tmp_path: Path
) -> None:
    catalog = shared_data("awkward") / "catalog.jsonl"
    made: dict[str, IngestReport] = {}
    for engine, ray in (("local", None), ("ray", ONE)):
        made[engine] = ingest(es_url, catalog, f"{index_prefix}{engine}", home=tmp_path / engine, ray=ray)
    assert made["ray"].counts == made["local"].counts
    assert documents(client, f"{index_prefix}ray") == documents(client, f"{index_prefix}local")
    assert reasons(tmp_path / "ray") == reasons(tmp_path / "local")
    settings = client.indices.get_settings(index=f"{index_prefix}ray").body
    assert [one["settings"]["index"]["number_of_shards"] for one in settings.values()] == ["2"]
    again = ingest(es_url, catalog, f"{index_prefix}ray", home=tmp_path / "ray", ray=ONE)
    assert again.counts["indexed"] == again.counts["updated"] == again.counts["encoded_images"] == 0
    assert again.counts["unchanged"] == made["ray"].counts["indexed"]


def ingest(url: str, catalog: Path, index: str, *, home: Path, ray: RayOptions | None) -> IngestReport:
    options = IngestOptions(
        catalog=catalog, index=index, rejects=home / "rejects.jsonl", shards=2, replicas=0, ray=ray
    )
    with parts_for(url, home, root=catalog.parent) as parts:
        return run_ingest(replace(parts, again=AGAIN), options)


def reasons(home: Path) -> list[dict[str, Any]]:
    return rejects(home / "rejects.jsonl")


@NEWEST
def test_the_command(es_url: str, index_prefix: str, tmp_path: Path) -> None:
    """Ray is started and stopped by the command; what it prints is one object, and nothing else."""
    bundle = shared_data("grocery")
    rows = [json.loads(line) for line in (bundle / "catalog.jsonl").read_text("utf-8").splitlines()]
    catalog = write_rows(tmp_path, rows[::7])
    shop = Cli(home=tmp_path, options=("--url", es_url))
    arguments = ("--images-root", bundle, "--encoder", "mini", "--json")
    local = shop.process("ingest", catalog, "--index", f"{index_prefix}local", *arguments)
    elsewhere = shop.with_variables(ES_XMODAL_DATA_DIR=str(tmp_path / "other-store"))
    ray = ("--engine", "ray", "--ray-workers", "1", "--ray-gpus", "0")
    done = elsewhere.process("ingest", catalog, "--index", f"{index_prefix}ray", *arguments, *ray)
    assert (done.code, done.err) == (0, "")
    names = ("indexed", "rejected", "encoded_images", "encoded_texts", "reused_vectors")
    assert [done.json[name] for name in names] == [local.json[name] for name in names]
    client = connect(load_settings(url=es_url))
    same(documents(client, f"{index_prefix}ray"), documents(client, f"{index_prefix}local"))
    client.close()


def same(found: Any, expected: Any, where: str = "") -> None:
    """Field by field; a vector may differ in its last bits where another number of cores made it."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name, value in expected.items():
            same(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list) and expected and isinstance(expected[0], float):
        assert np.allclose(found, expected, rtol=0, atol=1e-6), where
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for at, value in enumerate(expected):
            same(found[at], value, f"{where}[{at}]")
    else:
        assert found == expected, where


def test_control_c_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.support.remote", str(tmp_path)],
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "embedding\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert any("raylet" in one.name() for one in below)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert err.strip().endswith("KeyboardInterrupt")
    _, alive = psutil.wait_procs(below, timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
