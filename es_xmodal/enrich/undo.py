"""Undo: what an enrichment wrote goes, as far as Elasticsearch allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elasticsearch import BadRequestError, Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.enrich.move import Mover
from es_xmodal.enrich.pace import Pace
from es_xmodal.enrich.place import ShopIndex, check_open, find_shop_index, write_meta
from es_xmodal.enrich.walk import Seen, read_shard
from es_xmodal.errors import IndexBusyError, IndexStateError
from es_xmodal.index.builder import is_abandoned
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.sender import Item, SenderOptions
from es_xmodal.query.fields import OBJECT

_SCRIPT = {"script": {"lang": "painless", "source": f"ctx._source.remove('{OBJECT}')"}}
_NULL = {"doc": {OBJECT: None}}
_OURS = {"exists": {"field": f"{OBJECT}.row_hash"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoReport:
    """What was taken back, and what stays."""

    index: str
    name: str
    undone: int
    """Documents that have nothing of ours to search any more."""
    script: bool
    """Whether the field is gone from the documents; False: it is there with the value null."""

    @property
    def left(self) -> list[str]:
        """What Elasticsearch does not let go of."""
        found = [f"the empty field {OBJECT} in the mapping: a mapping never loses a field"]
        if self.undone and not self.script:
            found.append(f"`{OBJECT}: null` in the documents: this server runs no scripts to take out a key")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        return {
            "undone": self.undone,
            "index": self.index,
            "alias": self.name,
            "key_removed": self.script,
            "left": self.left,
        }


def run_undo(
    client: Elasticsearch,
    name: str,
    *,
    docs_per_second: float | None = None,
    options: SenderOptions | None = None,
) -> UndoReport:
    """Take back what enrichments wrote.

    The description goes first, so that no search meets a half of it; then our field of every document. Where
    the server runs scripts, the key itself is taken out, else its value becomes null: writing whole documents
    anew would put the shop's own fields at risk.

    Args:
        client: see `connect`.
        name: the shop's index, or an alias of one.
        docs_per_second: documents that are written a second, at most.
        options: how documents are sent.

    Returns:
        What was done.

    Raises:
        IndexStateError: it was never enriched, or an enrichment is running.
        ClusterError: the cluster cannot be reached or refuses; run it again to go on.
    """
    shop = find_shop_index(client, name)
    _check(shop)
    check_open(shop)
    write_meta(client, shop.index, None)
    with cluster_errors(client, f"refreshing {shop.index}"):
        client.indices.refresh(index=shop.index)
    script = _takes_scripts(client, shop)
    body = dump_json(_SCRIPT if script else _NULL)
    pace = Pace(docs_per_second)

    def make(one: Seen) -> Item:
        pace.take()
        return Item(row=one, id=one.id, body=body, kind="update", meta=one.meta)

    mover = Mover(
        client,
        source=shop.index,
        target=shop.index,
        includes=[],
        make=make,
        options=options or SenderOptions(),
    )
    mover.move(lambda shard: _OURS)
    with cluster_errors(client, f"refreshing {shop.index}"):
        client.indices.refresh(index=shop.index)
    undone = mover.counts["written"] + (1 if script else 0)
    return UndoReport(index=shop.index, name=name, undone=undone, script=script)


def _check(shop: ShopIndex) -> None:
    meta = shop.meta
    if meta is None and "row_hash" not in (_ours(shop).get("properties") or {}):
        raise IndexStateError(f"index {shop.index} was never enriched, so there is nothing to undo")
    if meta is not None and meta.state == "building" and not is_abandoned(meta):
        raise IndexBusyError(
            f"index {shop.index} is being enriched by process {meta.builder.pid} on {meta.builder.host}",
            hint="wait for it or stop it, then run the same command again",
        )


def _ours(shop: ShopIndex) -> dict[str, Any]:
    found = (shop.mappings.get("properties") or {}).get(OBJECT)
    return found if isinstance(found, dict) else {}


def _takes_scripts(client: Elasticsearch, shop: ShopIndex) -> bool:
    """Try it on one document; whatever keeps scripts away says so with a 400."""
    first = next(_enriched(client, shop), None)
    if first is None:
        return False
    with cluster_errors(client, f"writing to {shop.index}"):
        try:
            client.update(
                index=shop.index,
                id=first.id,
                routing=first.routing,
                retry_on_conflict=3,
                script=_SCRIPT["script"],
            )
        except BadRequestError:
            return False
    return True


def _enriched(client: Elasticsearch, shop: ShopIndex) -> Iterator[Seen]:
    shards = int(shop.settings.get("number_of_shards", 1))
    for shard in range(shards):
        yield from read_shard(client, shop.index, shard, _OURS, [])
