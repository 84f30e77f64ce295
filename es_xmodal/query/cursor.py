"""The opaque cursor: where the next page starts, and of which query."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

from es_xmodal.errors import QueryError
from es_xmodal.query.legs import Leg, LexicalLeg
from es_xmodal.query.plan import Plan

_FORMAT = 1


def plan_digest(plan: Plan) -> str:
    """What a cursor must agree with: index, profile, legs, filters, window, order; not page and facets."""
    legs = [_leg_shape(leg) for leg in plan.legs]
    shape = [plan.alias, plan.fusion, plan.window, plan.filters, legs, plan.order, plan.collapse]
    shape.append(plan.profile.digest)
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def _leg_shape(leg: Leg) -> list[Any]:
    what = leg.clause if isinstance(leg, LexicalLeg) else hashlib.sha256(leg.vector.tobytes()).hexdigest()
    return [leg.name, leg.weight, what]


def write_cursor(plan: Plan, *, offset: int) -> str:
    """Write the cursor of the page that starts after `offset` hits."""
    text = json.dumps([_FORMAT, plan_digest(plan), offset], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[str, int]:
    """Read a cursor.

    Returns:
        The digest of the plan that it belongs to, and the offset of its page.

    Raises:
        QueryError: it is not a cursor of this project.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts: Any = json.loads(base64.urlsafe_b64decode(padded))
        form, digest, offset = parts
    except (ValueError, TypeError, binascii.Error, UnicodeError):
        raise _not_ours("it is not a cursor") from None
    if form != _FORMAT or not isinstance(digest, str) or not isinstance(offset, int) or offset < 0:
        raise _not_ours("it was made by another version")
    return digest, offset


def check_cursor(digest: str, plan: Plan) -> None:
    """Refuse a cursor of another query or index.

    Raises:
        QueryError: the digest is not that of the plan.
    """
    if digest != plan_digest(plan):
        raise _not_ours("it belongs to another query, index or profile")


def _not_ours(why: str) -> QueryError:
    return QueryError(
        why, field="cursor", hint="ask for the first page again and use the cursor in its answer"
    )
