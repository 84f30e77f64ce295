"""All saved objects of one index, and the lines that Kibana imports. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from es_xmodal.kibana.health import Watched, health_objects
from es_xmodal.kibana.objects import SavedObject, compact, data_view, session, stable_id
from es_xmodal.kibana.shown import SIDE_PX, Shown

_FIT = -1
"""Kibana's row height that shows a whole picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to be looked at."""

    alias: str
    shown: Shown
    pictures: bool
    """Whether the references of pictures can be shown: they are addresses, or there is a template."""
    template: str | None = None
    """Address of a picture; see `check_template`."""
    title: str | None = None
    """What the data view is called; None: the alias."""
    audit_index: str | None = None
    """Where ingests are recorded; None: there is no dashboard."""
    space: str = ""
    """Kibana's space; empty: the default one."""


def build_objects(wish: Wish, stages: Sequence[str]) -> list[SavedObject]:
    """Return every object, each after those that it refers to.

    Args:
        wish: of which index.
        stages: of an ingest; see `health_objects`.

    Returns:
        A data view of the products, a session with pictures, and the dashboard with all that it needs.
    """
    shown, title = wish.shown, wish.title or wish.alias
    view = data_view(
        stable_id(wish.space, "products", wish.alias),
        index=wish.alias,
        name=title,
        formats=shown.formats(pictures=wish.pictures, template=wish.template),
        hidden=shown.hidden,
    )
    pictures = bool(shown.picture and wish.pictures)
    products = session(
        stable_id(wish.space, "session", wish.alias),
        title=f"{title}: products",
        description="Picture, title and price of every product; vectors and tokens are hidden.",
        data_view_id=view["id"],
        columns=shown.columns,
        widths={str(shown.picture): 2 * SIDE_PX} if pictures else {},
        row_height=_FIT if pictures else None,
    )
    found = [view, products]
    if wish.audit_index is not None:
        watched = Watched(alias=wish.alias, audit_index=wish.audit_index, space=wish.space)
        found += health_objects(watched, stages)
    return found


def to_ndjson(objects: Sequence[SavedObject]) -> bytes:
    """Return the file that Kibana imports.

    Args:
        objects: see `build_objects`.

    Returns:
        UTF-8, an object a line.
    """
    return "".join(f"{compact(one)}\n" for one in objects).encode()
