"""How a catalogue becomes an index: streaming, with bounded memory, everything counted."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.catalog.document import to_row
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.encoders.base import JOINT, VISUAL, Encoder
from es_xmodal.errors import CatalogError
from es_xmodal.index.body import IndexOptions
from es_xmodal.index.combining import CombiningWish
from es_xmodal.index.quantisation import AUTO
from es_xmodal.ingest.ahead import ahead, batched
from es_xmodal.ingest.calibrate import Reservoir, Sampled
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.destination import Destination, open_destination
from es_xmodal.ingest.document import WriteVector, as_base64, as_floats, dump_json, token_fields, word_fields
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import IngestReport, Tally
from es_xmodal.ingest.rows import Loader, Row, Shot
from es_xmodal.ingest.sender import Item, Sender, SenderOptions
from es_xmodal.ingest.shared import SharedPictures
from es_xmodal.ingest.video import Videos
from es_xmodal.ingest.words import OcrParts, ShotWords
from es_xmodal.media.source import PictureSource
from es_xmodal.media.video import DEFAULT_VIDEO_LIMITS, VideoLimits
from es_xmodal.store.vectors import VectorStore
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR
from es_xmodal.vectors import Vector

_log = logging.getLogger(__name__)

ROWS_TOGETHER = 128
"""Rows that are loaded, and asked about, at once."""
BATCHES_AHEAD = 3
MAX_WORKERS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What an ingest works with."""

    client: Elasticsearch
    encoder: Encoder
    analyzer: Analyzer
    store: VectorStore
    pictures: PictureSource
    template: Mapping[str, Any]
    """`mappings/product.json`."""
    videos: VideoLimits = DEFAULT_VIDEO_LIMITS
    """What a video among the pictures may cost, and how many of its frames are taken."""
    base64_vectors: bool = False
    """Whether the server reads vectors as base64."""
    ocr: OcrParts | None = None
    """Reads the words on pictures; None: they are not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestOptions:
    """What an ingest is to do."""

    catalog: Path
    index: str
    renames: Mapping[str, str] = field(default_factory=dict)
    rejects: Path | None = None
    """None: `<catalogue>.rejects.jsonl` in the working directory."""
    rebuild: bool = False
    vector_index: str = AUTO
    """A kind of vector index, or `auto`: the rule of `es_xmodal.index.quantisation`."""
    expect: int | None = None
    """Products that the index is to hold in the end, for `auto`; None: those of the catalogue."""
    combining: CombiningWish = field(default_factory=CombiningWish)
    shards: int | None = None
    """None: 1 for a new index, what it has for one that is there."""
    replicas: int | None = None
    keep: int = 2
    """Complete versions that are kept after a swap, the new one included."""
    placeholders: frozenset[str] = frozenset()
    """SHA-256 of pictures that show no product, such as "no image"; they count as no picture."""
    sender: SenderOptions = field(default_factory=SenderOptions)

    @property
    def rejects_path(self) -> Path:
        """Where rejects go."""
        if self.rejects is not None:
            return self.rejects
        name = self.catalog.name.removesuffix(".gz")
        return Path(f"{Path(name).stem}.rejects.jsonl")

    def index_options(self, vector_index: str) -> IndexOptions:
        """How a new index is laid out.

        Args:
            vector_index: the kind that was chosen.
        """
        return IndexOptions(vector_index=vector_index, shards=self.shards or 1, replicas=self.replicas)


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
        What was done; rows read = indexed + updated + unchanged + rejected.

    Raises:
        CatalogError: the catalogue as a whole cannot be read, or the rejects file not be written.
        IndexStateError: the index is foreign, busy, or of another encoder, tokeniser or layout.
        ClusterError: the cluster cannot be reached or refuses; the index that served still serves.
        StoreError: the vector store cannot be used.
    """
    _check_paths(options)
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

    def run(self) -> IngestReport:
        start = time.perf_counter()
        parts, options = self._parts, self._options
        # First the file, then the cluster: a wrong path must not leave a half-built index behind.
        self._source = read_catalog(options.catalog, renames=options.renames)
        destination = open_destination(parts, options)
        try:
            with RejectFile(options.rejects_path) as self._rejects:
                self._move_rows(destination)
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
        )

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
        sender = Sender(
            parts.client,
            destination.alias,
            on_done=self._done,
            on_reject=self._refused,
            options=self._options.sender,
            tally=self._tally,
        )
        pool = ThreadPoolExecutor(min(MAX_WORKERS, (os.cpu_count() or 1) + 1), "load")
        try:
            for rows in self._groups(pool):
                self._embedder.embed(rows)
                for row in rows:
                    self._send(row, sender)
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
                return
            self._tally.add("read")
            if isinstance(row, Product):
                yield row
            else:
                self._reject(row)

    def _send(self, row: Row, sender: Sender) -> None:
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
            self._tally.add("unchanged")
            return
        with self._tally.time("tokenise"):
            tokens = token_fields(row.product, self._parts.analyzer)
            if self._parts.ocr:
                tokens |= word_fields(row.product, row.words, self._parts.analyzer)
        vectors = self._combiner.document(row.text_vector, row.shots)
        self._sample.add(partial(_sampled, row, vectors, self._combiner, tokens.get("grams", "")))
        body = self._document(row, tokens, vectors)
        row.forget_vectors()
        sender.add(Item(row=row, id=row.product.id, body=body))

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

    def _done(self, row: Row) -> None:
        self._tally.add("indexed" if row.known_hash is None else "updated")

    def _refused(self, row: Row, field_name: str | None, reason: str) -> None:
        self._reject(_reject(row, "index", field_name, reason))

    def _reject(self, reject: Reject) -> None:
        self._rejects.add(reject)
        self._tally.add("rejected")

    def _check_sum(self) -> None:
        counts = self._tally.counts()
        out = sum(counts[name] for name in ("indexed", "updated", "unchanged", "rejected"))
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


def _check_paths(options: IngestOptions) -> None:
    catalog, rejects = options.catalog, options.rejects_path
    if catalog.exists() and rejects.exists() and catalog.samefile(rejects):
        raise CatalogError(
            f"the rejects would overwrite the catalogue {catalog}", hint="name another file with --rejects"
        )
