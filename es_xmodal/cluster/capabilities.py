"""What the cluster on the other side can do: asked once for each client, then remembered."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from elasticsearch import ApiError, Elasticsearch

from es_xmodal.cluster.errors import address, cluster_errors
from es_xmodal.errors import ClusterAnswerError

OLDEST = (8, 15, 0)
"""The first server with everything that the plan uses."""

RETRIEVERS: Mapping[str, tuple[int, int, int]] = {"rrf": (8, 16, 0), "linear": (8, 18, 0)}
"""The server's own fusions, and the first version that has each."""

ANALYZERS = (
    "standard",
    "whitespace",
    "english",
    "cjk",
    "smartcn",
    "ik_smart",
    "icu_analyzer",
    "kuromoji",
    "nori",
)
"""The analyzers that `survey` asks for: two that the index needs, and those a shop's own search may use."""

_WITH_RETRIEVERS = frozenset({"trial", "enterprise"})
_NO_SUCH_API = (400, 404, 405, 410)
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a cluster can do; the plan depends on nothing else about it.

    None always means that nobody knows: not asked (see `survey`), or the caller may not ask.
    """

    version: tuple[int, int, int]
    license: str | None = None
    """`basic`, `trial`, `enterprise` and so on; None: see `license_status`."""
    license_status: str | None = None
    """`active`, `expired` and so on; `absent` where the server has no licence API."""
    nodes: int | None = None
    data_nodes: int | None = None
    scripts: bool | None = None
    """Whether a request may carry a Painless script."""
    analyzers: frozenset[str] | None = None
    """Those of `ANALYZERS` that are there."""
    refused: frozenset[str] = frozenset()
    """Retrievers that the server has refused to this client; see `remember_refusal`."""
    surveyed: bool = False
    """Whether `survey` has asked."""

    @property
    def base64_vectors(self) -> bool:
        """Whether `dense_vector` fields take base64 strings."""
        return self.version >= (9, 3, 0)

    @property
    def rescore_vector(self) -> bool:
        """Whether a knn clause can ask for exact scores over quantised vectors."""
        return self.version >= (8, 18, 0)

    @property
    def active_license(self) -> str | None:
        """The licence where it is active; None: none, or not known."""
        return self.license if self.license_status == "active" else None

    @property
    def weighted_rrf(self) -> bool:
        """Whether the server's `rrf` takes a weight for each of its parts."""
        return self.version >= (9, 2, 0)

    @property
    def retrievers(self) -> bool:
        """Whether version and licence allow the server's `rrf` retriever."""
        return self.allows("rrf") is True

    def allows(self, retriever: str) -> bool | None:
        """Say whether the server answers a retriever.

        Args:
            retriever: a name in `RETRIEVERS`.

        Returns:
            None where only trying tells, because the licence may not be asked for.
        """
        since = RETRIEVERS.get(retriever)
        if since is None or self.version < since or retriever in self.refused:
            return False
        if self.license_status not in (None, "active"):
            return False
        return None if self.license is None else self.license in _WITH_RETRIEVERS

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "version": ".".join(map(str, self.version)),
            "license": {"type": self.license, "status": self.license_status},
            "nodes": self.nodes,
            "data_nodes": self.data_nodes,
            "scripts": self.scripts,
            "analyzers": None if self.analyzers is None else sorted(self.analyzers),
            "base64_vectors": self.base64_vectors,
            "rescore_vector": self.rescore_vector,
            "retrievers": {name: self.allows(name) for name in RETRIEVERS},
            "refused": sorted(self.refused),
        }


_known: WeakKeyDictionary[object, Capabilities] = WeakKeyDictionary()
"""By transport: `client.options(...)` makes a new client over the same one."""
_lock = threading.Lock()


def probe(client: Elasticsearch) -> Capabilities:
    """Return version and licence, and whatever else is already known; asks once for each client.

    Args:
        client: see `connect`.

    Returns:
        What it can do. In a cluster of several versions, that of the node that answered.

    Raises:
        ClusterError: it cannot be reached, refuses, is none, or is older than 8.15.
    """
    with _lock:
        known = _known.get(client.transport)
    if known is not None:
        return known
    with cluster_errors(client, "asking for the version"):
        version = _version(client)
    _check_version(client, version)
    with cluster_errors(client, "asking for the licence"):
        kind, status = _license(client)
    return _remember(client, Capabilities(version=version, license=kind, license_status=status))


def survey(client: Elasticsearch) -> Capabilities:
    """Return everything about the cluster: as `probe`, and nodes, scripts, analyzers.

    About a dozen small requests, none of which touches an index; once for each client. What the caller may
    not ask stays None.

    Args:
        client: see `connect`.

    Returns:
        What it can do. In a cluster of several versions, what the oldest node can do.

    Raises:
        ClusterError: see `probe`.
    """
    found = probe(client)
    if found.surveyed:
        return found
    with cluster_errors(client, "asking what the cluster can do"):
        versions, data_nodes = _nodes(client)
        found = replace(
            found,
            version=min([found.version, *versions]),
            nodes=len(versions) or None,
            data_nodes=data_nodes if versions else None,
            scripts=_scripts(client),
            analyzers=_analyzers(client),
            surveyed=True,
        )
    _check_version(client, found.version)
    return _remember(client, found)


def remember_refusal(client: Elasticsearch, retriever: str) -> Capabilities:
    """Remember that the server refused a retriever, so that it is asked for once and not with each search.

    Args:
        client: see `connect`.
        retriever: a name in `RETRIEVERS`.

    Returns:
        What the cluster can do without it.

    Raises:
        ClusterError: see `probe`.
    """
    found = probe(client)
    return _remember(client, replace(found, refused=found.refused | {retriever}))


def is_retriever_refusal(error: Exception) -> bool:
    """Say whether an error means that this server never answers the retriever it was sent.

    Args:
        error: what a search raised.

    Returns:
        True where the licence does not cover it or the server does not know it.
    """
    text = str(error)
    return "license is non-compliant" in text or "unknown retriever" in text


def _remember(client: Elasticsearch, found: Capabilities) -> Capabilities:
    with _lock:
        before = _known.get(client.transport)
        if before is not None:  # another thread may have met a refusal meanwhile
            found = replace(found, refused=found.refused | before.refused)
        _known[client.transport] = found
        return found


def _check_version(client: Elasticsearch, version: tuple[int, int, int]) -> None:
    if version < OLDEST:
        found, oldest = (".".join(map(str, v)) for v in (version, OLDEST))
        raise ClusterAnswerError(
            f"{address(client)} is Elasticsearch {found}; {oldest} or later is needed",
            hint="upgrade the server",
        )


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
    found = _parsed(texts[0]) if texts else None
    if found is None:
        raise ClusterAnswerError(f"{address(client)} does not tell its version")
    return found


def _parsed(version: str) -> tuple[int, int, int] | None:
    found = _VERSION.match(version)
    if found is None:
        return None
    major, minor, patch = (int(part) for part in found.groups())
    return major, minor, patch


def _license(client: Elasticsearch) -> tuple[str | None, str | None]:
    """Type and status: absent where the server has no such API, None where the caller may not ask."""
    answer = client.options(ignore_status=[*_NO_SUCH_API, 403]).license.get()
    if answer.meta.status in _NO_SUCH_API:
        return None, "absent"
    found = answer.body.get("license") if isinstance(answer.body, Mapping) else None
    if not isinstance(found, Mapping) or not found.get("type"):
        return None, None
    return str(found["type"]), str(found.get("status") or "active")


def _nodes(client: Elasticsearch) -> tuple[list[tuple[int, int, int]], int]:
    """The version of each node, and how many nodes hold data."""
    asking = client.options(ignore_status=[*_NO_SUCH_API, 403])
    answer = asking.nodes.info(filter_path="nodes.*.version,nodes.*.roles").body
    nodes = list((answer.get("nodes") or {}).values()) if isinstance(answer, Mapping) else []
    versions = [found for node in nodes if (found := _parsed(str(node.get("version"))))]
    holding = sum(any(str(role).startswith("data") for role in node.get("roles", ())) for node in nodes)
    return versions, holding


def _scripts(client: Elasticsearch) -> bool | None:
    """The list of languages, not a trial run: a server without Painless takes that for a script to store."""
    answer = client.options(ignore_status=[*_NO_SUCH_API, 403]).get_script_languages()
    if answer.meta.status != 200:
        return None if answer.meta.status == 403 else False
    found: Mapping[str, Any] = answer.body
    languages = {one.get("language") for one in found.get("language_contexts", ())}
    return "painless" in languages and "inline" in found.get("types_allowed", ())


def _analyzers(client: Elasticsearch) -> frozenset[str] | None:
    there = set()
    asking = client.options(ignore_status=[*_NO_SUCH_API, 403])
    for name in ANALYZERS:
        status = asking.indices.analyze(analyzer=name, text="a").meta.status
        if status == 403:
            return None
        if status == 200:
            there.add(name)
    return frozenset(there)
