"""Rows that come from an index, in place of a catalogue: its documents hold whole rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from elasticsearch import Elasticsearch

from es_xmodal.catalog.deletion import FIELD
from es_xmodal.catalog.document import from_document
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.row import parse_row
from es_xmodal.index.marks import read_all

STORED: Final = (
    *("id", "title", "titles", "description", "descriptions", "brand", "category", "price", "currency"),
    *("url", "group_id", "available", "identifiers", "attributes", "extra"),
    *("images.ref", "images.role", "images.weight"),
)
"""Fields of a document that a row is made of."""


def rows_of_index(client: Elasticsearch, index: str) -> Iterator[Product | Reject]:
    """Read all rows of an index, as it is at the beginning.

    Args:
        client: see `connect`.
        index: physical name, refreshed.

    Yields:
        Products, numbered from 1; rejects where a document is no row, since others may write there too.

    Raises:
        ClusterError: the cluster cannot be reached, refuses, or answers in part only.
    """
    hits = (hit for page in read_all(client, index, {"match_all": {}}, STORED) for hit in page)
    return products_of(hits)


def products_of(hits: Iterable[Mapping[str, Any]]) -> Iterator[Product | Reject]:
    """Turn documents back into rows.

    Args:
        hits: with `_id`, `_version` and the fields `STORED` of `_source`.

    Yields:
        Products that carry the version of their document, so that rows which are older than it stay so.
    """
    for line, hit in enumerate(hits, start=1):
        row = {name: value for name, value in from_document(hit["_source"]).items() if name != FIELD}
        found = parse_row(row, line=line)
        if isinstance(found, Product):
            yield replace(found, id=hit["_id"], version=hit["_version"])
        else:
            reason = found.reason if isinstance(found, Reject) else "wrong_type: it is no product"
            field = found.field if isinstance(found, Reject) else None
            yield Reject(line=line, id=hit["_id"], stage="row", field=field, reason=reason, row=row)
