"""The routes: each one reads a request, calls the library, and writes its answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from es_xmodal.server.body import checked_pictures, read_search
from es_xmodal.server.encoding import encode
from es_xmodal.server.models import (
    SEARCH_EXAMPLES,
    EncodeAnswer,
    EncodeRequest,
    FacetAnswer,
    PlanAnswer,
    Ready,
    SearchAnswer,
    SearchRequest,
    WordSearch,
)
from es_xmodal.server.options import Role, role_of
from es_xmodal.server.planning import planned
from es_xmodal.server.problems import Problem
from es_xmodal.server.service import Service

Id = Annotated[str, Path(min_length=1, max_length=512, description="id of a product")]
_OPEN = ("/healthz", "/readyz")
_JSON = {"schema": {"$ref": "#/components/schemas/SearchRequest"}, "examples": SEARCH_EXAMPLES}
_FORM = {
    "schema": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "query": {"type": "string", "description": "a SearchRequest, as JSON"},
            "text": {"type": "string", "description": "words, where there is no more to say"},
            "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
        },
    }
}
_BODY = {
    "requestBody": {"required": True, "content": {"application/json": _JSON, "multipart/form-data": _FORM}}
}


def health_routes(service: Service) -> APIRouter:
    """The two routes that a load balancer asks, without a key."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="The index can be searched", response_model=Ready)
    async def readyz() -> JSONResponse:
        ready, detail = await service.ready()
        body = Ready(ready=ready, index=service.shop.index, detail=detail)
        return JSONResponse(body.model_dump(), status_code=200 if ready else 503)

    return router


def search_routes(service: Service, app: FastAPI) -> APIRouter:
    """Everything that needs a key where there are keys."""
    router = APIRouter(dependencies=[Depends(caller(service, "search"))])
    _add_search(router, service)
    _add_products(router, service)
    _add_tools(router, service, app)
    return router


def _add_search(router: APIRouter, service: Service) -> None:
    @router.post("/search", response_model=SearchAnswer, openapi_extra=_BODY, tags=["search"])
    async def search(request: Request) -> dict[str, Any]:
        """Search by words, by pictures, by products, or by all of them."""
        asked, pictures = await read_search(request, service.options)
        query = service.query(asked, pictures)
        return await service.run(service.search, query, cursor=asked.cursor, explained=asked.explain)

    @router.get("/search", response_model=SearchAnswer, tags=["search"])
    async def search_words(asked: Annotated[WordSearch, Query()]) -> dict[str, Any]:
        """Search by words; the address can be kept and shared."""
        query = service.query(asked.request(), [])
        return await service.run(service.search, query, cursor=asked.cursor)

    @router.post("/explain", response_model=SearchAnswer, openapi_extra=_BODY, tags=["search"])
    async def explain(request: Request) -> dict[str, Any]:
        """Search, and say of each hit why it stands where it stands."""
        asked, pictures = await read_search(request, service.options)
        query = service.query(asked, pictures)
        return await service.run(service.search, query, cursor=asked.cursor, explained=True)

    @router.post("/facets", response_model=FacetAnswer, openapi_extra=_BODY, tags=["search"])
    async def facets(request: Request) -> dict[str, Any]:
        """Count the values of fields beside a search, without its hits."""
        asked, pictures = await read_search(request, service.options)
        if not asked.facets:
            raise Problem(422, "facets: name at least one", kind="query", field="facets")
        query = service.query(asked.model_copy(update={"size": 1}), pictures)
        found = await service.run(service.search, query)
        return {"facets": found["facets"], "total": found["total"]}


def _add_products(router: APIRouter, service: Service) -> None:
    @router.get("/similar/{id_}", response_model=SearchAnswer, tags=["products"])
    async def similar(id_: Id, size: Annotated[int, Query(ge=1, le=1000)] = 10) -> dict[str, Any]:
        """Products like this one."""
        await _product(service, id_)
        query = service.query(SearchRequest(like=[id_], size=size), [])
        return await service.run(service.search, query)

    @router.get("/products/{id_}", tags=["products"])
    async def product(id_: Id) -> dict[str, Any]:
        """One product, as its catalogue row."""
        return await _product(service, id_)


def _add_tools(router: APIRouter, service: Service, app: FastAPI) -> None:
    admin = [Depends(caller(service, "admin"))]

    @router.post("/plan", response_model=PlanAnswer, openapi_extra=_BODY, tags=["tools"])
    async def plan(request: Request) -> dict[str, Any]:
        """The requests of a search, to paste into Kibana's Console."""
        asked, pictures = await read_search(request, service.options)
        query = service.query(asked, pictures)
        return await service.run(planned, service.shop, query, asked.cursor)

    @router.post("/encode", response_model=EncodeAnswer, tags=["tools"])
    async def encode_route(asked: EncodeRequest) -> dict[str, Any]:
        """Vectors of texts and pictures, by the encoder of the index."""
        pictures = checked_pictures(asked.images, service.options)
        return await service.run(encode, service.shop, asked.texts, pictures)

    @router.get("/metrics", dependencies=admin, response_class=Response, tags=["tools"])
    async def metrics() -> Response:
        """Counters and histograms, for Prometheus."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(description(app))


def description(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the body that `read_search` reads and FastAPI does not see."""
    found = app.openapi()
    schema = SearchRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    found["components"]["schemas"].setdefault("SearchRequest", schema)
    found["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in found["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in _OPEN else [{"bearer": []}, {"key": []}]
    return found


async def _product(service: Service, id_: str) -> dict[str, Any]:
    found = await service.run(service.shop.product, id_)
    if found is None:
        raise Problem(404, f"there is no product {id_!r}", kind="not-found")
    return dict(found)


def caller(service: Service, least: Role, *, counted: bool = True) -> Callable[[Request], Awaitable[None]]:
    """Who calls must have a key of that role, and must not call too often.

    Args:
        service: its keys and its limit.
        least: role.
        counted: False for what a page loads by dozens beside its searches.

    Returns:
        A dependency of routes.
    """

    async def check(request: Request) -> None:
        keys = service.options.keys
        who = request.client.host if request.client else "unknown"
        if keys:
            key = _key_of(request)
            role = role_of(keys, key) if key else None
            if role is None:
                raise Problem(
                    401,
                    "this needs an API key",
                    kind="unauthorized",
                    headers={"WWW-Authenticate": _ways_in(request)},
                )
            if least == "admin" and role != "admin":
                raise Problem(403, "this needs a key of the role admin", kind="forbidden")
            who = key or who
        if counted and least == "search":  # every route asks for it once; admin routes ask for both
            service.rate.take(who)

    return check


def _ways_in(request: Request) -> str:
    """How to give a key. A browser that opens the page asks its person only where Basic stands alone."""
    basic = 'Basic realm="es_xmodal", charset="UTF-8"'
    return basic if "text/html" in request.headers.get("accept", "") else f"Bearer, {basic}"


def _key_of(request: Request) -> str | None:
    """The key: `X-API-Key: KEY`, `Authorization: Bearer KEY`, or the password that a browser asked for."""
    own = request.headers.get("x-api-key")
    if own:
        return own
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, ValueError):
            return None
    return None
