"""An ingest that dies in the middle, as a real process on a real cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.errors import IndexBusyError
from es_xmodal.index.builder import forget, new_builder
from es_xmodal.index.names import writer_alias
from es_xmodal.index.takeover import take_over
from es_xmodal.index.target import find_indices, load_target
from es_xmodal.index.versions import list_versions
from es_xmodal.settings import load_settings
from tests.support import nodes
from tests.support.ingesting import counts, documents, ingest_catalog, rejects, shop_rows, write_rows
from tests.support.killing import Ended, Killer, killer, spread
from tests.support.watching import watched

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
MANY = 40
KILLS = {"first": 8, "rebuild": 6, "edits": 6}
"""Twenty points, each at random in its own part of the way; one of each on an older server."""


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.fixture(scope="module")
def ingests(es_url: str) -> Iterator[Killer]:
    with killer(es_url) as found:
        yield found


def catalogs(folder: Path) -> list[Path]:
    """Two states of one catalogue, each with rows that do not make it; pictures are shared."""
    rows: list[dict[str, Any]] = shop_rows(folder, MANY)
    bad: list[dict[str, Any]] = [
        {"id": "untitled"},
        {"id": "blind", "title": "Blind mug", "images": ["images/none.png"]},
    ]
    second: list[dict[str, Any]] = [
        {**row, "price": 99.0} if at % 3 == 0 else {**row, "title": f"Blue mug {at}"} if at % 3 == 1 else row
        for at, row in enumerate(rows)
    ]
    gone: list[dict[str, Any]] = [{"id": row["id"], "deleted": True} for row in second[:4]]
    new = {"id": "new", "title": "New mug", "images": ["images/1.png"]}
    return [
        write_rows(folder, rows[:20] + bad + rows[20:], name="first.jsonl"),
        write_rows(folder, gone + second[4:30] + bad + [new] + second[30:], name="second.jsonl"),
    ]


def state(client: Elasticsearch, index: str) -> tuple[dict[str, Any], Any, Any]:
    """Everything that searches see of an index: documents with vectors, calibration, counts."""
    meta = load_target(client, index).meta
    return documents(client, index), meta.calibration, meta.counts


def added_up(ended: Ended, rejected: int) -> None:
    report = ended.report
    assert report, ended
    names = ("indexed", "updated", "unchanged", "rejected", "deleted", "outdated")
    assert report["read"] == sum(report[name] for name in names)
    assert report["rejected"] == rejected


def reasons(folder: Path) -> list[tuple[str, str]]:
    return sorted((one["id"], one["stage"]) for one in rejects(folder / "rejects.jsonl"))


@pytest.mark.parametrize("how", KILLS)
def test_killed_at_any_step_and_run_again_is_as_if_never_killed(
    how: str, ingests: Killer, client: Elasticsearch, es_version: str, index_prefix: str, tmp_path: Path
) -> None:
    kills = KILLS[how] if es_version == nodes.tested_versions()[0] else 1
    pair = catalogs(tmp_path)
    options: dict[str, Any] = {"rebuild": True, "keep": 1} if how == "rebuild" else {}
    calm, expected, steps = f"{index_prefix}calm", {}, {}
    for catalog in pair if how == "first" else (*pair, pair[0]):
        name = f"{calm}-{catalog.stem}" if how == "first" else calm
        ended = ingests.ingest(catalog, name, **options)
        added_up(ended, 1)
        expected[catalog], steps[catalog] = state(client, name), len(ended.steps)
        told = reasons(tmp_path)
    totals = {len(one[0]) for one in expected.values()}
    name = f"{index_prefix}killed"
    if how != "first":
        ingests.ingest(pair[0], name, **options)
    for at in range(kills):
        catalog = pair[1 - at % 2]
        if how == "first":
            name = f"{index_prefix}killed{at}"
        point = spread(steps[catalog], kills, seed=how)[at]
        # Edits come in place, so that a searcher sees them one by one: four products go, another one comes.
        allowed = {
            "first": {0, len(expected[catalog][0])},
            "rebuild": totals,
            "edits": set(range(MANY - 4, MANY + 3)),
        }
        with watched(client, name, allowed[how]):
            killed = ingests.ingest(catalog, name, kill_at=point, **options)
            assert killed.signal == signal.SIGKILL or killed.report, (at, point, killed)
            ended = ingests.ingest(catalog, name, **options)
        added_up(ended, 1)
        assert state(client, name) == expected[catalog], (at, point)
        assert reasons(tmp_path) == told


def half_build(ingests: Killer, catalog: Path, name: str, *, answered: int = 4, **options: Any) -> None:
    """A build that is killed when so many of its requests, of five documents each, were answered."""
    killed = ingests.ingest(catalog, name, kill_at=2 * answered, of="_bulk", rebuild=True, **options)
    assert killed.signal == signal.SIGKILL


def test_what_the_cluster_confirmed_costs_nothing_again(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}killed", f"{index_prefix}calm"
    catalog = catalogs(tmp_path)[0]
    ingests.ingest(write_rows(tmp_path / "old", [{"id": "old", "title": "Old"}]), name)
    half_build(ingests, catalog, name)
    states = [(one.number, one.state, one.serving) for one in list_versions(client, name)]
    assert states == [(1, "complete", True), (2, "abandoned", False)]
    assert set(documents(client, name)) == {"old"}, "the old index serves on"
    there = len(documents(client, f"{name}-v0002"))
    assert 0 < there < MANY
    report = ingests.ingest(catalog, name, rebuild=True).report
    assert (report["indexed"], report["unchanged"], report["updated"]) == (MANY + 1 - there, there, 0)
    assert report["encoded_images"] <= MANY - there
    assert report["index"] == f"{name}-v0002"
    ingests.ingest(catalog, calm)
    assert state(client, name) == state(client, calm)


def test_killed_again_and_again(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}killed", f"{index_prefix}calm"
    catalog = catalogs(tmp_path)[0]
    steps = len(ingests.ingest(catalog, calm).steps)
    there = [0]
    for _ in range(4):
        assert ingests.ingest(catalog, name, kill_at=steps // 2).signal == signal.SIGKILL
        there.append(len(documents(client, f"{name}-v0001")))
    assert ingests.ingest(catalog, name).report["index"] == f"{name}-v0001"
    assert there == sorted(there), "each goes on where the one before was killed"
    assert state(client, name) == state(client, calm)


def test_a_catalogue_that_changed_meanwhile_is_what_counts(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}killed", f"{index_prefix}calm"
    first, second = catalogs(tmp_path)
    half_build(ingests, first, name)
    report = ingests.ingest(second, name).report
    assert report["updated"] > 0
    assert report["unchanged"] > 0
    ingests.ingest(second, calm)
    assert state(client, name) == state(client, calm)
    assert "p0" not in documents(client, name), "deleted since"


@pytest.mark.parametrize(
    "other",
    [{"shards": 2}, {"vector_index": "hnsw"}, {"version_field": "revision"}],
    ids=lambda one: next(iter(one)),
)
def test_a_build_by_other_options_is_not_gone_on_with(
    other: dict[str, Any], ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}killed"
    rows = [{**row, "revision": 1} for row in shop_rows(tmp_path, 20)]
    catalog = write_rows(tmp_path, rows)
    half_build(ingests, catalog, name, answered=2)
    report = ingests.ingest(catalog, name, **other).report
    assert (report["indexed"], report["unchanged"], report["index"]) == (20, 0, f"{name}-v0002")
    assert [one.number for one in list_versions(client, name)] == [2]


def test_vectors_that_the_store_lost_are_made_again_for_the_calibration(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}killed", f"{index_prefix}calm"
    catalog = write_rows(tmp_path, shop_rows(tmp_path, 20))
    half_build(ingests, catalog, name, answered=2)
    shutil.rmtree(tmp_path / "vectors")
    report = ingests.ingest(catalog, name).report
    assert report["unchanged"] > 0
    assert report["encoded_images"] == 20
    ingests.ingest(catalog, calm)
    assert state(client, name) == state(client, calm)


def test_rejects_that_are_fed_back_survive_a_kill(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name, calm = f"{index_prefix}killed", f"{index_prefix}calm"
    rows = shop_rows(tmp_path, 20)
    hidden = (tmp_path / "images").rename(tmp_path / "elsewhere")
    catalog = write_rows(tmp_path, rows)
    ingests.ingest(catalog, name)
    refused = tmp_path / "rejects.jsonl"
    told = refused.read_text(encoding="utf-8")
    assert len(told.splitlines()) == 20
    hidden.rename(tmp_path / "images")
    assert ingests.ingest(refused, name, kill_at=4, of="_bulk", retry=True).signal == signal.SIGKILL
    assert refused.read_text(encoding="utf-8") == told
    report = ingests.ingest(refused, name, retry=True).report
    assert report["updated"] + report["unchanged"] == report["read"] == 20
    assert report["unchanged"] >= 5
    assert not refused.exists()
    ingests.ingest(catalog, calm)
    assert documents(client, name) == documents(client, calm)


def test_of_two_that_go_on_with_one_build_one_is_refused(
    ingests: Killer, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}killed"
    catalog = write_rows(tmp_path, shop_rows(tmp_path, 20))
    half_build(ingests, catalog, name, answered=2)
    (dead,) = list_versions(client, name)
    assert dead.meta is not None
    builders = [new_builder(), new_builder()]
    take_over(client, name, dead.meta, builders[0])
    found = find_indices(client, dead.index)
    stale = {dead.index: {**found[dead.index], "aliases": {writer_alias(name, dead.meta.builder.run_id): {}}}}
    with (
        patch("es_xmodal.index.takeover.find_indices", return_value=stale),
        pytest.raises(IndexBusyError, match="at the same time"),
    ):
        take_over(client, name, dead.meta, builders[1])
    for one in builders:
        forget(one.run_id)
    assert set(find_indices(client, dead.index)[dead.index]["aliases"]) == {
        writer_alias(name, builders[0].run_id)
    }


def test_a_build_whose_builder_lives_is_left_alone(
    es_url: str, client: Elasticsearch, index_prefix: str, tmp_path: Path
) -> None:
    name = f"{index_prefix}slow"
    catalog = write_rows(tmp_path, shop_rows(tmp_path, MANY))
    child = start_slow(es_url, catalog, name)
    try:
        wait_for_documents(client, f"{name}-v0001", 5, child)
        with pytest.raises(IndexBusyError, match=str(child.pid)):
            ingest_catalog(es_url, catalog, name)
        child.send_signal(signal.SIGINT)  # Ctrl-C leaves at once, and nothing that is in the way
        assert child.wait() != 0
    finally:
        child.kill()
        child.wait()
    assert not client.indices.exists_alias(name=name)
    indexed, _, unchanged, _ = counts(ingest_catalog(es_url, catalog, name))
    assert unchanged >= 5
    assert indexed + unchanged == MANY


def start_slow(url: str, catalog: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.ingesting", url, str(catalog), name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


def wait_for_documents(
    client: Elasticsearch, index: str, at_least: int, child: subprocess.Popen[bytes]
) -> None:
    """Until the index that is being built holds some documents."""
    while True:
        assert child.poll() is None, "the ingest ended before it could be stopped"
        if client.indices.exists(index=index):
            client.indices.refresh(index=index)
            if client.count(index=index).body["count"] >= at_least:
                return
        time.sleep(0.02)
