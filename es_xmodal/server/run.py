"""Joins the parts of the service, and says how uvicorn is to run it."""

from __future__ import annotations

from typing import Any

import uvicorn

from es_xmodal.server.batching import BatchingEncoder
from es_xmodal.server.factory import create_app
from es_xmodal.server.metrics import Metrics
from es_xmodal.server.options import ServerOptions
from es_xmodal.settings import Settings
from es_xmodal.shop import Shop

DRAIN_S = 30


def start(options: ServerOptions, settings: Settings, *, index: str, encoder: str | None) -> uvicorn.Config:
    """Open the shop and make the application.

    Args:
        options: of the service.
        settings: cluster and profile.
        index: alias.
        encoder: SPEC, where it differs from the index's.

    Returns:
        What uvicorn runs; a stop lets the requests that run finish, for `DRAIN_S` at most.

    Raises:
        SettingsError: a setting cannot be used.
    """
    metrics = Metrics()

    def around(loaded: Any) -> BatchingEncoder:
        def count(kind: str, size: int) -> None:
            metrics.batches.labels(kind).observe(size)

        return BatchingEncoder(loaded, wait_ms=options.batch_wait_ms, on_batch=count)

    shop = Shop(settings=settings, index=index, encoder=encoder, around_encoder=around)
    app = create_app(shop, options, metrics)
    app.state.service.warm()
    return uvicorn.Config(
        app,
        access_log=False,  # the service's own line names no query
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=15,
    )
