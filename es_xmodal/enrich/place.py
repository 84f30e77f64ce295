"""The shop's index: found, looked at, and given the fields that searches need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal._version import __version__
from es_xmodal.catalog.renames import nearest
from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.encoders.base import EncoderInfo
from es_xmodal.enrich.layout import Layout, check_room, choose_layout, choose_paths
from es_xmodal.errors import (
    ClusterAnswerError,
    FingerprintMismatchError,
    ForeignIndexError,
    IndexBusyError,
    IndexStateError,
    SettingsError,
)
from es_xmodal.index.body import IndexOptions, build_body
from es_xmodal.index.builder import is_abandoned
from es_xmodal.index.combining import Combining, vector_fields
from es_xmodal.index.meta import KEY, Builder, EncoderMeta, IndexMeta, parse_meta
from es_xmodal.index.names import check_name
from es_xmodal.index.quantisation import AUTO, Choice, Facts, FieldFacts, choose, refusal
from es_xmodal.index.shop import ShopMeta
from es_xmodal.index.target import find_indices, missing_index
from es_xmodal.index.traps import walk
from es_xmodal.query.fields import OBJECT

ELSEWHERE = "--to NEW makes an index beside it that has the fields, and copies the documents there"
_BLOCKS = ("read_only", "read_only_allow_delete", "write", "metadata")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShopIndex:
    """One index of a shop, as it was found."""

    name: str
    """As the caller called it: the index or an alias."""
    index: str
    """Physical name."""
    body: Mapping[str, Any]
    """Its aliases, mappings, settings."""

    @property
    def mappings(self) -> Mapping[str, Any]:
        """The mappings; empty where there are none."""
        return self.body.get("mappings") or {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings below `index`."""
        return (self.body.get("settings") or {}).get("index") or {}

    @property
    def meta(self) -> IndexMeta | None:
        """What an enrichment wrote; None: none did.

        Raises:
            ForeignIndexError: an ingest of this project made the index.
            IndexStateError: the description is damaged, or of a later version of this project.
        """
        if KEY not in (self.mappings.get("_meta") or {}):
            return None
        meta = parse_meta(self.index, self.mappings)
        if meta.shop is None:
            raise ForeignIndexError(
                f"index {self.index} was made by an ingest and has all fields already",
                hint="bring it up to date with `es-xmodal ingest`",
            )
        return meta


def find_shop_index(client: Elasticsearch, name: str) -> ShopIndex:
    """Look up the shop's index.

    Args:
        client: see `connect`.
        name: the index, or an alias of one.

    Returns:
        What is there.

    Raises:
        SettingsError: the name can name no index.
        IndexMissingError: there is none.
        IndexStateError: it is several indices, or a data stream.
        ClusterError: the cluster cannot be reached or refuses.
    """
    found = find_indices(client, check_name(name))
    if not found:
        raise missing_index(client, name)
    stream = next((body["data_stream"] for body in found.values() if body.get("data_stream")), None)
    if stream:
        raise IndexStateError(
            f"{name} is the data stream {stream}, whose documents are never changed",
            hint="enrich an index of products",
        )
    if len(found) > 1:
        raise IndexStateError(
            f"alias {name} stands for {len(found)} indices: {', '.join(sorted(found))}",
            hint="enrich them one by one, by their own names",
        )
    ((index, body),) = found.items()
    return ShopIndex(name=name, index=index, body=body)


def check_open(shop: ShopIndex) -> None:
    """Refuse an index that takes no writes.

    Raises:
        IndexStateError: it is blocked.
    """
    blocks = shop.settings.get("blocks") or {}
    closed = [name for name in _BLOCKS if str(blocks.get(name, "false")).lower() == "true"]
    if closed:
        raise IndexStateError(
            f"index {shop.index} is closed to writers by index.blocks.{closed[0]}",
            hint=f"set it to false (PUT {shop.index}/_settings), or use --to NEW",
        )


def check_source(shop: ShopIndex) -> None:
    """Refuse an index whose documents cannot be added to, or copied, without loss.

    Raises:
        IndexStateError: its mapping does not keep the documents, or only in part.
    """
    source = shop.mappings.get("_source") or {}
    if source.get("enabled") is False:
        raise IndexStateError(
            f"index {shop.index} does not keep its documents (_source is disabled), so nothing can be added",
            hint="index the products anew with _source, then enrich that index",
        )
    partly = next((name for name in ("includes", "excludes") if source.get(name)), None)
    if partly:
        raise IndexStateError(
            f"index {shop.index} keeps its documents in part only (_source.{partly}): a write to one would"
            " lose the shop's own fields",
            hint="index the products anew without it, then enrich that index",
        )


def check_since(shop: ShopIndex, since: tuple[str, str] | None) -> None:
    """Refuse to look by a field that there is not: no document would be found, and none be missed.

    Args:
        shop: the index.
        since: field and least value; None: nothing to check.

    Raises:
        SettingsError: the index has no such field.
    """
    fields = dict(walk(shop.mappings.get("properties") or {}))
    if since and since[0] not in fields:
        near = nearest(since[0], fields)
        hint = f"the nearest is {near}" if near else "name a date or a number"
        raise SettingsError(f"--since-field: index {shop.index} has no field {since[0]}", hint=hint)


def plan_layout(
    client: Elasticsearch,
    shop: ShopIndex,
    *,
    template: Mapping[str, Any],
    encoder: EncoderInfo,
    asked: Mapping[str, str],
    vector_index: str,
) -> tuple[Layout, Choice]:
    """Choose the fields to read and to add.

    Args:
        client: see `connect`.
        shop: the index.
        template: `mappings/product.json`.
        encoder: whose spaces get fields.
        asked: field of the catalogue format to the shop's; what is not named is as last time.
        vector_index: a kind of vector index, or `auto`.

    Returns:
        The layout, and the kind of vector index.

    Raises:
        SettingsError: no such field, none for the title, or the server does not take the kind.
        IndexStateError: the mapping has something else under our name.
        ClusterError: the cluster cannot be reached or refuses.
    """
    before = shop.meta.shop if shop.meta else None
    paths = choose_paths(shop.index, {**(before.paths if before else {}), **asked}, shop.mappings)
    choice = _kind(client, shop, encoder, vector_index)
    body = build_body(template, encoder=encoder, options=IndexOptions(vector_index=choice.type))
    layout = choose_layout(paths, shop.mappings, body["mappings"]["properties"])
    check_room(shop.index, shop.mappings, layout)
    return layout, choice


def _kind(client: Elasticsearch, shop: ShopIndex, encoder: EncoderInfo, asked: str) -> Choice:
    there = _kind_there(shop)
    if there:
        if asked in (AUTO, there):
            return Choice(type=there, reason="what the index has")
        raise IndexStateError(
            f"index {shop.index} has vectors of the kind {there}, which cannot become {asked}",
            hint=ELSEWHERE,
        )
    able = probe(client)
    with cluster_errors(client, f"counting the documents of {shop.index}"):
        count = int(client.count(index=shop.index).body["count"])
    fields = vector_fields(Combining(), encoder.spaces, encoder.text_space).values()
    facts = Facts(
        fields=tuple(
            FieldFacts(name=one.path, dims=one.dim, vectors=count, nested="." in one.path) for one in fields
        ),
        version=able.version,
        license=able.active_license,
        several_pictures=True,
    )
    if asked == AUTO:
        return choose(facts)
    reason = refusal(asked, facts)
    if reason:
        raise IndexStateError(f"vector_index {asked} {reason}", hint="auto takes what the server has")
    return Choice(type=asked, reason="asked for")


def _kind_there(shop: ShopIndex) -> str | None:
    """Also of an index whose enrichment was undone: its mapping stays."""
    ours = ((shop.mappings.get("properties") or {}).get(OBJECT) or {}).get("properties") or {}
    images = (ours.get("images") or {}).get("properties") or {}
    options = [one.get("index_options") or {} for one in (*ours.values(), *images.values())]
    return next((str(one["type"]) for one in options if "type" in one), None)


def next_meta(
    shop: ShopIndex,
    *,
    layout: Layout,
    encoder: EncoderInfo,
    text_fingerprint: str,
    builder: Builder,
    whole: bool,
) -> IndexMeta:
    """Say what the index will be.

    Args:
        shop: as it was found.
        layout: see `plan_layout`.
        encoder: of this run.
        text_fingerprint: of the tokeniser of this run.
        builder: this run.
        whole: nothing of an earlier walk counts.

    Returns:
        The description: that of an earlier run as far as it still holds, else a new one.

    Raises:
        FingerprintMismatchError: an earlier run had another encoder or tokeniser.
        IndexBusyError: another process is enriching the index.
    """
    before = shop.meta
    now = time.time()
    if before is None:
        return IndexMeta(
            index=shop.index,
            version=__version__,
            state="building",
            encoder=EncoderMeta.of(encoder),
            text_fingerprint=text_fingerprint,
            layout=layout.digest,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            lease=now,
            builder=builder,
            shop=ShopMeta(paths=layout.paths, own=layout.own),
        )
    if before.state == "building" and not is_abandoned(before):
        raise IndexBusyError(
            f"index {shop.index} is being enriched by process {before.builder.pid} on {before.builder.host}",
            hint="wait for it or stop it, then run the same command again",
        )
    _check_prints(before, encoder.fingerprint, text_fingerprint)
    same = before.layout == layout.digest and before.shop is not None
    walked = before.shop.walked if before.shop and same and not whole else None
    return replace(
        before,
        layout=layout.digest,
        lease=now,
        builder=builder,
        shop=ShopMeta(paths=layout.paths, own=layout.own, walked=walked),
    )


def _check_prints(before: IndexMeta, encoder: str, text: str) -> None:
    try:
        before.check_encoder(encoder)
        before.check_text(text)
    except FingerprintMismatchError as error:
        error.hint = f"use the {error.part} of the index; {ELSEWHERE}"
        raise


def add_fields(client: Elasticsearch, shop: ShopIndex, layout: Layout, meta: IndexMeta) -> None:
    """Add our one field to the mapping, and our description beside the shop's own `_meta`.

    Args:
        client: see `connect`.
        shop: the index.
        layout: what is added.
        meta: what the index says about itself from now on.

    Raises:
        IndexStateError: the mapping cannot take the fields.
        ClusterError: the cluster cannot be reached or refuses.
    """
    properties = {OBJECT: {"type": "object", "dynamic": "strict", "properties": dict(layout.properties)}}
    try:
        with cluster_errors(client, f"adding the field {OBJECT} to the mapping of {shop.index}"):
            client.indices.put_mapping(
                index=shop.index, properties=properties, meta=merged_meta(client, shop.index, meta)
            )
    except ClusterAnswerError as error:
        raise _no_room(shop, error) from error


def write_meta(client: Elasticsearch, index: str, meta: IndexMeta | None) -> None:
    """Write our description, and leave the rest of `_meta` as it is.

    Args:
        client: see `connect`.
        index: physical name.
        meta: the description; None: it goes.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"writing _meta of {index}"):
        client.indices.put_mapping(index=index, meta=merged_meta(client, index, meta))


def merged_meta(client: Elasticsearch, index: str, meta: IndexMeta | None) -> dict[str, Any]:
    """`PUT _mapping` replaces the whole of `_meta`, so what the shop has there is read first."""
    answer = client.indices.get_mapping(index=index).body
    there = (answer[index]["mappings"].get("_meta") or {}) if index in answer else {}
    rest = {name: value for name, value in there.items() if name != KEY}
    return rest if meta is None else {**rest, KEY: meta.to_json()}


_LIMITS = {
    "total fields": "index.mapping.total_fields.limit",
    "nested fields": "index.mapping.nested_fields.limit",
    "depth": "index.mapping.depth.limit",
}


def _no_room(shop: ShopIndex, error: ClusterAnswerError) -> IndexStateError:
    limit = next((name for words, name in _LIMITS.items() if f"Limit of {words}" in error.message), None)
    if limit:
        return IndexStateError(
            f"the mapping of index {shop.index} has no room for the fields of {OBJECT}: {error.message}",
            hint=f"raise {limit} (PUT {shop.index}/_settings); {ELSEWHERE}",
        )
    return IndexStateError(
        f"the mapping of index {shop.index} cannot take the fields of {OBJECT}: {error.message}",
        hint=ELSEWHERE,
    )
