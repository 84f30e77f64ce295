"""The index that a search or an ingest means, as it is now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import ClusterError, IndexMissingError, IndexStateError
from es_xmodal.index.meta import IndexMeta, parse_meta
from es_xmodal.index.names import check_name, nearest, version_number
from es_xmodal.index.quantisation import oversample_of
from es_xmodal.query.fields import OBJECT


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One index behind one alias."""

    alias: str
    index: str
    """Physical name."""
    version: int | None
    """Number of the physical index; None where it is not named like a version of the alias."""
    shards: int
    meta: IndexMeta
    fields: Mapping[str, str]
    """Dotted field -> Elasticsearch type, fields below `nested` and `object` ones included.

    Named as in an index of our own; `meta.names` says what they are called in this one.
    """
    quantised: bool
    """A vector field is quantised, so its scores are approximate unless they are rescored."""
    vectors: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Dotted field -> mapping of every `dense_vector` field."""

    @property
    def index_options(self) -> dict[str, Mapping[str, Any]]:
        """Dotted field -> `index_options`; empty where the mapping says nothing."""
        return {name: one.get("index_options") or {} for name, one in self.vectors.items()}

    @property
    def similarities(self) -> dict[str, str]:
        """Dotted field -> similarity of every vector field."""
        return {name: str(one.get("similarity", "cosine")) for name, one in self.vectors.items()}

    @property
    def oversample(self) -> dict[str, float]:
        """Dotted field -> how many times `k` is rescored; exact fields are left out."""
        found = {name: oversample_of(options) for name, options in self.index_options.items()}
        return {name: factor for name, factor in found.items() if factor is not None}


def load_target(client: Elasticsearch, name: str) -> Target:
    """Look up the index behind an alias (or a physical index by its own name).

    Args:
        client: see `es_xmodal.cluster.client.connect`.
        name: alias or index.

    Returns:
        What is there now.

    Raises:
        SettingsError: the name can name no index.
        IndexMissingError: there is none; the error names the nearest that there is.
        ForeignIndexError: it was not made by this project.
        IndexStateError: the alias stands for several indices.
        ClusterError: the cluster cannot be reached or refuses.
    """
    found = find_indices(client, check_name(name))
    if not found:
        raise missing_index(client, name)
    if len(found) > 1:
        raise IndexStateError(
            f"alias {name} stands for {len(found)} indices: {', '.join(sorted(found))}",
            hint="point it at one with `es-xmodal index swap`",
        )
    ((index, body),) = found.items()
    return target_of(name, index, body)


def find_indices(client: Elasticsearch, name: str) -> dict[str, Any]:
    """Return the indices behind a name.

    Args:
        client: see `connect`.
        name: index, alias or pattern.

    Returns:
        Physical name -> aliases, mappings, settings; empty where there is none.

    Raises:
        ClusterError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(client, f"looking up index {name}"):
        answer = client.indices.get(index=name, ignore_unavailable=True, allow_no_indices=True)
    return dict(answer.body)


def target_of(alias: str, index: str, body: Mapping[str, Any]) -> Target:
    """Read one answer of `GET INDEX`.

    Args:
        alias: the name that was asked for.
        index: physical name.
        body: its aliases, mappings, settings.

    Returns:
        The target.

    Raises:
        ForeignIndexError: it was not made by this project.
    """
    mappings = body.get("mappings") or {}
    meta = parse_meta(index, mappings)
    properties = mappings.get("properties") or {}
    # In a shop's index its own vectors are none of ours.
    ours = (properties.get(OBJECT) or {}).get("properties") or {} if meta.names.prefix else properties
    return Target(
        alias=alias,
        index=index,
        version=version_number(alias, index),
        shards=int(body["settings"]["index"]["number_of_shards"]),
        meta=meta,
        fields=meta.names.view(dict(_fields(properties, ""))),
        quantised=_is_quantised(ours),
        vectors=dict(_vectors(ours, "")),
    )


def _fields(properties: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in properties.items():
        path = f"{prefix}{name}"
        yield path, str(field.get("type", "object"))
        yield from _fields(field.get("properties") or {}, f"{path}.")
        yield from _fields(field.get("fields") or {}, f"{path}.")


def _vectors(properties: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, one in properties.items():
        if one.get("type") == "dense_vector":
            yield f"{prefix}{name}", one
        yield from _vectors(one.get("properties") or {}, f"{prefix}{name}.")


def _is_quantised(properties: Mapping[str, Any]) -> bool:
    return any(
        str(field.get("index_options", {}).get("type", "")).startswith(("int8", "int4", "bbq"))
        or _is_quantised(field.get("properties") or {})
        for field in properties.values()
    )


def missing_index(client: Elasticsearch, name: str) -> IndexMissingError:
    """Return the error for an index that there is not; it names the nearest that there is.

    Args:
        client: see `connect`.
        name: what was asked for.
    """
    return IndexMissingError(f"there is no index {name}", hint=_what_there_is(client, name))


def _what_there_is(client: Elasticsearch, name: str) -> str:
    """A hint; that the caller may not list aliases must not hide that the index is missing."""
    try:
        with cluster_errors(client, "listing aliases"):
            answer = client.indices.get_alias(index="*", expand_wildcards="open")
    except ClusterError:
        return "make it with `es-xmodal ingest CATALOG --index NAME`"
    aliases = {
        alias
        for index in answer.body.values()
        for alias, how in index.get("aliases", {}).items()
        if not how.get("is_hidden")
    }
    near = nearest(name, aliases or answer.body)
    if near:
        return f"did you mean {near}?"
    return "make it with `es-xmodal ingest CATALOG --index NAME`"
