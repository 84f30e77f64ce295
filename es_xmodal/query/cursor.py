"""The opaque cursor: where the next page starts, of which query, and of which state of the index."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from es_xmodal.errors import QueryError
from es_xmodal.query.legs import Leg, LexicalLeg
from es_xmodal.query.plan import Plan

_FORMAT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """The state of an index that a walk through pages reads.

    Attributes:
        index: physical name.
        point: id of the point in time.
    """

    index: str
    point: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """What a cursor says.

    Attributes:
        digest: of the plan that it belongs to.
        offset: hits before its page.
        held: what the pages are held on; None: each page reads the index as it then is.
    """

    digest: str
    offset: int
    held: Held | None = None


def plan_digest(plan: Plan) -> str:
    """What a cursor must agree with: index, profile, legs, filters, window, order; not page and facets."""
    legs = [_leg_shape(leg) for leg in plan.legs]
    shape = [plan.alias, plan.fusion, plan.window, plan.filters, legs, plan.order, plan.collapse]
    shape.append(plan.profile.digest)
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def _leg_shape(leg: Leg) -> list[Any]:
    what = leg.clause if isinstance(leg, LexicalLeg) else hashlib.sha256(leg.vector.tobytes()).hexdigest()
    return [leg.name, leg.weight, what]


def write_cursor(plan: Plan, *, offset: int, held: Held | None = None) -> str:
    """Write the cursor of the page that starts after `offset` hits."""
    state = [held.index, held.point] if held else []
    text = json.dumps([_FORMAT, plan_digest(plan), offset, *state], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, *, hold: bool = False) -> Cursor:
    """Read a cursor.

    Args:
        cursor: as it was given.
        hold: it must be that of a page that was held.

    Returns:
        What it says.

    Raises:
        QueryError: it is not a cursor of this project, or its page was not held.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts: Any = json.loads(base64.urlsafe_b64decode(padded))
        form, digest, offset, *state = parts
    except (ValueError, TypeError, binascii.Error, UnicodeError):
        raise _not_ours("it is not a cursor") from None
    if form != _FORMAT or not isinstance(digest, str) or type(offset) is not int or offset < 0:
        raise _not_ours("it was made by another version")
    if len(state) not in (0, 2) or not all(isinstance(one, str) and one for one in state):
        raise _not_ours("it is not a cursor")
    if hold and not state:
        raise _not_ours("the page that it comes from was not held")
    held = Held(index=state[0], point=state[1]) if state else None
    return Cursor(digest=digest, offset=offset, held=held)


def check_cursor(digest: str, plan: Plan) -> None:
    """Refuse a cursor of another query or index.

    Raises:
        QueryError: the digest is not that of the plan.
    """
    if digest != plan_digest(plan):
        raise _not_ours("it belongs to another query, index or profile")


def not_held_any_more() -> QueryError:
    """The error for a cursor whose state of the index is gone."""
    return _not_ours("the state of the index that its pages are held on is no longer kept")


def _not_ours(why: str) -> QueryError:
    return QueryError(
        why, field="cursor", hint="ask for the first page again and use the cursor in its answer"
    )
