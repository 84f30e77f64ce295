"""Search by words, by photo, or by both, in the Elasticsearch a shop already runs.

    from es_xmodal import Shop

    with Shop("http://127.0.0.1:9200", index="products") as shop:
        for hit in shop.search("red mug", images=["photo.jpg"], filters=["price<=20"]).hits:
            print(hit.rank, hit.score, hit.source["title"])

Importing this package loads nothing heavy; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from es_xmodal._version import __version__

if TYPE_CHECKING:
    from es_xmodal.errors import XModalError
    from es_xmodal.query.filters import Filter
    from es_xmodal.query.model import Query
    from es_xmodal.search.result import Hit, SearchResult
    from es_xmodal.settings import Settings
    from es_xmodal.shop import Shop

__all__ = ["Filter", "Hit", "Query", "SearchResult", "Settings", "Shop", "XModalError", "__version__"]

_HOMES = {
    "Filter": "es_xmodal.query.filters",
    "Hit": "es_xmodal.search.result",
    "Query": "es_xmodal.query.model",
    "SearchResult": "es_xmodal.search.result",
    "Settings": "es_xmodal.settings",
    "Shop": "es_xmodal.shop",
    "XModalError": "es_xmodal.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
