"""The search page: a few static files, and what the page must know about this service."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from es_xmodal._version import __version__
from es_xmodal.server.problems import Problem
from es_xmodal.server.routes import caller
from es_xmodal.server.service import Service

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Asked again each time, answered 304 as long as nothing changed: a new version is there at once.
_CACHE: Final = "private, no-cache"


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """One file of the page, read once.

    Attributes:
        body: its bytes.
        packed: the same by gzip.
        media_type: for the browser.
        etag: of the bytes.
    """

    body: bytes
    packed: bytes
    media_type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """Read the page.

    Returns:
        Name to file; `index.html` is the page itself.
    """
    found = {}
    for one in (resources.files("es_xmodal.server") / "page").iterdir():
        media_type = TYPES.get("." + one.name.rpartition(".")[2])
        if media_type is None:
            continue
        body = one.read_bytes()
        found[one.name] = PageFile(
            body=body,
            packed=gzip.compress(body, 9, mtime=0),
            media_type=media_type,
            etag=f'W/"{hashlib.sha256(body).hexdigest()[:20]}"',
        )
    return found


def page_routes(service: Service) -> APIRouter:
    """`/` and what it loads; a page and its files are not counted as calls."""
    router = APIRouter(
        dependencies=[Depends(caller(service, "search", counted=False))], include_in_schema=False
    )
    files = page_files()

    @router.get("/")
    async def page(request: Request) -> Response:
        return _answer(request, files["index.html"])

    @router.get("/page/config.json")
    async def config() -> JSONResponse:
        return JSONResponse(page_config(service), headers={"Cache-Control": "no-store"})

    @router.get("/page/{name}")
    async def file(request: Request, name: str) -> Response:
        if name not in files:
            raise Problem(404, "there is no such file", kind="not-found")
        return _answer(request, files[name])

    return router


def page_config(service: Service) -> dict[str, Any]:
    """Return what the page must know before the first search."""
    options = service.options
    return {
        "index": service.shop.index,
        "version": __version__,
        "pictures": bool(options.images_root),
        "max_body_bytes": options.max_body_bytes,
        "max_pictures": options.max_pictures,
        "page_size": min(24, options.max_hits),
    }


def _answer(request: Request, file: PageFile) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": _CACHE, "Vary": "Accept-Encoding"}
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, headers=headers, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)
