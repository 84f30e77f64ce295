"""Where the rows go: a new version of the index, or the one that serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import search
from es_xmodal.errors import CatalogError, IndexStateError
from es_xmodal.index.lifecycle import Blueprint, Build, Finished, begin, check_layout, count_documents
from es_xmodal.index.target import Target, load_target
from es_xmodal.index.versions import list_versions, serving_version
from es_xmodal.ingest.calibrate import Sampled, calibrate
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.report import Tally

if TYPE_CHECKING:
    from es_xmodal.ingest.pipeline import IngestOptions, Parts

ASK_TIMEOUT_S = 60.0


class Destination(ABC):
    """Where the rows go."""

    rebuilds: bool
    alias: str
    """Documents are written through it."""

    @abstractmethod
    def known_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the hashes of the documents that are there already."""

    @abstractmethod
    def finish(self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder) -> Finished:
        """Make what was written searchable."""

    def heartbeat(self) -> None:  # noqa: B027 - only a build has anybody to tell
        """Say that the writer lives."""

    def end(self) -> None:  # noqa: B027 - only a build holds anything
        """Called last, whatever happened."""


def open_destination(parts: Parts, options: IngestOptions) -> Destination:
    """Choose between a new version and the one that serves.

    Args:
        parts: see `run_ingest`.
        options: see `run_ingest`.

    Returns:
        The destination; call its `end` in any case.

    Raises:
        IndexStateError: the index is foreign, busy, or of another encoder, tokeniser or layout.
        ClusterError: the cluster cannot be reached or refuses.
    """
    blueprint = Blueprint(
        name=options.index,
        template=parts.template,
        encoder=parts.encoder.info,
        text_fingerprint=parts.analyzer.fingerprint,
        options=options.index_options,
    )
    serving = serving_version(list_versions(parts.client, options.index))
    if options.rebuild or serving is None:
        return NewVersion(begin(parts.client, blueprint), parts, options)
    target = load_target(parts.client, options.index)
    target.meta.check_encoder(parts.encoder.info.fingerprint)
    target.meta.check_text(parts.analyzer.fingerprint)
    check_layout(target.meta, blueprint)
    if options.shards not in (None, target.shards):
        raise IndexStateError(
            f"index {target.index} has {target.shards} shards, and the number cannot be changed in place",
            hint="run ingest with --rebuild to make a new index beside it",
        )
    return Serving(parts.client, target, replicas=options.replicas)


class NewVersion(Destination):
    """A version that is built from nothing and serves when it is complete."""

    rebuilds = True

    def __init__(self, build: Build, parts: Parts, options: IngestOptions) -> None:
        self._build = build
        self._text_space = parts.encoder.info.text_space
        self._keep = options.keep
        self._name = options.index
        self.alias = build.writer

    def known_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Nothing is there."""
        return {}

    def heartbeat(self) -> None:
        """Keep the lease of the build."""
        self._build.heartbeat()

    def finish(self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder) -> Finished:
        """Calibrate, check the count, mark complete, swap.

        Raises:
            CatalogError: not one row was good; an empty index must not take the place of one that serves.
        """
        if not tally["indexed"]:
            raise CatalogError(
                f"none of the {tally['read']} rows could be indexed, so {self._name} is left as it was",
                hint="the rejects file says why",
            )
        calibration = calibrate(sample, text_space=self._text_space, encode_titles=embedder.titles)
        documents = tally["indexed"]
        return self._build.finish(
            documents=documents,
            counts={"documents": documents, "without_image": tally["without_image"]},
            calibration=calibration,
            keep=self._keep,
        )

    def end(self) -> None:
        """Let go of the build."""
        self._build.end()


class Serving(Destination):
    """The version that serves; only rows that changed are written."""

    rebuilds = False

    def __init__(self, client: Elasticsearch, target: Target, *, replicas: int | None) -> None:
        self._client = client
        self._index = target.index
        self.alias = target.alias
        if replicas is not None:
            with cluster_errors(client, f"setting the replicas of {target.index}"):
                client.indices.put_settings(
                    index=target.index,
                    settings={
                        "index.auto_expand_replicas": False,
                        "index.number_of_replicas": replicas,
                    },
                )
        count_documents(client, target.index)  # refreshes: every document written so far is seen below

    def known_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Ask the index by id; the answer comes from doc values, no document is read."""
        body: Mapping[str, Any] = {
            "query": {"ids": {"values": list(ids)}},
            "size": len(ids),
            "_source": False,
            "docvalue_fields": ["row_hash"],
            "track_total_hits": False,
            "sort": ["_doc"],
        }
        hits = search(self._client, self._index, body, timeout_s=ASK_TIMEOUT_S)["hits"]["hits"]
        return {hit["_id"]: hit.get("fields", {}).get("row_hash", [""])[0] for hit in hits}

    def finish(self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder) -> Finished:
        """Refresh."""
        with cluster_errors(self._client, f"refreshing {self._index}"):
            self._client.indices.refresh(index=self._index)
        return Finished(index=self._index, replaced=None, dropped=())
