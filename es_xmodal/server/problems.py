"""Errors as RFC 9457 problem documents, with the same line that the command line prints."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from es_xmodal.errors import (
    ClusterError,
    ClusterNotReadyError,
    ClusterUnreachableError,
    IndexMissingError,
    IndexStateError,
    MissingExtraError,
    PictureError,
    QueryError,
    StoreError,
    UsageError,
    XModalError,
)

MEDIA_TYPE = "application/problem+json"

# The most special first: the first that fits decides.
_STATUS: tuple[tuple[type[XModalError], int], ...] = (
    (QueryError, 422),
    (PictureError, 422),
    (IndexMissingError, 503),
    (IndexStateError, 503),
    (MissingExtraError, 501),
    (UsageError, 400),
    (ClusterUnreachableError, 503),
    (ClusterNotReadyError, 503),
    (ClusterError, 502),
    (StoreError, 503),
)


class Problem(Exception):
    """An answer that is an error of the service itself.

    Args:
        status: HTTP status.
        detail: one line for a person.
        kind: a short stable word, as in `queue-full`.
        headers: of the answer.
        more: further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = dict(headers or {})
        self.more = more

    def response(self, request_id: str) -> JSONResponse:
        """Return the problem document."""
        body = {
            "type": f"urn:es-xmodal:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.more,
        }
        return JSONResponse(body, status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


def problem_of(error: XModalError) -> Problem:
    """Turn an error of the package into a problem.

    Args:
        error: any of them.

    Returns:
        4xx where the caller can mend it, 5xx where the operator must.
    """
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    more: dict[str, Any] = {"hint": error.hint} if error.hint else {}
    if isinstance(error, QueryError):
        more["field"] = error.field
    if isinstance(error, PictureError):
        more["code"] = error.code
        if error.code in ("too_many_bytes", "too_many_pixels"):
            status = 413
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Problem(status, error.message, kind=_kind(error), headers=headers, **more)


def _kind(error: XModalError) -> str:
    """`QueryError` becomes `query`."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"-{one.lower()}" if one.isupper() else one for one in name).lstrip("-")
