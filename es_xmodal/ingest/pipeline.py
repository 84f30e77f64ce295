"""How a catalogue becomes an index: streaming, with bounded memory, everything counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.edit import Edit
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog, read_edits
from es_xmodal.cluster.capabilities import probe
from es_xmodal.cluster.transport import patient
from es_xmodal.index.target import load_target
from es_xmodal.ingest.calibrate import Reservoir, Sampled
from es_xmodal.ingest.destination import Destination, open_destination
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.edits import Edits
from es_xmodal.ingest.edits_check import DELETE_LIMIT_PERCENT, check_options
from es_xmodal.ingest.edits_missing import Missing, Named
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.engine import Engine, LocalEngine
from es_xmodal.ingest.from_index import rows_of_index
from es_xmodal.ingest.garbage import RARE_COLLECTIONS
from es_xmodal.ingest.making import make_assembler, make_loader
from es_xmodal.ingest.named_ids import NamedIds
from es_xmodal.ingest.options import IngestOptions, Parts
from es_xmodal.ingest.outcome import Outcome
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import IngestReport, Tally
from es_xmodal.ingest.resume import Kept, completed
from es_xmodal.ingest.rows import Row
from es_xmodal.ingest.sender import Item, OnSettled, Sender
from es_xmodal.ingest.shared import SharedPictures
from es_xmodal.ingest.stored import StoredVectors

if TYPE_CHECKING:
    from es_xmodal.ingest.remote.ray_cluster import RayCluster

__all__ = ["IngestOptions", "OnProgress", "Parts", "run_ingest"]

OnProgress = Callable[[Tally], None]


def run_ingest(
    parts: Parts, options: IngestOptions, *, on_progress: OnProgress = lambda tally: None
) -> IngestReport:
    """Bring a catalogue into an index.

    Where there is no index of that name, or with `rebuild`, a new version is built beside the old one and
    the alias moves when it is complete; else the rows that changed are written to the index that serves.

    Args:
        parts: cluster, encoder, tokeniser, store, pictures.
        options: what to do.
        on_progress: called now and then with the counters so far.

    Returns:
        What was done; rows read = indexed + updated + unchanged + rejected + deleted + outdated.

    Raises:
        SettingsError: two options contradict each other.
        CatalogError: the catalogue as a whole cannot be read, or the rejects file not be written.
        IndexStateError: the index is foreign, busy, or of another encoder, tokeniser or layout.
        ClusterError: the cluster cannot be reached or refuses; the index that served still serves.
        StoreError: the vector store cannot be used.
        MissingExtraError: other machines are to embed, and Ray is not installed.
        WorkersError: those machines cannot be reached, or fail.
    """
    check_options(options)
    # Not longer than for the first answer does a wrong address keep anybody waiting.
    probe(parts.client)
    parts = replace(parts, client=patient(parts.client))
    with _machines(options) as cluster, RARE_COLLECTIONS:
        return _Run(parts, options, on_progress, cluster).run()


def _machines(options: IngestOptions) -> AbstractContextManager[RayCluster | None]:
    if options.ray is None:
        return nullcontext()
    from es_xmodal.ingest.remote.ray_cluster import RayCluster

    return RayCluster(options.ray)


class _Run:
    """One ingest."""

    def __init__(
        self, parts: Parts, options: IngestOptions, on_progress: OnProgress, cluster: RayCluster | None
    ) -> None:
        self._cluster = cluster
        self._parts = parts
        self._options = options
        self._on_progress = on_progress
        self._tally = Tally()
        self._sample = Reservoir()
        self._shared = SharedPictures()
        self._named = Named() if options.delete_missing else None
        self._not_deleted: str | None = None
        self._ids = NamedIds()

    def run(self) -> IngestReport:
        start = time.perf_counter()
        parts, options = self._parts, self._options
        # First the file, then the cluster: a wrong path must not leave a half-built index behind.
        source = None if options.from_index else self._open_source()
        destination = open_destination(parts, options)
        self._ids.holds = destination.holds
        self._source = source or rows_of_index(parts.client, destination.followed or "")
        try:
            with RejectFile(options.rejects_path, again=self._is_fed_back()) as rejects:
                self._kept = Kept() if destination.taken_over else None
                self._outcome = Outcome(
                    tally=self._tally, rejects=rejects, shared=self._shared, kept=self._kept
                )
                self._move_rows(destination)
                self._delete_missing(destination)
                self._delete_leftovers(destination)
                with self._tally.time("finish"):
                    sample = self._whole_sample()
                    done = destination.finish(self._tally, sample, self._embedder, rejects)
        finally:
            destination.end()
        counts = self._tally.counts()
        reasons = dict(rejects.reasons)
        return IngestReport(
            counts=counts,
            seconds_by_stage=self._tally.seconds(),
            seconds=round(time.perf_counter() - start, 3),
            index=done.index,
            alias=options.index,
            rebuilt=destination.rebuilds,
            replaced=done.replaced,
            dropped=done.dropped,
            rejects_file=str(options.rejects_path) if reasons else None,
            rejects_by_reason=reasons,
            reject_examples=dict(rejects.examples),
            vectors=destination.combining,
            vector_index=destination.vector_index,
            shared_pictures=self._shared.found(),
            not_deleted=self._not_deleted,
            serves=done.serves,
            held_back=destination.held_back,
            brought=destination.brought,
        )

    def _open_source(self) -> Iterator[Product | Deletion | Reject] | Iterator[Edit | Deletion | Reject]:
        options = self._options
        if options.update:
            return read_edits(options.catalog, renames=options.renames)
        return read_catalog(
            options.catalog, renames=options.renames, version_field=options.version_field, ids=self._ids
        )

    def _is_fed_back(self) -> bool:
        catalog, rejects = self._options.catalog, self._options.rejects_path
        return self._options.retry and rejects.exists() and catalog.samefile(rejects)

    def _move_rows(self, destination: Destination) -> None:
        parts, outcome = self._parts, self._outcome
        self._loader = loader = make_loader(
            parts,
            self._tally,
            combining=destination.combining,
            placeholders=self._options.placeholders,
            known_marks=destination.known_marks,
            stored=self._stored(destination),
        )
        self._embedder = Embedder(parts.encoder, parts.store, loader, self._tally)
        self._assembler = make_assembler(
            parts, self._tally, combining=destination.combining, sample=self._sample
        )
        engine = self._make_engine()
        self._sender = sender = self._make_sender(destination, outcome.settled)
        if self._options.update and destination.index is not None:
            outcome.edits = Edits(parts.client, destination.index, sender.add)
        self._deletes = destination.index is not None or self._options.version_field is not None
        try:
            # Closed at once where a row raises: its threads must not outlive the sender.
            with closing(engine.rows(self._products())) as groups:
                for rows in groups:
                    for row in rows:
                        self._send(row)
                    destination.heartbeat()
                    self._on_progress(self._tally)
            sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise
        self._on_progress(self._tally)
        outcome.check_sum()

    def _make_engine(self) -> Engine:
        parts, ray = self._parts, self._options.ray
        if self._cluster is None or ray is None:
            return LocalEngine(self._loader, self._embedder, batch_size=parts.encoder.batch_size)
        from es_xmodal.ingest.remote.ray_engine import ray_engine

        return ray_engine(self._cluster, ray, parts, self._loader, self._embedder)

    def _stored(self, destination: Destination) -> StoredVectors | None:
        """The vectors of the index that the rows come from, where they are of this encoder."""
        if not self._options.from_index or destination.followed is None:
            return None
        target = load_target(self._parts.client, destination.followed)
        if target.meta.encoder.fingerprint != self._parts.encoder.info.fingerprint:
            return None
        return StoredVectors(self._parts.client, target, self._tally)

    def _make_sender(self, destination: Destination, on_settled: OnSettled) -> Sender:
        return Sender(
            self._parts.client,
            destination.alias,
            door=destination.door,
            on_done=self._outcome.done,
            on_settled=on_settled,
            on_reject=self._outcome.refused,
            options=self._options.sender,
            tally=self._tally,
        )

    def _delete_missing(self, destination: Destination) -> None:
        """After the last row: a run that ends early deletes nothing."""
        if self._named is None or destination.index is None:
            return
        limit = self._options.delete_limit
        missing = Missing(
            client=self._parts.client,
            index=destination.index,
            named=self._named,
            limit_percent=DELETE_LIMIT_PERCENT if limit is None else limit,
        )
        self._not_deleted = self._delete_all(missing, destination, self._outcome.missing_settled)

    def _delete_leftovers(self, destination: Destination) -> None:
        """What a dead run wrote into the index that is gone on with, and this one would not have written."""
        if self._kept is None or destination.taken_over is None:
            return
        left = Missing(
            client=self._parts.client,
            index=destination.taken_over,
            named=self._kept.named,
            limit_percent=100.0,
        )
        self._delete_all(left, destination, lambda row, how: None)

    def _delete_all(self, missing: Missing, destination: Destination, on_settled: OnSettled) -> str | None:
        sender = self._make_sender(destination, on_settled)
        try:
            with self._tally.time("finish"):
                not_deleted = missing.delete(sender)
                sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise
        return not_deleted

    def _whole_sample(self) -> list[Sampled]:
        return completed(
            self._sample.items, loader=self._loader, embedder=self._embedder, assembler=self._assembler
        )

    def _products(self) -> Iterator[Product]:
        edits = self._outcome.edits
        while True:
            with self._tally.time("read"):
                row = next(self._source, None)
            if row is None:
                break
            self._tally.add("read")
            if self._named is not None:
                self._named.add(row)
            if isinstance(row, Deletion):
                self._delete(row)
            elif isinstance(row, Edit):
                yield from self._good(edits.take(row) if edits else ())
            else:
                yield from self._good((row,))
        yield from self._good(edits.rest() if edits else ())

    def _good(self, rows: Iterable[Product | Reject]) -> Iterator[Product]:
        for row in rows:
            if isinstance(row, Product):
                yield row
            else:
                self._outcome.reject(row)

    def _delete(self, row: Deletion) -> None:
        if self._deletes:
            meta = _version_meta(row.version)
            self._sender.add(Item(row=row, id=row.id, kind="delete", meta=meta))
        else:
            self._tally.add("deleted")  # not written into the new version

    def _send(self, row: Row) -> None:
        if self._loses_pictures(row):
            return
        if self._outcome.embedded(row):
            row.hash = self._loader.rehash(row)
        if row.unchanged:
            if self._kept:
                self._sample.add(lambda: row.product)
            self._outcome.settled(row, "noop")
            return
        body = dump_json(self._assembler.document(row))
        row.forget_vectors()
        self._sender.add(Item(row=row, id=row.product.id, body=body, meta=self._meta(row)))

    def _meta(self, row: Row) -> Mapping[str, Any]:
        edits, product = self._outcome.edits, row.product
        return edits.meta(product.id) if edits else _version_meta(product.version)

    def _loses_pictures(self, row: Row) -> bool:
        """An edit of a text must not cost a product its vectors because a picture is elsewhere."""
        edits = self._outcome.edits
        bad = next((shot.failure for shot in row.shots if shot.failure), None)
        if bad is None or edits is None or not edits.keeps_pictures(row.product.id):
            return False
        reason = f"{bad[1]}: {bad[2]}; without its pictures the product would lose their vectors"
        self._outcome.refuse(row, "picture", "images", reason)
        return True


def _version_meta(version: int | None) -> Mapping[str, Any]:
    return {} if version is None else {"version": version, "version_type": "external_gte"}
