"""How a catalogue becomes an index: streaming, with bounded memory, everything counted."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.document import to_row
from es_xmodal.catalog.edit import Edit
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog, read_edits
from es_xmodal.encoders.base import JOINT, VISUAL
from es_xmodal.ingest.ahead import ahead, batched
from es_xmodal.ingest.calibrate import Reservoir, Sampled
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.destination import Destination, open_destination
from es_xmodal.ingest.document import WriteVector, as_base64, as_floats, dump_json, token_fields, word_fields
from es_xmodal.ingest.edits import Edits, reject_of_edit
from es_xmodal.ingest.edits_check import DELETE_LIMIT_PERCENT, check_options
from es_xmodal.ingest.edits_missing import Missing, Named
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.options import IngestOptions, Parts
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import IngestReport, Tally
from es_xmodal.ingest.rows import Loader, Row, Shot
from es_xmodal.ingest.sender import Item, OnSettled, Sender
from es_xmodal.ingest.shared import SharedPictures
from es_xmodal.ingest.video import Videos
from es_xmodal.ingest.words import ShotWords
from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR
from es_xmodal.vectors import Vector

__all__ = ["IngestOptions", "OnProgress", "Parts", "run_ingest"]

_log = logging.getLogger(__name__)

ROWS_TOGETHER = 128
"""Rows that are loaded, and asked about, at once."""
BATCHES_AHEAD = 3
MAX_WORKERS = 4


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
    """
    check_options(options)
    return _Run(parts, options, on_progress).run()


class _Run:
    """One ingest."""

    def __init__(self, parts: Parts, options: IngestOptions, on_progress: OnProgress) -> None:
        self._parts = parts
        self._options = options
        self._on_progress = on_progress
        self._tally = Tally()
        self._sample = Reservoir()
        self._shared = SharedPictures()
        self._write_vector: WriteVector = as_base64 if parts.base64_vectors else as_floats
        self._named = Named() if options.delete_missing else None
        self._edits: Edits | None = None
        self._not_deleted: str | None = None

    def run(self) -> IngestReport:
        start = time.perf_counter()
        parts, options = self._parts, self._options
        # First the file, then the cluster: a wrong path must not leave a half-built index behind.
        self._source = self._open_source()
        destination = open_destination(parts, options)
        try:
            with RejectFile(options.rejects_path, again=self._is_fed_back()) as self._rejects:
                self._move_rows(destination)
                self._delete_missing(destination)
                with self._tally.time("finish"):
                    done = destination.finish(self._tally, self._sample.items, self._embedder)
        finally:
            destination.end()
        counts = self._tally.counts()
        reasons = dict(self._rejects.reasons)
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
            vectors=destination.combining,
            vector_index=destination.vector_index,
            shared_pictures=self._shared.found(),
            not_deleted=self._not_deleted,
        )

    def _open_source(self) -> Iterator[Product | Deletion | Reject] | Iterator[Edit | Deletion | Reject]:
        options = self._options
        if options.update:
            return read_edits(options.catalog, renames=options.renames)
        return read_catalog(options.catalog, renames=options.renames, version_field=options.version_field)

    def _is_fed_back(self) -> bool:
        catalog, rejects = self._options.catalog, self._options.rejects_path
        return self._options.retry and rejects.exists() and catalog.samefile(rejects)

    def _move_rows(self, destination: Destination) -> None:
        parts = self._parts
        self._combiner = Combiner(destination.combining, parts.encoder.info)
        self._loader = Loader(
            encoder=parts.encoder,
            text_fingerprint=parts.analyzer.fingerprint,
            store=parts.store,
            pictures=parts.pictures,
            tally=self._tally,
            known_hashes=destination.known_hashes,
            words=ShotWords(parts.ocr, self._tally) if parts.ocr else None,
            combining=destination.combining,
            videos=self._videos(),
            placeholders=self._options.placeholders,
        )
        self._embedder = Embedder(parts.encoder, parts.store, self._loader, self._tally)
        self._sender = sender = self._make_sender(destination, self._settled)
        if self._options.update and destination.index is not None:
            self._edits = Edits(parts.client, destination.index, sender.add)
        self._deletes = destination.index is not None or self._options.version_field is not None
        pool = ThreadPoolExecutor(min(MAX_WORKERS, (os.cpu_count() or 1) + 1), "load")
        try:
            for rows in self._groups(pool):
                self._embedder.embed(rows)
                for row in rows:
                    self._send(row)
                destination.heartbeat()
                self._on_progress(self._tally)
            sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        self._on_progress(self._tally)
        self._check_sum()

    def _make_sender(self, destination: Destination, on_settled: OnSettled) -> Sender:
        return Sender(
            self._parts.client,
            destination.alias,
            on_done=self._done,
            on_settled=on_settled,
            on_reject=self._refused,
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
        sender = self._make_sender(destination, self._missing_settled)
        try:
            with self._tally.time("finish"):
                self._not_deleted = missing.delete(sender)
                sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise

    def _missing_settled(self, row: None, how: str) -> None:
        self._tally.add("deleted_missing", how == "deleted")

    def _videos(self) -> Videos:
        encoder = self._parts.encoder
        side = encoder.info.decode_side
        return Videos(self._parts.store, self._parts.videos, max_side=side, prepare=encoder.prepare)

    def _groups(self, pool: ThreadPoolExecutor) -> Iterator[list[Row]]:
        """Rows with decoded pictures, in groups that fill the encoder's batches."""
        side = self._parts.encoder.batch_size
        batches = ahead(
            pool, self._loader.load, batched(self._products(), ROWS_TOGETHER), depth=BATCHES_AHEAD
        )
        rows = (row for batch in batches for row in batch)
        ready = ahead(
            pool,
            self._loader.decode,
            rows,
            depth=2 * side,
            skip=lambda row: row if self._loader.waits_for_nothing(row) else None,
        )
        group: list[Row] = []
        pictures = 0
        for row in ready:
            group.append(row)
            pictures += 0 if row.unchanged else len(row.undecoded)
            if pictures >= side or len(group) >= ROWS_TOGETHER:
                yield group
                group, pictures = [], 0
        if group:
            yield group

    def _products(self) -> Iterator[Product]:
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
                yield from self._good(self._edits.take(row) if self._edits else ())
            else:
                yield from self._good((row,))
        yield from self._good(self._edits.rest() if self._edits else ())

    def _good(self, rows: Iterable[Product | Reject]) -> Iterator[Product]:
        for row in rows:
            if isinstance(row, Product):
                yield row
            else:
                self._reject(row)

    def _delete(self, row: Deletion) -> None:
        if self._deletes:
            meta = _version_meta(row.version)
            self._sender.add(Item(row=row, id=row.id, kind="delete", meta=meta))
        else:
            self._tally.add("deleted")  # not written into the new version

    def _send(self, row: Row) -> None:
        if self._loses_pictures(row):
            return
        failed = False
        self._shared.product()
        for shot in row.shots:
            failed = self._report_failure(row, shot) or failed
            self._note(row, shot)
        if row.text_failure is not None:
            failed = True
            self._tally.add("failed_texts")
            self._rejects.add(_reject(row, "encode", "title", f"no_vector: {row.text_failure}"))
        if not any(shot.failure is None and shot.weight > 0 for shot in row.shots):
            self._tally.add("without_image")
        if failed:
            row.hash = self._loader.rehash(row)
        if row.unchanged:
            self._settled(row, "noop")
            return
        with self._tally.time("tokenise"):
            tokens = token_fields(row.product, self._parts.analyzer)
            if self._parts.ocr:
                tokens |= word_fields(row.product, row.words, self._parts.analyzer)
        vectors = self._combiner.document(row.text_vector, row.shots)
        self._sample.add(partial(_sampled, row, vectors, self._combiner, tokens.get("grams", "")))
        body = self._document(row, tokens, vectors)
        row.forget_vectors()
        self._sender.add(Item(row=row, id=row.product.id, body=body, meta=self._meta(row)))

    def _meta(self, row: Row) -> Mapping[str, Any]:
        return self._edits.meta(row.product.id) if self._edits else _version_meta(row.product.version)

    def _loses_pictures(self, row: Row) -> bool:
        """An edit of a text must not cost a product its vectors because a picture is elsewhere."""
        bad = next((shot.failure for shot in row.shots if shot.failure), None)
        if bad is None or self._edits is None or not self._edits.keeps_pictures(row.product.id):
            return False
        reason = f"{bad[1]}: {bad[2]}; without its pictures the product would lose their vectors"
        self._refuse(row, "picture", "images", reason)
        return True

    def _document(self, row: Row, tokens: Mapping[str, str], vectors: Mapping[str, Vector]) -> bytes:
        document = {**row.document, "tokens": tokens, "row_hash": row.hash}
        if row.shots:
            document["images"] = [self._image(shot) for shot in row.shots]
        for leg, vector in vectors.items():
            document[self._combiner.fields[leg].path] = self._write_vector(vector)
        return dump_json(document)

    def _image(self, shot: Shot) -> dict[str, Any]:
        spaces = self._combiner.image_spaces
        found = {name: shot.vectors[name] for name in spaces if name in shot.vectors}
        said = {"role": shot.role, "weight": shot.own_weight}
        known = {name: value for name, value in said.items() if value is not None}
        return {
            "ref": shot.ref,
            **known,
            **{name: self._write_vector(vector) for name, vector in found.items()},
        }

    def _report_failure(self, row: Row, shot: Shot) -> bool:
        failure = shot.failure or shot.words_failure
        if failure is None:
            return False
        stage, code, reason = failure
        self._tally.add("failed_pictures" if shot.failure else "failed_ocr")
        self._rejects.add(_reject(row, stage, f"images[{shot.number}]", f"{code}: {reason}"))
        return True

    def _note(self, row: Row, shot: Shot) -> None:
        if shot.failure is None:
            group = row.product.group_id or row.product.id
            self._shared.picture(content=shot.content, ref=shot.ref, group=group)
        if shot.stale and shot.failure is None:
            code, reason = shot.stale
            self._tally.add("stale_pictures")
            reason = f"as_last_time: {code}: {reason}"
            self._rejects.add(_reject(row, "picture", f"images[{shot.number}]", reason))

    def _done(self, row: Row | Edit) -> None:
        new = isinstance(row, Row) and row.known_hash is None
        self._tally.add("indexed" if new else "updated")
        self._forget(row)

    def _settled(self, row: Row | Edit | Deletion, how: str) -> None:
        """Nothing was to be written, or the document is gone."""
        if how == "conflict":
            reason = "conflict: somebody else wrote the product at the same time; feed this row back"
            self._refused(row, None, reason)
            return
        self._tally.add(how if how in ("deleted", "outdated") else "unchanged")
        self._forget(row)

    def _forget(self, row: Row | Edit | Deletion) -> Edit | None:
        return self._edits.done(row.product.id) if self._edits and isinstance(row, Row) else None

    def _refused(self, row: Row | Edit | Deletion | None, field_name: str | None, reason: str) -> None:
        self._refuse(row, "index", field_name, reason)

    def _refuse(
        self, row: Row | Edit | Deletion | None, stage: str, field_name: str | None, reason: str
    ) -> None:
        if isinstance(row, Row):
            edit = self._forget(row)
            reject = reject_of_edit(edit, stage, field_name, reason) if edit else None
            self._reject(reject or _reject(row, stage, field_name, reason))
        elif row is not None:
            self._reject(reject_of_edit(row, stage, field_name, reason))

    def _reject(self, reject: Reject) -> None:
        self._rejects.add(reject)
        self._tally.add("rejected")

    def _check_sum(self) -> None:
        counts = self._tally.counts()
        ends = ("indexed", "updated", "unchanged", "rejected", "deleted", "outdated")
        out = sum(counts[name] for name in ends)
        if counts["read"] != out:
            raise AssertionError(f"rows were lost: {counts}")


def _reject(row: Row, stage: str, field_name: str | None, reason: str) -> Reject:
    product = row.product
    return Reject(
        line=product.line, id=product.id, stage=stage, field=field_name, reason=reason, row=to_row(product)
    )


def _sampled(row: Row, vectors: Mapping[str, Vector], combiner: Combiner, pieces: str) -> Sampled:
    """What unrelated pairs are made of: what the index holds, or one picture where it holds them all."""
    shown = (
        next((shot.vectors for shot in row.shots if shot.vectors), {})
        if combiner.image_spaces
        else combiner.means(row.shots)
    )
    # Copies: a row of a batch's matrix would keep the whole matrix alive as long as the sample lives.
    pictures = {name: vector.copy() for name, vector in shown.items()}
    product = row.product
    return Sampled(
        group=product.group_id or product.id,
        title=product.title,
        text=None if row.text_vector is None else row.text_vector.copy(),
        joint=pictures.get(JOINT),
        visual=pictures.get(VISUAL, pictures.get(JOINT)),
        fused=vectors.get("fused"),
        said=frozenset(pieces.split(SEPARATOR)) - {""},
        shown=frozenset(grams(row.words)),
    )


def _version_meta(version: int | None) -> Mapping[str, Any]:
    return {} if version is None else {"version": version, "version_type": "external_gte"}
