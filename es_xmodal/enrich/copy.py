"""A copy of the shop's index with room for our fields: its mapping, its settings, all its documents."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import search
from es_xmodal.enrich.move import Mover
from es_xmodal.enrich.pace import Pace
from es_xmodal.enrich.place import ShopIndex
from es_xmodal.enrich.walk import Includes, Seen, read_shard
from es_xmodal.errors import ClusterAnswerError, IndexStateError
from es_xmodal.index.following import Marks
from es_xmodal.index.marks import take_marks
from es_xmodal.index.meta import KEY
from es_xmodal.index.names import check_name
from es_xmodal.index.target import find_indices
from es_xmodal.index.traps import walk
from es_xmodal.ingest.ahead import batched
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.sender import Item, SenderOptions
from es_xmodal.query.fields import OBJECT

COPY = f"{OBJECT}_copy"
"""Key of `_meta` of an index that is made as a copy: of which one, and up to where."""
_NOT_COPIED = ("uuid", "creation_date", "provided_name", "version", "resize", "blocks", "history_uuid")
_ROOM = 200
"""Fields that a mapping takes more than it has, at least."""
_TIMEOUT_S = 60.0
_PAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What a copying did."""

    written: int
    deleted: int
    """Documents that the shop deleted since they were copied."""


def copy_body(shop: ShopIndex) -> dict[str, Any]:
    """Settings and mappings of the copy; pure.

    Args:
        shop: the index.

    Returns:
        The shop's own, with room for more fields, without a description or a field of ours.
    """
    settings = {
        name: one for name, one in copy.deepcopy(dict(shop.settings)).items() if name not in _NOT_COPIED
    }
    (settings.get("routing") or {}).get("allocation", {}).pop("initial_recovery", None)
    mappings = copy.deepcopy(dict(shop.mappings))
    properties = mappings.get("properties") or {}
    properties.pop(OBJECT, None)
    (mappings.get("_meta") or {}).pop(KEY, None)
    limits = settings.setdefault("mapping", {})
    count = sum(1 for _ in walk(properties)) + _ROOM
    nested = sum(1 for _, one in walk(properties) if one.get("type") == "nested") + 1
    for name, least, usual in (("total_fields", count, 1000), ("nested_fields", nested, 100)):
        limit = limits.setdefault(name, {})
        limit["limit"] = max(least, int(limit.get("limit", usual)))
    return {"settings": {"index": settings}, "mappings": mappings}


class Copy:
    """One copy of an index, begun or gone on with.

    Args:
        client: see `connect`.
        shop: the index that is copied.
        name: of the copy.
        docs_per_second: documents that are written a second, at most.
        options: how documents are sent.

    Raises:
        SettingsError: the name can name no index.
        IndexStateError: there is an index of that name that is no copy of this one.
        ClusterError: the cluster cannot be reached or refuses.
    """

    def __init__(
        self,
        client: Elasticsearch,
        shop: ShopIndex,
        name: str,
        *,
        docs_per_second: float | None,
        options: SenderOptions,
    ) -> None:
        self._client, self._shop, self._name = client, shop, check_name(name)
        self._options = options
        self._pace = Pace(docs_per_second)
        self._uuid = str(shop.settings.get("uuid", ""))
        self._marks = self._begin()

    def run(self) -> Copied:
        """Copy what was written since the last time, and delete what is gone; all of it the first time.

        Raises:
            ClusterError: the cluster cannot be reached or refuses; run it again to go on.
        """

        def make(one: Seen) -> Item:
            self._pace.take()
            meta = {"pipeline": "_none"} | ({"routing": one.routing} if one.routing else {})
            source = {name: value for name, value in one.source.items() if name != OBJECT}
            return Item(row=one, id=one.id, body=dump_json(source), meta=meta)

        mover = Mover(
            self._client,
            source=self._shop.index,
            target=self._name,
            includes=self._everything(),
            make=make,
            options=self._options,
        )
        before = self._marks
        self._remember(before)  # not closed: where this run is killed, what it wrote is its own
        self._marks = mover.move(lambda shard: _later(before, shard), before=before, told=self._remember)
        self._remember(self._marks)
        return Copied(written=mover.counts["written"], deleted=self._delete_gone())

    def _begin(self) -> Marks | None:
        found = find_indices(self._client, self._name)
        if not found:
            body = copy_body(self._shop)
            meta = body["mappings"].get("_meta") or {}
            body["mappings"]["_meta"] = {**meta, COPY: self._marker(None, None)}
            with cluster_errors(self._client, f"creating index {self._name}"):
                self._client.indices.create(index=self._name, **body)
            return None
        marker = ((found.get(self._name) or {}).get("mappings") or {}).get("_meta", {}).get(COPY)
        if not marker or marker.get("uuid") != self._uuid:
            raise IndexStateError(
                f"--to {self._name}: there is an index of that name, and it is no copy of {self._shop.index}",
                hint="choose a name that is free",
            )
        left = marker.get("left")
        if left and left != take_marks(self._client, self._name, "max_seq_no").to_json():
            raise IndexStateError(
                f"--to {self._name}: it was written by others since it was made, so it is no copy any more",
                hint=f"enrich {self._name} by its own name; what is in it stays",
            )
        return Marks.from_json(marker["walked"]) if marker.get("walked") else None

    def close(self) -> None:
        """Note that the copy is as it should be, so that a later run can tell whether others wrote to it.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """
        self._remember(self._marks, left=take_marks(self._client, self._name, "max_seq_no"))

    def _remember(self, marks: Marks | None, left: Marks | None = None) -> None:
        with cluster_errors(self._client, f"writing _meta of {self._name}"):
            answer = self._client.indices.get_mapping(index=self._name).body
            there = answer[self._name]["mappings"].get("_meta") or {}
            meta = {**there, COPY: self._marker(marks, left)}
            self._client.indices.put_mapping(index=self._name, meta=meta)

    def _marker(self, walked: Marks | None, left: Marks | None) -> dict[str, Any]:
        return {
            "of": self._shop.index,
            "uuid": self._uuid,
            "walked": walked.to_json() if walked else None,
            "left": left.to_json() if left else None,
        }

    def _everything(self) -> Includes:
        """From 9.2 on `_source` is shown without vectors, unless they are asked for."""
        return {"exclude_vectors": False} if probe(self._client).version >= (9, 2, 0) else ["*"]

    def _delete_gone(self) -> int:
        """Only where the numbers differ: it looks at every id of the copy."""
        count = self._count
        with cluster_errors(self._client, f"refreshing {self._name}"):
            self._client.indices.refresh(index=self._name)
        if count(self._name) <= count(self._shop.index):
            return 0
        gone = 0
        for page in batched(self._ids(), _PAGE):
            routed = [{"_id": one.id, **({"routing": one.routing} if one.routing else {})} for one in page]
            with cluster_errors(self._client, f"comparing {self._name} with {self._shop.index}"):
                docs = [{**one, "_source": False} for one in routed]
                found = self._client.mget(index=self._shop.index, docs=docs).body["docs"]
                lines = [
                    {"delete": at} for at, one in zip(routed, found, strict=True) if not one.get("found")
                ]
                if lines and self._client.bulk(index=self._name, operations=lines).body["errors"]:
                    raise ClusterAnswerError(f"deleting from {self._name}: not everything could be deleted")
            gone += len(lines)
        return gone

    def _ids(self) -> Iterator[Seen]:
        for shard in range(int(self._shop.settings.get("number_of_shards", 1))):
            yield from read_shard(self._client, self._name, shard, {"match_all": {}}, [])

    def _count(self, index: str) -> int:
        body = {"size": 0, "track_total_hits": True}
        return int(search(self._client, index, body, timeout_s=_TIMEOUT_S)["hits"]["total"]["value"])


def move_alias(client: Elasticsearch, shop: ShopIndex, new: str) -> str | None:
    """Let the shop's alias stand for the copy.

    Args:
        client: see `connect`.
        shop: the index that was copied, by the name that the caller gave.
        new: the copy.

    Returns:
        The alias that moved; None: the caller named the index itself, so no alias is known to be meant.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    if shop.name == shop.index:
        return None
    alias: Mapping[str, Any] = (shop.body.get("aliases") or {}).get(shop.name) or {}
    known = ("filter", "routing", "index_routing", "search_routing", "is_write_index", "is_hidden")
    kept = {name: alias[name] for name in known if name in alias}
    with cluster_errors(client, f"moving alias {shop.name} to {new}"):
        client.indices.update_aliases(
            actions=[
                {"remove": {"index": shop.index, "alias": shop.name}},
                {"add": {"index": new, "alias": shop.name, **kept}},
            ]
        )
    return shop.name


def _later(marks: Marks | None, shard: int) -> dict[str, Any]:
    return {"match_all": {}} if marks is None else {"range": {"_seq_no": {"gt": marks.numbers[shard]}}}
