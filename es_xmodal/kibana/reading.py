"""What there is to look at in an index: asks the cluster, changes nothing."""

from __future__ import annotations

from typing import Any, Final

from es_xmodal.cluster.client import Client
from es_xmodal.cluster.search import search
from es_xmodal.index.target import find_indices, load_target
from es_xmodal.index.traps import walk
from es_xmodal.kibana.shown import Shown, shown_fields

_SAMPLE: Final = 50
_TIMEOUT_S: Final = 10.0


def read_shown(client: Client, name: str) -> tuple[Shown, bool | None]:
    """Tell what of an index people can look at.

    Args:
        client: see `connect`.
        name: alias of the index.

    Returns:
        Its fields, and whether the references of pictures are addresses of the web; None: no product has one.

    Raises:
        IndexMissingError: there is no such index.
        ForeignIndexError: neither ingest nor enrich made it.
        ClusterError: the cluster cannot be reached or refuses.
    """
    target = load_target(client, name)
    mappings = find_indices(client, target.index).get(target.index, {}).get("mappings") or {}
    fields = {field: str(one.get("type", "object")) for field, one in walk(mappings.get("properties") or {})}
    shop = target.meta.shop
    shown = shown_fields(fields, shop.paths if shop else None)
    if shown.picture is None:
        return shown, None
    body: dict[str, Any] = {"size": _SAMPLE, "_source": False, "fields": [shown.picture]}
    hits = search(client, name, body, timeout_s=_TIMEOUT_S)["hits"]["hits"]
    found = [str(one) for hit in hits for one in hit.get("fields", {}).get(shown.picture, [])]
    if not found:
        return shown, None
    web = sum(one.lower().startswith(("http://", "https://")) for one in found)
    return shown, 2 * web > len(found)
