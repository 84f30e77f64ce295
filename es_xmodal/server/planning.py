"""The requests of a search, for a person who wants to see them."""

from __future__ import annotations

from typing import Any

from es_xmodal.query.console import console_text
from es_xmodal.query.model import Query
from es_xmodal.shop import Shop


def planned(shop: Shop, query: Query, cursor: str | None) -> dict[str, Any]:
    """Plan a search.

    Args:
        shop: the index.
        query: what was asked.
        cursor: of the page before.

    Returns:
        As `es-xmodal plan --json`, and the text for Kibana's Console.

    Raises:
        XModalError: see `Shop.plan`.
    """
    found = shop.plan(query, cursor=cursor)
    return {
        "fusion": found.plan.fusion,
        "composition": found.plan.composition,
        "legs": [{"name": leg.name, "weight": leg.weight} for leg in found.plan.legs],
        "requests": [
            {
                "index": shop.index,
                "endpoint": one.endpoint,
                "params": dict(one.params),
                "bodies": list(one.bodies),
            }
            for one in found.requests
        ],
        "console": "\n\n".join(console_text(shop.index, one) for one in found.requests),
        "warnings": list(found.plan.warnings),
    }
