"""Kinds of vector index on drawn vectors: `python -m benchmarks.recall --url URL --products 20000`.

The vectors lie in clusters, as products do: a product is a point near the middle of its cluster, its pictures
lie near the product. The measurement itself is that of `es-xmodal bench recall`.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from es_xmodal._version import __version__
from es_xmodal.cli.bench import show
from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.client import Client, connect
from es_xmodal.cluster.search import search
from es_xmodal.encoders.base import EncoderInfo, Space
from es_xmodal.evaluation.recall import measure_recall
from es_xmodal.index.body import IndexOptions, build_body, layout_of, with_meta
from es_xmodal.index.meta import Builder, EncoderMeta, IndexMeta
from es_xmodal.index.scratch import settle
from es_xmodal.ingest.document import as_base64, as_floats, dump_json
from es_xmodal.query.legs import VectorLeg
from es_xmodal.resources import index_template
from es_xmodal.settings import load_settings
from es_xmodal.vectors import unit_rows

_CHUNK = 250
_ASKED, _WARM = 200, 20
_CLUSTERS = 200
_OFF_CLUSTER, _OFF_PRODUCT = 0.7, 0.5
"""Length of the noise beside a cluster's middle, and of a picture's beside its product, of 1."""


def drawn_vectors(products: int, pictures: int, dim: int) -> NDArray[np.float32]:
    """Draw unit vectors in clusters.

    Returns:
        float32, shape [products, pictures, dim], unit length; the same for the same numbers.
    """
    draw = np.random.default_rng(11)

    def noise(*shape: int) -> NDArray[np.float32]:
        return np.asarray(draw.standard_normal((*shape, dim)) / dim**0.5, dtype=np.float32)

    middles = noise(_CLUSTERS)
    points = middles[draw.integers(_CLUSTERS, size=products)] + _OFF_CLUSTER * noise(products)
    views = points[:, None, :] + _OFF_PRODUCT * noise(products, pictures)
    return np.asarray(unit_rows(views.reshape(-1, dim)).reshape(products, pictures, dim), dtype=np.float32)


@contextmanager
def drawn_shop(
    client: Client, *, products: int, pictures: int, dim: int, kind: str = "flat"
) -> Iterator[str]:
    """Make an index of drawn pictures, and delete it afterwards.

    Args:
        client: see `connect`.
        products: so many.
        pictures: of each product.
        dim: of the vectors.
        kind: of the vector index.

    Yields:
        Its name.
    """
    name = f"bench-recall-{secrets.token_hex(4)}"
    space = Space(name="joint", dim=dim, modalities=frozenset({"text", "picture"}))
    info = EncoderInfo(
        spec="drawn",
        fingerprint=f"drawn-{dim}",
        spaces=(space,),
        text_space=None,
        languages=("en",),
        licence="Apache-2.0",
        picture_side=64,
    )
    body = build_body(index_template(), encoder=info, options=IndexOptions(vector_index=kind))
    client.indices.create(index=name, **with_meta(body, _meta(name, info, layout_of(body))))
    try:
        _fill(client, name, drawn_vectors(products, pictures, dim))
        yield name
    finally:
        client.indices.delete(index=name, ignore_unavailable=True)


def _meta(name: str, info: EncoderInfo, layout: str) -> IndexMeta:
    return IndexMeta(
        index=name,
        version=__version__,
        state="complete",
        encoder=EncoderMeta.of(info),
        text_fingerprint="drawn",
        layout=layout,
        created="2026-01-01T00:00:00+00:00",
        lease=0.0,
        builder=Builder(host="bench", pid=0, run_id="bench", started=0.0, machine="bench"),
    )


def _fill(client: Client, name: str, vectors: NDArray[np.float32]) -> None:
    write = as_base64 if probe(client).base64_vectors else as_floats
    patient = client.options(request_timeout=300)
    for start in range(0, len(vectors), _CHUNK):
        lines: list[Any] = []
        for at, rows in enumerate(vectors[start : start + _CHUNK], start):
            images = [{"ref": f"{at}-{number}.jpg", "joint": write(row)} for number, row in enumerate(rows)]
            document = {"id": f"p{at}", "title": f"product {at}", "images": images}
            lines += [{"index": {"_id": f"p{at}"}}, dump_json(document)]
        assert not patient.bulk(index=name, operations=lines, filter_path="errors").body["errors"]
    patient.indices.refresh(index=name)


def flat_against_hnsw(client: Client, *, products: int, pictures: int, dim: int) -> str:
    """Ask both in turn, so that whatever else the machine does meets both alike.

    Returns:
        Milliseconds of each, lower quartile and median, and the ratio of the lower quartiles.
    """
    sizes = {"products": products, "pictures": pictures, "dim": dim}
    queries = drawn_vectors(products, pictures, dim)[:: max(1, products // _ASKED), 0][:_ASKED]
    times: dict[str, list[float]] = {"flat": [], "hnsw": []}
    with drawn_shop(client, **sizes, kind="flat") as flat, drawn_shop(client, **sizes, kind="hnsw") as hnsw:
        for name in (flat, hnsw):
            settle(client, name)
        for number, query in enumerate([*queries[:_WARM], *queries]):
            leg = VectorLeg(name="image", weight=1.0, vector=query)
            for kind, name in (("flat", flat), ("hnsw", hnsw)):
                start = time.perf_counter()
                search(client, name, {**leg.retrieve(100, []), "_source": False}, timeout_s=60)
                if number >= _WARM:
                    times[kind].append(1000 * (time.perf_counter() - start))
    quartiles = {kind: statistics.quantiles(found, n=4) for kind, found in times.items()}
    told = ", ".join(f"{kind} {low:.1f} / {middle:.1f} ms" for kind, (low, middle, _) in quartiles.items())
    return f"{products} x {pictures} x {dim}: {told}, ratio {quartiles['flat'][0] / quartiles['hnsw'][0]:.2f}"


@click.command()
@click.option("--url", required=True, help="An Elasticsearch to use.")
@click.option("--products", default=20_000, show_default=True)
@click.option("--pictures", default=1, show_default=True, help="Of each product.")
@click.option("--dim", default=512, show_default=True)
@click.option("--types", default="", help="Such as hnsw,int8_hnsw. [default: all that the server takes]")
@click.option("--latency", is_flag=True, help="flat against hnsw only, asked in turn.")
def main(url: str, products: int, pictures: int, dim: int, types: str, latency: bool) -> None:
    """Recall, score error, latency and size of every kind of vector index."""
    kinds = [one for one in types.split(",") if one]
    client = connect(load_settings(url=url))
    try:
        if latency:
            click.echo(flat_against_hnsw(client, products=products, pictures=pictures, dim=dim))
            return
        with drawn_shop(client, products=products, pictures=pictures, dim=dim) as name:
            show(measure_recall(client, name, sample=products, kinds=kinds))
    finally:
        client.close()


if __name__ == "__main__":
    main()
