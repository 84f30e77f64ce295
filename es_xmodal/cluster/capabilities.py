"""What the cluster on the other side can do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from es_xmodal.cluster.errors import address, cluster_errors
from es_xmodal.errors import ClusterAnswerError

OLDEST = (8, 15, 0)
"""The first server with everything that the plan uses."""

_WITH_RETRIEVERS = frozenset({"trial", "enterprise"})
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a cluster can do; the plan depends on nothing else about it."""

    version: tuple[int, int, int]
    license: str | None = None
    """`basic`, `trial`, `enterprise` and so on; None where the server has no licence API."""

    @property
    def base64_vectors(self) -> bool:
        """Whether `dense_vector` fields take base64 strings."""
        return self.version >= (9, 3, 0)

    @property
    def retrievers(self) -> bool:
        """Whether the licence allows the server's `rrf` and `linear` retrievers."""
        return self.license in _WITH_RETRIEVERS


def probe(client: Elasticsearch) -> Capabilities:
    """Ask the cluster for its version and licence.

    Args:
        client: see `connect`.

    Returns:
        What it can do. In a cluster of several versions, that of the node that answered.

    Raises:
        ClusterError: it cannot be reached, refuses, is none, or is older than 8.15.
    """
    with cluster_errors(client, "asking for the version"):
        version = _version(client)
    if version < OLDEST:
        found, oldest = (".".join(map(str, v)) for v in (version, OLDEST))
        raise ClusterAnswerError(
            f"{address(client)} is Elasticsearch {found}; {oldest} or later is needed",
            hint="upgrade the server",
        )
    with cluster_errors(client, "asking for the licence"):
        return Capabilities(version=version, license=_license(client))


def _version(client: Elasticsearch) -> tuple[int, int, int]:
    """Nodes first: an embedded node has no `GET /`; a hosted one may have no nodes API."""
    try:
        answer = client.nodes.info(node_id="_local", filter_path="nodes.*.version")
        nodes: Mapping[str, Any] = answer.body.get("nodes") or {}
        texts = [str(node.get("version")) for node in nodes.values()]
    except ApiError as error:
        if error.meta.status == 401:
            raise
        texts = [str(client.info().body.get("version", {}).get("number"))]
    found = _VERSION.match(texts[0]) if texts else None
    if found is None:
        raise ClusterAnswerError(f"{address(client)} does not tell its version")
    major, minor, patch = (int(part) for part in found.groups())
    return major, minor, patch


def _license(client: Elasticsearch) -> str | None:
    """None where the server has no such API (400, 404, 405) or the caller may not ask (403)."""
    answer = client.options(ignore_status=[400, 403, 404, 405, 410]).license.get()
    found = answer.body.get("license") if isinstance(answer.body, Mapping) else None
    if not isinstance(found, Mapping) or found.get("status") not in (None, "active"):
        return None
    kind = found.get("type")
    return str(kind) if kind else None
