"""The service under load, against raw requests of the same plans: `python -m benchmarks --only service`."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import click
import psutil
import uvicorn

from benchmarks.load import Exchange, Load, callers, get, post, stream
from benchmarks.rows import Row
from benchmarks.shop import _WORDS, write_catalog
from es_xmodal.app import ingest_parts
from es_xmodal.cluster.client import connect
from es_xmodal.ingest.pipeline import IngestOptions, run_ingest
from es_xmodal.query.console import msearch_lines
from es_xmodal.query.plan import Request
from es_xmodal.server.batching import BatchingEncoder
from es_xmodal.server.factory import create_app
from es_xmodal.server.listener import address_of, listen
from es_xmodal.server.metrics import Metrics
from es_xmodal.server.options import ServerOptions
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop

INDEX = "bench-service"
QUERIES = 200
CLIENTS = (1, 8, 64)
ROUNDS = 3
TIMES_CAPACITY = 10


def service_rows(url: str, folder: Path, *, rows: int, seconds: float, overload_s: float) -> Iterator[Row]:
    """Text queries: the service with and without batches, the raw requests, and ten times too many.

    Args:
        url: an Elasticsearch.
        folder: for the catalogue and the vectors.
        rows: products.
        seconds: of each measurement.
        overload_s: of the overload.

    Yields:
        A row for each number of clients, for the batches, for the overload.
    """
    with _index(url, folder, rows):
        texts = _texts()
        raw = _raw_exchanges(url, texts)
        with _service(url, batching=True) as (on, _), _service(url, batching=False) as (off, _):
            asked = {"on": (on, _searches(on, texts)), "off": (off, _searches(off, texts)), "raw": (url, raw)}
            for clients in CLIENTS:
                loads = {name: Load() for name in asked}
                for _ in range(ROUNDS):  # in turn, so that a busy moment of the machine meets all of them
                    for name, (address, exchanges) in asked.items():
                        each_s = seconds / ROUNDS
                        loads[name] += callers(address, exchanges, clients=clients, seconds=each_s)
                if clients == ServerOptions().running:  # as many as it has places for
                    capacity = loads["on"].per_s
                yield _against_raw(clients, loads)
                yield _batches(clients, loads)
        yield _overload(url, texts, capacity, overload_s)


def _texts() -> list[str]:
    draw = random.Random(5)
    return [" ".join(draw.choices(_WORDS, k=draw.randrange(1, 5))) for _ in range(QUERIES)]


@contextmanager
def _index(url: str, folder: Path, rows: int) -> Iterator[None]:
    settings = load_settings(url=url, data_dir=folder / "service-data")
    catalog = write_catalog(folder, rows)
    with ingest_parts(settings, catalog.parent) as parts:
        options = IngestOptions(
            catalog=catalog, index=INDEX, rebuild=True, keep=1, rejects=folder / "no.jsonl"
        )
        report = run_ingest(parts, options)
    assert report.counts["rejected"] == 0, report.counts
    try:
        yield
    finally:
        client = connect(settings)
        for name in client.indices.get(index=f"{INDEX}-v*", ignore_unavailable=True).body:
            client.indices.delete(index=name)
        client.close()


def _searches(address: str, texts: Sequence[str]) -> list[Exchange]:
    return [[get(address, f"/search?q={quote(text)}")] for text in texts]


def _raw_exchanges(url: str, texts: Sequence[str]) -> list[Exchange]:
    """The requests that the service sends for each text, with their vectors in them."""
    found: list[Exchange] = []
    with Shop(settings=load_settings(url=url), index=INDEX) as shop:
        for text in texts:
            found.append([_raw(url, one) for one in shop.plan(text).requests])
    return found


def _raw(url: str, one: Request) -> bytes:
    if one.endpoint == "_msearch":
        lines = b"".join(json.dumps(part).encode() + b"\n" for part in msearch_lines(one))
        return post(url, f"/{INDEX}/_msearch", lines, "application/x-ndjson")
    body = json.dumps(one.bodies[0]).encode()
    return post(url, f"/{INDEX}/_search?{urlencode(one.params)}", body, "application/json")


def _against_raw(clients: int, loads: dict[str, Load]) -> Row:
    ours, raw = loads["on"], loads["raw"]
    return Row(
        name=f"service / raw requests, {clients} clients",
        value=ours.per_s / raw.per_s,
        unit="req/s ratio",
        bound="none",
        detail=f"{_said(ours)}; raw {_said(raw)}",
    )


def _batches(clients: int, loads: dict[str, Load]) -> Row:
    return Row(
        name=f"batches on / off, {clients} clients",
        value=loads["on"].per_s / loads["off"].per_s,
        unit="req/s ratio",
        bound="none",
        detail=f"on {_said(loads['on'])}; off {_said(loads['off'])}",
    )


def _said(load: Load) -> str:
    if not load.seconds:
        return f"nothing but {dict(load.statuses)}"
    text = f"{load.per_s:.0f}/s, p50 {load.quantile_ms(0.5):.0f} ms, p99 {load.quantile_ms(0.99):.0f} ms"
    others = {status: number for status, number in load.statuses.items() if status != 200}
    return f"{text}, {others}" if others else text


def _overload(url: str, texts: Sequence[str], capacity: float, seconds: float) -> Row:
    """Ten times what the service can do, whatever it answers."""
    with _service(url, batching=True) as (address, process):
        searches = _searches(address, texts)
        callers(address, searches, clients=64, seconds=min(seconds, 5))  # what it needs at work, it has now
        before = process.memory_info().rss
        load, recovery_s = stream(address, searches, per_s=TIMES_CAPACITY * capacity, seconds=seconds)
        after = process.memory_info().rss
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    assert alive, "the service died"
    sent = load.statuses.total()
    return Row(
        name=f"back to work after {TIMES_CAPACITY} times the capacity for {seconds:.0f} s",
        value=recovery_s,
        unit="s",
        bound="<= 1",
        detail=(
            f"{sent / seconds:.0f} requests/s sent ({load.not_sent / seconds:.0f}/s held back), answered"
            f" {dict(load.statuses)}, {load.without_retry_after} 503s without Retry-After;"
            f" good ones {_said(load)}; memory {before >> 20} -> {after >> 20} MiB"
        ),
    )


@contextmanager
def _service(url: str, *, batching: bool) -> Iterator[tuple[str, psutil.Process]]:
    """A service in a process of its own, warm."""
    command = [sys.executable, "-m", "benchmarks.service", "--url", url]
    with subprocess.Popen(
        [*command, "--batching" if batching else "--no-batching"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            found = re.match(r"(http://\S+)", child.stdout.readline())
            assert found, "the service did not start"
            for _ in range(3):
                callers(found[1], [[get(found[1], "/search?q=warm")]], clients=4, seconds=0.5)
            yield found[1], psutil.Process(child.pid)
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(60)
            child.kill()


@click.command()
@click.option("--url", required=True)
@click.option("--batching/--no-batching", required=True)
def main(url: str, batching: bool) -> None:
    """Serve the index of this benchmark; the address is the first line."""
    options, metrics = ServerOptions(port=0), Metrics()
    shop = Shop(
        settings=load_settings(url=url),
        index=INDEX,
        around_encoder=lambda one: BatchingEncoder(one, wait_ms=options.batch_wait_ms) if batching else one,
    )
    config = uvicorn.Config(create_app(shop, options, metrics), access_log=False, log_level="warning")
    listener = listen("127.0.0.1", 0)
    print(f"http://{address_of(listener)}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
