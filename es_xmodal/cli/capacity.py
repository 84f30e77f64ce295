"""`es-xmodal bench capacity`: what a catalogue of so many products takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from es_xmodal.cli.common import echo_json, json_option
from es_xmodal.errors import SettingsError

if TYPE_CHECKING:
    from es_xmodal.index.capacity import Load, Plan, VectorField

_GIB = 2**30
_GB = 10**9
_SAME = (
    "products",
    "pictures_per_product",
    "hours",
    "vector_index",
    "picture_bytes",
    "text_bytes",
    "hot_bytes",
    "rows_per_second",
    "docs_per_second",
    "files_seen",
    "replicas",
)
"""Options that are called as in `Load`."""


@click.command()
@click.option("--products", type=click.IntRange(1), required=True, metavar="N")
@click.option("--pictures-per-product", type=float, default=1.5, show_default=True)
@click.option(
    "--encoder-pictures-per-second", type=float, required=True, metavar="R", help="Of one worker, measured."
)
@click.option(
    "--encoder-texts-per-second", type=float, metavar="R", help="Likewise. [default: as for pictures]"
)
@click.option("--hours", type=float, default=24.0, show_default=True, help="For the first ingest.")
@click.option(
    "--space",
    "spaces",
    multiple=True,
    metavar="NAME=DIMS",
    help="joint, visual: of each picture; text: of each product. [default: those of mini]",
)
@click.option("--vector-index", default="auto", show_default=True, metavar="TYPE|auto")
@click.option("--server", default="9.2", show_default=True, metavar="X.Y", help="Version of Elasticsearch.")
@click.option("--picture-bytes", type=float, default=100_000.0, show_default=True, help="As they come.")
@click.option(
    "--text-bytes", type=float, default=1_500.0, show_default=True, help="Of a product, without vectors."
)
@click.option("--hot-bytes", type=float, default=700.0, show_default=True, help="Of them, for words.")
@click.option("--rows-per-second", type=float, default=900.0, show_default=True, help="Of the driver.")
@click.option("--docs-per-second", type=float, default=250.0, show_default=True, help="Of one data node.")
@click.option("--network-gbit", type=float, default=10.0, show_default=True, help="Of the driver.")
@click.option("--files-seen", is_flag=True, help="Workers read the pictures from a shared file system.")
@click.option("--replicas", type=click.IntRange(0, 32), default=1, show_default=True)
@click.option("--node-memory-gib", type=float, default=64.0, show_default=True)
@click.option("--node-disk-gb", type=float, default=2_000.0, show_default=True)
@json_option
def capacity(as_json: bool, **asked: Any) -> int:
    """Workers, hours, bytes, memory, data nodes and shards for so many products.

    Computed from what is given, without a server. The defaults were measured on two cores; measure your own.
    """
    from es_xmodal.index.capacity import plan_capacity

    plan = plan_capacity(_load(asked))
    if as_json:
        echo_json(plan.to_json())
    else:
        show(plan)
    return 0


def _load(asked: dict[str, Any]) -> Load:
    from es_xmodal.index.capacity import MINI, Load

    pictures = asked["encoder_pictures_per_second"]
    texts = asked["encoder_texts_per_second"]
    return Load(
        **{name: asked[name] for name in _SAME},
        server=_version(asked["server"]),
        pictures_per_second=pictures,
        texts_per_second=pictures if texts is None else texts,
        fields=[_field(one) for one in asked["spaces"]] or MINI,
        network_bytes_per_second=asked["network_gbit"] * 1e9 / 8,
        node_memory_bytes=asked["node_memory_gib"] * _GIB,
        node_disk_bytes=asked["node_disk_gb"] * _GB,
    )


def _field(text: str) -> VectorField:
    from es_xmodal.index.capacity import VectorField

    name, _, dims = text.partition("=")
    if name not in ("joint", "visual", "text") or not dims.isdecimal() or not 1 <= int(dims) <= 4096:
        raise SettingsError(
            f"--space {text!r} is none", hint="write --space joint=512; spaces: joint, visual, text"
        )
    return VectorField(name=name, dims=int(dims), of_pictures=name != "text")


def _version(text: str) -> tuple[int, int, int]:
    major, _, minor = text.partition(".")
    minor = minor.partition(".")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        raise SettingsError(f"--server {text!r} is no version", hint="write --server 9.2")
    return int(major), int(minor), 0


def show(plan: Plan) -> None:
    """Print what a person plans with."""
    from rich.table import Table

    from es_xmodal.cli.render import console

    load, out = plan.load, console()
    out.print(f"{load.products:,} products, {load.pictures:,.0f} pictures", highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in _rows(plan):
        table.add_row(*row)
    out.print(table)
    sizes = Table(box=None, pad_edge=False)
    sizes.add_column("vector index", no_wrap=True)
    for name in ("disk", "memory"):
        sizes.add_column(name, justify="right", no_wrap=True)
    for one in plan.sizes:
        mark = " <" if one.kind == plan.choice.type else ""
        sizes.add_row(one.kind + mark, _size(one.disk_bytes), _size(one.memory_bytes))
    out.print(sizes)
    out.print("disk and memory of the vectors alone, without replicas; <: taken", highlight=False)


def _rows(plan: Plan) -> list[tuple[str, str, str]]:
    load, hours = plan.load, plan.hours_by_stage
    stages = ", ".join(f"{name} {_hours(spent)}" for name, spent in hours.items())
    return [
        ("workers", f"{plan.workers:,}", f"to embed in {load.hours:g} h"),
        ("first ingest", _hours(plan.hours), f"{plan.slowest} is slowest: {stages}"),
        ("another encoder", _hours(plan.hours), "every picture is needed again"),
        ("from the store", _hours(plan.hours_from_store), "another dictionary, mapping or kind of index"),
        ("text", _size(plan.text_bytes), "of the index, without replicas"),
        ("primaries", _size(plan.primary_bytes), f"text and vectors, {plan.choice.type}"),
        (
            "shards",
            f"{plan.shards:,}",
            f"--shards {plan.shards}, {_size(plan.primary_bytes / plan.shards)} each",
        ),
        ("cluster", _size(plan.cluster_bytes), f"with --replicas {load.replicas}"),
        ("at most", _size(plan.peak_bytes), "while a new version is built beside the one that serves"),
        ("memory", _size(plan.memory_bytes), "outside the heap, replicas included"),
        ("data nodes", f"{plan.data_nodes:,}", f"of {_memory(load)}, for the {plan.nodes_because}"),
        ("vector store", _size(plan.store_bytes), "on the disk of the driver"),
    ]


def _memory(load: Load) -> str:
    return f"{load.node_memory_bytes / _GIB:g} GiB"


def _size(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e3:,.1f} kB"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 0.1 else f"{hours * 60:,.1f} min"
