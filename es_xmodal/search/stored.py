"""What the index holds of a product: its document, and its vectors where a query names it ("like these")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from es_xmodal.catalog.shop import shop_document
from es_xmodal.errors import QueryError
from es_xmodal.index.fused import Fusing
from es_xmodal.index.target import Target
from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.legs import VECTOR_FIELDS, fields_of
from es_xmodal.query.model import Query
from es_xmodal.query.profile import FUSED
from es_xmodal.query.terms import Term
from es_xmodal.vectors import Vector, unit_rows

_SHOWN = 5


def document_of(target: Target, hit: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the document of a hit in the form of an index of our own.

    Args:
        target: the index.
        hit: with its `_source`.
    """
    source: Mapping[str, Any] = hit["_source"]
    shop = target.meta.shop
    return source if shop is None else shop_document(source, id_=hit["_id"], paths=shop.paths)


def named_products(query: Query) -> list[str]:
    """The products that a query names, wanted or to be moved away from, each once."""
    terms = (one for one in (*query.like, *query.minus) if isinstance(one, Term) and one.kind == "id")
    return list(dict.fromkeys(str(term.value) for term in terms))


def stored_request(
    products: Sequence[str], fields: Mapping[str, str], names: Fields = OUR_OWN
) -> dict[str, Any]:
    """The body that reads vectors.

    `fields` gives them in the same form on every server; `_source` hides them from Elasticsearch 9.2 on.

    Args:
        products: ids.
        fields: the index's fields.
        names: what they are called in this index.
    """
    return {
        "query": {"ids": {"values": list(products)}},
        "size": len(products),
        "_source": False,
        "fields": [names.at(path) for path in fields_of(fields).values()],
    }


def read_stored(
    answer: Mapping[str, Any],
    query: Query,
    paths: Mapping[str, str] = VECTOR_FIELDS,
    fusing: Fusing | None = None,
    names: Fields = OUR_OWN,
) -> dict[str, dict[str, Vector]]:
    """Read the answer.

    A product with several pictures has the mean of their vectors: they are views of one thing.

    Args:
        answer: the answer to `stored_request`.
        query: the query, whose products must all be there.
        paths: leg to its field.
        fusing: how queries meet the one vector of a product, where the index has such a field.
        names: what the index calls its fields.

    Returns:
        Product to leg to unit vector.

    Raises:
        QueryError: a product is not in the index, or it has no vector; the message names it.
    """
    hits = answer["hits"]["hits"]
    found = {hit["_id"]: _vectors(hit.get("fields", {}), paths, fusing, names) for hit in hits}
    for place, terms in (("like", query.like), ("minus", query.minus)):
        ids = [str(one.value) for one in terms if isinstance(one, Term) and one.kind == "id"]
        missing = [one for one in ids if one not in found]
        if missing:
            raise QueryError(f"not in the index: {_names(missing)}", field=place, hint="check the id")
        bare = [one for one in ids if not found[one]]
        if bare:
            raise QueryError(
                f"neither a picture nor a text vector to compare with: {_names(bare)}", field=place
            )
    return found


def _names(products: Sequence[str]) -> str:
    shown = ", ".join(repr(one if len(one) <= 80 else f"{one[:80]}…") for one in products[:_SHOWN])
    more = len(products) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _vectors(
    fields: Mapping[str, Any], paths: Mapping[str, str], fusing: Fusing | None, names: Fields
) -> dict[str, Vector]:
    vectors = {}
    for leg, path in paths.items():
        part, _, inner = path.partition(".")
        outer = names.at(part)
        if inner:
            rows = [image[inner] for image in fields.get(outer, []) if image.get(inner)]
        else:
            rows = [fields[outer]] if fields.get(outer) else []
        if rows:
            units = unit_rows(np.array(rows, dtype=np.float64))
            vectors[leg] = unit_rows(units.mean(axis=0, keepdims=True))[0]
    if fusing and FUSED in vectors:
        bare = fusing.of_product(vectors.pop(FUSED))
        vectors |= {} if bare is None else {FUSED: bare}
    return vectors
