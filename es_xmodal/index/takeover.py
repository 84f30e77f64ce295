"""A version that a dead process left half built is gone on with, where it would be built the same today.

The half-built index is its own checkpoint: it holds what the cluster confirmed and nothing else, so that no
second record of progress can contradict it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elasticsearch import Elasticsearch

from es_xmodal._version import __version__
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import ClusterAnswerError, IndexBusyError
from es_xmodal.index.aliases import move_aliases
from es_xmodal.index.body import layout_of
from es_xmodal.index.builder import is_abandoned
from es_xmodal.index.meta import KEY, Builder, IndexMeta
from es_xmodal.index.names import writer_alias
from es_xmodal.index.target import find_indices
from es_xmodal.index.versions import Version

if TYPE_CHECKING:
    from es_xmodal.index.lifecycle import Blueprint


def half_built(client: Elasticsearch, versions: Sequence[Version], blueprint: Blueprint) -> IndexMeta | None:
    """Find the newest version that can be gone on with.

    Args:
        client: see `connect`.
        versions: of the index.
        blueprint: what would be built today.

    Returns:
        What it says about itself; None: there is none, or it was built otherwise.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    serving = max((one.number or 0 for one in versions if one.serving), default=0)
    for one in reversed(versions):
        if one.number is None or one.number <= serving or one.meta is None:
            continue  # rollback goes to a lower number: what is older must not serve after what is newer
        if is_abandoned(one.meta) and _same(one.meta, blueprint):
            found = find_indices(client, one.index).get(one.index)
            if found and _is_ours(blueprint, found):
                return one.meta
    return None


def take_over(client: Elasticsearch, name: str, meta: IndexMeta, builder: Builder) -> IndexMeta:
    """Become the builder of a half-built version.

    The alias that the dead builder wrote through goes in the same step in which the new one comes: should it
    be alive after all, its next request is refused; of two that take over at once only one finds the alias.

    Args:
        client: see `connect`.
        name: the alias that will serve.
        meta: see `half_built`.
        builder: this run.

    Returns:
        What the version says about itself now.

    Raises:
        IndexBusyError: another ingest was quicker.
        ClusterError: the cluster cannot be reached or refuses.
    """
    index = meta.index
    writers = _writers(name, find_indices(client, index).get(index, {}))
    writer = writer_alias(name, builder.run_id)
    actions = [{"remove": {"index": index, "alias": alias, "must_exist": True}} for alias in writers]
    try:
        move_aliases(
            client,
            [{"add": {"index": index, "alias": writer, "is_hidden": True}}, *actions],
            doing=f"taking over index {index}",
        )
    except ClusterAnswerError as error:
        if "_not_found_exception" in str(error) or "aliases_missing" in str(error):
            raise IndexBusyError(
                f"index {index} was taken over by another ingest at the same time",
                hint="wait for it, then run the same command again",
            ) from error
        raise
    ours = replace(meta, state="building", builder=builder, lease=time.time())
    with cluster_errors(client, f"writing _meta of index {index}"):
        client.indices.put_mapping(index=index, meta={KEY: ours.to_json()})
    return ours


def _same(meta: IndexMeta, blueprint: Blueprint) -> bool:
    """Whether every document in it is what this run would write, but for the rows themselves.

    The rows are compared one by one, by their hashes.
    """
    return (
        meta.version == __version__
        and meta.encoder.fingerprint == blueprint.encoder.fingerprint
        and meta.text_fingerprint == blueprint.text_fingerprint
        and meta.ocr == blueprint.ocr
        and meta.combining == blueprint.options.combining
        and meta.layout == layout_of(blueprint.body)
        and meta.version_field == blueprint.version_field
    )


def _is_ours(blueprint: Blueprint, found: Mapping[str, Any]) -> bool:
    """Whether it has the shards that were asked for, and was never made to serve.

    A build that died between its last two steps is marked as complete, and its writer's alias is still there.
    """
    shards = int(found["settings"]["index"]["number_of_shards"])
    return shards == blueprint.options.shards and bool(_writers(blueprint.name, found))


def _writers(name: str, found: Mapping[str, Any]) -> list[str]:
    return [alias for alias in found.get("aliases") or {} if alias.startswith(writer_alias(name, ""))]
