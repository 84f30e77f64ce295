"""Run the benchmarks on a local node of their own and print a table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks.rows import (
    Row,
    child_ingest,
    convex_against_boost,
    ingest_memory,
    ingest_rate,
    own_time,
    search_overhead,
)


@click.command()
@click.option("--url", help="An Elasticsearch to use. [default: a local node, started for this]")
@click.option("--rows", default=4000, show_default=True, help="Products of the ingest and search rows.")
@click.option("--products", default=100_000, show_default=True, help="Products of the fusion and edits rows.")
@click.option(
    "--only",
    type=click.Choice(
        [
            "ingest",
            "search",
            "own",
            "fusion",
            "memory",
            "adapt",
            "encoders",
            "edits",
            "service",
            "scale",
            "pictures",
            "ray",
            "capacity",
            "enrich",
        ]
    ),
    multiple=True,
)
@click.option("--json-out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--export",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the export of the encoders' rows there, and use it again.",
)
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement of the service rows.")
@click.option("--overload-seconds", default=10.0, show_default=True, help="Of their overload.")
@click.option(
    "--catalog", type=click.Path(path_type=Path, exists=True), help="With pictures beside it, for `ray`."
)
@click.option("--encoder", default="mini", show_default=True, help="SPEC, for `ray`.")
@click.option("--workers", default=1, show_default=True, help="For `ray`.")
@click.option("--child", type=int, hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(
    url: str | None,
    rows: int,
    products: int,
    only: tuple[str, ...],
    json_out: Path | None,
    export: Path | None,
    seconds: float,
    overload_seconds: float,
    catalog: Path | None,
    encoder: str,
    workers: int,
    child: int | None,
    folder: Path | None,
) -> None:
    """Ratios, measured side by side in one run."""
    if child is not None and folder is not None and url is not None:
        click.echo(child_ingest(url, folder, child))
        return
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="es-xmodal-bench-")))
        done: list[Row] = []
        if "adapt" in only:
            # Its own table, without a server; part of a run only where it is named: it takes minutes.
            from benchmarks.adapt import adapt_numbers

            adapt_numbers(place, splits=3)
        if "encoders" in only:  # without a server, too, and only where it is named
            from benchmarks.encoders import encoder_rows

            for one in encoder_rows(place, export):
                _show(one)
                done.append(one)
        if only and set(only) <= {"adapt", "encoders"}:
            _write(done, json_out)
            return
        if url is None:
            from es_xmodal.local import LocalNode

            url = stack.enter_context(LocalNode(data=place / "node")).url
        measure: dict[str, Callable[[], Row]] = {
            "ingest": lambda: ingest_rate(url, place, rows=rows, rounds=3),
            "search": lambda: search_overhead(url, place, rows=rows, queries=100),
            "own": lambda: own_time(url, place, rows=rows, queries=100),
            "fusion": lambda: convex_against_boost(url, place, products=products, queries=50, rounds=3),
            "memory": lambda: ingest_memory(url, place, small=2_000, large=20_000),
        }
        if "scale" in only:  # the larger catalogue has --rows rows; minutes to hours
            from benchmarks.scale import scale_rows

            for one in scale_rows(url, place, small=min(10_000, max(rows // 10, 1)), large=rows):
                _show(one)
                done.append(one)
        if "pictures" in only:  # minutes
            from benchmarks.pictures import picture_rows

            for one in picture_rows(url, place, pictures=min(rows, 10_000), fetched=min(rows, 2000)):
                _show(one)
                done.append(one)
        if "edits" in only:  # a minute and more, so only where it is named
            from benchmarks.edits import edit_rows

            for one in edit_rows(url, place, products=products):
                _show(one)
                done.append(one)
        if "enrich" in only:  # a minute and more
            from benchmarks.enrich import enrich_rows

            for one in enrich_rows(url, place, products=rows):
                _show(one)
                done.append(one)
        if "service" in only:  # minutes, and only loopback
            from benchmarks.service import service_rows

            for one in service_rows(
                url, place, rows=min(rows, 1000), seconds=seconds, overload_s=overload_seconds
            ):
                _show(one)
                done.append(one)
        if "ray" in only:  # minutes
            from benchmarks.many import ray_rows
            from benchmarks.shop import write_catalog

            named = catalog or write_catalog(place, rows)
            for one in ray_rows(url, place, catalog=named, encoder=encoder, workers=workers):
                _show(one)
                done.append(one)
        if "capacity" in only:
            from benchmarks.many import capacity_rows

            for one in capacity_rows(url, place, products=rows):
                _show(one)
                done.append(one)
        for name, run in measure.items():
            if not only or name in only:
                click.echo(f"measuring: {name}", err=True)
                done.append(run())
                _show(done[-1])
    _write(done, json_out)


def _show(one: Row) -> None:
    click.echo(f"{one.name:45} {one.value:8.3f} {one.unit:13} (bound {one.bound}) {one.detail}")


def _write(done: list[Row], json_out: Path | None) -> None:
    if json_out:
        json_out.write_text(json.dumps([one.to_json() for one in done], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
