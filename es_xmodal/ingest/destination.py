"""Where the rows go: a new version of the index, or the one that serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import search
from es_xmodal.errors import CatalogError, IndexMissingError, IndexStateError
from es_xmodal.index.combining import Combining
from es_xmodal.index.lifecycle import (
    Blueprint,
    Build,
    Finished,
    begin,
    check_layout,
    count_documents,
    set_replicas,
)
from es_xmodal.index.quantisation import Choice
from es_xmodal.index.target import Target, load_target
from es_xmodal.index.versions import list_versions, serving_version
from es_xmodal.ingest.calibrate import Sampled, calibrate
from es_xmodal.ingest.calibrate_words import calibrate_words
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.known import COMPARED, Known
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.vector_index import vector_index_for

if TYPE_CHECKING:
    from es_xmodal.ingest.options import IngestOptions, Parts

ASK_TIMEOUT_S = 60.0


class Destination(ABC):
    """Where the rows go."""

    rebuilds: bool
    vector_index: Choice
    """Kind of the vector index, and why."""
    index: str | None = None
    """Physical name of the index that serves and is written; None where a new one is built."""
    alias: str
    """Documents are written through it."""
    combining: Combining
    """How this index combines pictures and texts."""
    taken_over: str | None = None
    """Physical name of a half-built index that is gone on with; None: there was none."""

    @abstractmethod
    def known_hashes(self, ids: Sequence[str]) -> dict[str, Known]:
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
    serving = serving_version(list_versions(parts.client, options.index))
    there = serving.meta.combining if serving and serving.meta else None
    combining = options.combining.over(there)
    target = None if options.rebuild or serving is None else load_target(parts.client, options.index)
    if options.update and target is None:
        raise IndexMissingError(
            f"there is no index {options.index} that partial rows could change",
            hint="ingest the whole catalogue first",
        )
    choice = vector_index_for(parts, options, combining, target)
    blueprint = Blueprint(
        name=options.index,
        template=parts.template,
        encoder=parts.encoder.info,
        text_fingerprint=parts.analyzer.fingerprint,
        ocr=parts.ocr.meta if parts.ocr else None,
        options=replace(options.index_options(choice.type), combining=combining),
        version_field=options.version_field,
    )
    if target is None:
        return NewVersion(begin(parts.client, blueprint), parts, options, combining, choice)
    target.meta.check_encoder(parts.encoder.info.fingerprint)
    target.meta.check_text(parts.analyzer.fingerprint)
    target.meta.check_ocr(blueprint.ocr)
    target.meta.check_combining(combining)
    check_layout(target.meta, blueprint)
    if options.shards not in (None, target.shards):
        raise IndexStateError(
            f"index {target.index} has {target.shards} shards, and the number cannot be changed in place",
            hint="run ingest with --rebuild to make a new index beside it",
        )
    return Serving(parts.client, target, choice, replicas=options.replicas)


class NewVersion(Destination):
    """A version that is built from nothing and serves when it is complete."""

    rebuilds = True

    def __init__(
        self, build: Build, parts: Parts, options: IngestOptions, combining: Combining, choice: Choice
    ) -> None:
        self._build = build
        self.vector_index = choice
        self._combiner = Combiner(combining, parts.encoder.info)
        self.combining = combining
        self._keep = options.keep
        self._client, self._versioned = parts.client, options.version_field is not None
        self._name = options.index
        self.alias = build.writer
        self.taken_over = build.index if build.taken_over else None

    def known_hashes(self, ids: Sequence[str]) -> dict[str, Known]:
        """Nothing is there, but for what a dead run left: that was confirmed, and is not sent again."""
        return _known_hashes(self._client, self.taken_over, ids) if self.taken_over else {}

    def heartbeat(self) -> None:
        """Keep the lease of the build."""
        self._build.heartbeat()

    def finish(self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder) -> Finished:
        """Calibrate, check the count, mark complete, swap.

        Without one good row the build is given up: an empty index must not replace one that serves.

        Raises:
            CatalogError: the catalogue holds no rows at all, so there is nothing to look at either.
        """
        if not tally["read"]:
            raise CatalogError(f"the catalogue holds no rows, so {self._name} is left as it was")
        written = tally["indexed"] + tally["updated"] + tally["unchanged"]
        if not written:
            return self._build.discard()
        calibration = calibrate(sample, combiner=self._combiner, encode_titles=embedder.titles)
        # Several rows may have had one id where versions settle them.
        documents = count_documents(self._client, self.alias) if self._versioned else written
        words = calibrate_words(sample, documents=documents) if self._build.reads_words else None
        calibration |= {"ocr": words} if words else {}
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

    def __init__(
        self, client: Elasticsearch, target: Target, choice: Choice, *, replicas: int | None
    ) -> None:
        self.vector_index = choice
        self._client = client
        self.index: str = target.index
        self.alias = target.alias
        self.combining = target.meta.combining
        if replicas is not None:
            set_replicas(client, target.index, replicas)
        count_documents(client, target.index)  # refreshes: every document written so far is seen below

    def known_hashes(self, ids: Sequence[str]) -> dict[str, Known]:
        """Ask the index."""
        return _known_hashes(self._client, self.index, ids)

    def finish(self, tally: Tally, sample: Sequence[Sampled], embedder: Embedder) -> Finished:
        """Refresh."""
        with cluster_errors(self._client, f"refreshing {self.index}"):
            self._client.indices.refresh(index=self.index)
        return Finished(index=self.index, replaced=None, dropped=())


def _known_hashes(client: Elasticsearch, index: str, ids: Sequence[str]) -> dict[str, Known]:
    """Ask by id; the answer comes from doc values, no document is read."""
    body: Mapping[str, Any] = {
        "query": {"ids": {"values": list(ids)}},
        "size": len(ids),
        "_source": False,
        "docvalue_fields": ["row_hash", *COMPARED],
        "track_total_hits": False,
        "sort": ["_doc"],
    }
    hits = search(client, index, body, timeout_s=ASK_TIMEOUT_S)["hits"]["hits"]
    return {hit["_id"]: Known.of_hit(hit) for hit in hits}
