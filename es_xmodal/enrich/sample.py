"""Products of the index itself, to calibrate with: the same ones whatever way the index came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from es_xmodal.catalog.product import Product
from es_xmodal.catalog.shop import read_shop
from es_xmodal.cluster.search import search
from es_xmodal.encoders.base import JOINT, VISUAL
from es_xmodal.index.shop import ShopMeta
from es_xmodal.ingest.calibrate import SAMPLE, Sampled
from es_xmodal.vectors import Vector

_PAGE = 64
_TIMEOUT_S = 60.0


def sample_index(client: Elasticsearch, index: str, shop: ShopMeta, vectors: Sequence[str]) -> list[Sampled]:
    """Read an even sample of an enriched index.

    A row's hash depends on its content alone and looks random, so the products with the lowest hashes are an
    even sample, and a run that was killed and resumed calibrates as one that was not.

    Args:
        client: see `connect`.
        index: physical name.
        shop: how its documents read as products.
        vectors: parts of a product that are vector fields, such as `images.joint`.

    Returns:
        At most `SAMPLE` products.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    names = shop.fields
    body: dict[str, Any] = {
        "query": {"exists": {"field": names.at("row_hash")}},
        "size": _PAGE,
        "sort": [{names.at("row_hash"): "asc"}, {names.ties: "asc"}],
        "_source": list(dict.fromkeys(shop.paths.values())),
        "fields": [names.at(part) for part in vectors],
        "track_total_hits": False,
    }
    sample: list[Sampled] = []
    for _ in range(SAMPLE // _PAGE):
        hits = search(client, index, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]
        found = (_sampled(hit, shop) for hit in hits)
        sample += [one for one in found if one is not None]
        if len(hits) < _PAGE:
            break
        body["search_after"] = hits[-1]["sort"]
    return sample


def _sampled(hit: Mapping[str, Any], shop: ShopMeta) -> Sampled | None:
    product = read_shop(hit["_source"], id_=hit["_id"], line=0, paths=shop.paths)
    if not isinstance(product, Product):
        return None  # the shop made it unreadable since it was enriched
    fields, names = hit.get("fields", {}), shop.fields
    picture: Mapping[str, Any] = next(
        (one for one in fields.get(names.at("images"), ()) if one.get(JOINT) or one.get(VISUAL)), {}
    )
    joint = _vector(picture.get(JOINT))
    visual = _vector(picture.get(VISUAL))
    return Sampled(
        group=product.group_id or hit["_id"],
        title=product.title,
        text=_vector(fields.get(names.at("text_vector"))),
        joint=joint,
        visual=joint if visual is None else visual,
    )


def _vector(numbers: Sequence[float] | None) -> Vector | None:
    return np.array(numbers, dtype=np.float32) if numbers else None
