"""The engine of `ingest --engine ray`, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from es_xmodal._version import __version__
from es_xmodal.errors import SettingsError
from es_xmodal.ingest.remote.engine import RemoteEngine
from es_xmodal.ingest.remote.package import Recipe
from es_xmodal.ingest.remote.ray_cluster import RayCluster, RayOptions
from es_xmodal.ingest.remote.ray_pool import RayPool

if TYPE_CHECKING:
    from es_xmodal.ingest.embed import Embedder
    from es_xmodal.ingest.options import Parts
    from es_xmodal.ingest.rows import Loader


def ray_engine(
    cluster: RayCluster, options: RayOptions, parts: Parts, loader: Loader, embedder: Embedder
) -> RemoteEngine:
    """Start workers on a Ray cluster, and return the engine that uses them.

    Args:
        cluster: where.
        options: how many, and with how many GPUs.
        parts: of the ingest.
        loader: of the ingest.
        embedder: of the ingest.

    Raises:
        SettingsError: the encoder was made by hand, so that no other process can make it.
        WorkersError: there is no room for a worker.
    """
    if parts.again is None:
        raise SettingsError("the encoder of this ingest cannot be loaded by other processes")
    gpus = options.gpus
    if gpus is None:
        gpus = int(parts.encoder.runs_on.startswith("cuda"))
    recipe = Recipe(
        version=__version__,
        again=parts.again,
        gpus=gpus,
        encoder=parts.encoder.info.fingerprint,
        reader=parts.ocr.reader.fingerprint if parts.ocr else "",
        root=parts.pictures.root.resolve(),
        limits=parts.pictures.limits,
        videos=parts.videos,
        combining=loader.combining,
    )
    return RemoteEngine(
        loader,
        embedder,
        RayPool(cluster, recipe),
        words=parts.ocr.store if parts.ocr else None,
        batch_size=parts.encoder.batch_size,
    )
