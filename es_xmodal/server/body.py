"""The body of a search: JSON, or a form with pictures, read without ever touching a disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from es_xmodal.server.models import SearchRequest
from es_xmodal.server.options import ServerOptions
from es_xmodal.server.problems import Problem

_Model = TypeVar("_Model", bound=BaseModel)
_FORM_FIELDS = 8


async def read_search(request: Request, options: ServerOptions) -> tuple[SearchRequest, list[str | bytes]]:
    """Read a search and its pictures.

    Args:
        request: `application/json`, or `multipart/form-data` with the JSON in a part `query` (or only words
            in a part `text`) and pictures in parts `image`.
        options: limits.

    Returns:
        The search, and its pictures: `data:` URIs of the JSON, then the bytes of the form's parts.

    Raises:
        Problem: 400, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        search, files = await _read_form(request, options)
    elif kind == "application/json" or kind.endswith("+json"):
        search, files = parse(SearchRequest, await request.body()), []
    else:
        raise Problem(
            415, "send application/json, or multipart/form-data with pictures", kind="unsupported-media-type"
        )
    return search, checked_pictures([*search.images, *files], options)


def checked_pictures(pictures: Sequence[str | bytes], options: ServerOptions) -> list[str | bytes]:
    """Refuse too many pictures, and texts that are not `data:` URIs.

    Raises:
        Problem: 422.
    """
    if len(pictures) > options.max_pictures:
        raise Problem(
            422, f"images: {len(pictures)} are more than {options.max_pictures}", kind="query", field="images"
        )
    for one in pictures:
        # Nothing that a caller sends is opened as a path or fetched from an address.
        if isinstance(one, str) and not one.startswith("data:"):
            raise Problem(
                422,
                "images: only data: URIs stand here; send files as parts of a form",
                kind="query",
                field="images",
            )
    return list(pictures)


def parse(model: type[_Model], data: bytes | str) -> _Model:
    """Read JSON into a model.

    Raises:
        Problem: 400 where it is no JSON, 422 where a field is wrong.
    """
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON", kind="bad-json") from None
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None


def invalid(errors: Sequence[Any]) -> Problem:
    """Turn pydantic's findings into one line about the first of them."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path")) or "body"
    return Problem(422, f"{field}: {first['msg']}", kind="query", field=field)


async def _read_form(request: Request, options: ServerOptions) -> tuple[SearchRequest, list[bytes]]:
    form = await _form(request, options)
    try:
        unknown = sorted({name for name in form if name not in ("query", "text", "image")})
        if unknown:
            raise Problem(
                422,
                f"{unknown[0]}: no such part; there are query, text and image",
                kind="query",
                field=unknown[0],
            )
        query, text = form.get("query"), form.get("text")
        search = parse(SearchRequest, await _text(query)) if query is not None else SearchRequest()
        if text is not None:
            search = parse(
                SearchRequest,
                json.dumps({**search.model_dump(), "text": (await _text(text)).decode("utf-8", "replace")}),
            )
        files = [
            await one.read() if isinstance(one, UploadFile) else one.encode() for one in form.getlist("image")
        ]
        return search, files
    finally:
        await form.close()


async def _form(request: Request, options: ServerOptions) -> FormData:
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=options.max_pictures + 1,  # one more, so that the answer can say that it is too many
        max_fields=_FORM_FIELDS,
        max_part_size=options.max_body_bytes,
    )
    # Starlette moves larger files to a disk; a query picture shall never be stored.
    parser.spool_max_size = options.max_body_bytes + 1
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        message = getattr(error, "message", None) or "the form cannot be read"
        raise Problem(400, f"multipart/form-data: {message}", kind="bad-form") from None


async def _text(part: UploadFile | str) -> bytes:
    return await part.read() if isinstance(part, UploadFile) else part.encode("utf-8", "surrogatepass")
