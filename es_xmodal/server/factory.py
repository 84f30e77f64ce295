"""The service as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from es_xmodal._version import __version__
from es_xmodal.errors import XModalError
from es_xmodal.server.body import invalid
from es_xmodal.server.frame import Frame
from es_xmodal.server.metrics import Metrics
from es_xmodal.server.models import ProblemModel
from es_xmodal.server.options import ServerOptions
from es_xmodal.server.pages import page_routes
from es_xmodal.server.pictures import picture_routes
from es_xmodal.server.problems import MEDIA_TYPE, Problem, problem_of
from es_xmodal.server.routes import health_routes, search_routes
from es_xmodal.server.service import Service
from es_xmodal.shop import Shop

_log = logging.getLogger(__name__)

_PROBLEMS = (400, 401, 403, 404, 413, 415, 422, 429, 500, 501, 502, 503, 504)


def create_app(shop: Shop, options: ServerOptions, metrics: Metrics | None = None) -> FastAPI:
    """Make the service for one index.

    Args:
        shop: what is searched; closed when the service ends.
        options: keys and limits.
        metrics: where requests are counted; None makes a new one.

    Returns:
        The application; its OpenAPI description is at `/openapi.json`, for those who may search.
    """
    metrics = metrics or Metrics()
    service = Service(shop, options, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="es_xmodal",
        summary="Search by words, by picture, or by both.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # both pages would load scripts from another host
        redoc_url=None,
        openapi_url=None,
        # The spans of newer FastAPI hold whole addresses, and so the words of queries; ours do not.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses={
            status: {
                "model": ProblemModel,
                "description": HTTPStatus(status).phrase,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemModel"}}},
            }
            for status in _PROBLEMS
        },
    )
    app.state.service = service
    app.include_router(health_routes(service))
    app.include_router(search_routes(service, app))
    app.include_router(picture_routes(service))
    app.include_router(page_routes(service))
    _answer_errors(app, metrics)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(Frame, metrics=metrics, max_body_bytes=options.max_body_bytes)
    return app


def _answer_errors(app: FastAPI, metrics: Metrics) -> None:
    """Every error leaves as a problem document."""

    def answer(request: Request, problem: Problem) -> JSONResponse:
        metrics.errors.labels(problem.kind).inc()
        return problem.response(request.state.request_id)

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return answer(request, error)

    @app.exception_handler(XModalError)
    async def _expected(request: Request, error: XModalError) -> JSONResponse:
        problem = problem_of(error)
        if problem.status >= 500:
            _log.warning("%s: %s", request.state.request_id, error)
        return answer(request, problem)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(request, invalid(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        kind = "not-found" if error.status_code == 404 else f"http-{error.status_code}"
        headers = dict(error.headers or {})
        return answer(request, Problem(error.status_code, str(error.detail), kind=kind, headers=headers))
