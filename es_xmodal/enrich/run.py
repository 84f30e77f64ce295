"""Enrich: our fields for the documents of an index that the shop already has, and nothing else of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.catalog.product import Product
from es_xmodal.catalog.shop import pick, read_shop
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.cluster.search import search
from es_xmodal.encoders.base import JOINT
from es_xmodal.enrich.layout import Layout
from es_xmodal.enrich.move import CHECKPOINT_S, ROUNDS
from es_xmodal.enrich.options import EnrichOptions
from es_xmodal.enrich.outcome import Enriched
from es_xmodal.enrich.pace import Pace
from es_xmodal.enrich.place import (
    ShopIndex,
    add_fields,
    check_open,
    check_since,
    check_source,
    find_shop_index,
    next_meta,
    plan_layout,
    write_meta,
)
from es_xmodal.enrich.report import EnrichReport
from es_xmodal.enrich.sample import sample_index
from es_xmodal.enrich.walk import Progress, Seen, later_than, read_again, read_shard
from es_xmodal.index.builder import forget, new_builder
from es_xmodal.index.combining import Combining
from es_xmodal.index.marks import take_marks
from es_xmodal.index.meta import IndexMeta
from es_xmodal.ingest.calibrate import calibrate
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.engine import LocalEngine
from es_xmodal.ingest.known import COMPARED, mark
from es_xmodal.ingest.making import make_assembler, make_loader
from es_xmodal.ingest.options import Parts
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Row
from es_xmodal.ingest.sender import Item, Sender
from es_xmodal.ingest.shared import SharedPictures
from es_xmodal.query.fields import OBJECT

_TIMEOUT_S = 60.0

OnProgress = Callable[[Tally], None]


def run_enrich(
    parts: Parts, options: EnrichOptions, *, on_progress: OnProgress = lambda tally: None
) -> EnrichReport:
    """Add tokens, pictures and vectors to the documents of a shop's index.

    Everything is written below the one field `es_xmodal`, by partial updates that hold only for the state of
    the document that was read. A run goes on where the last one stopped, whether that was killed or came to
    its end, and so takes what the shop wrote since.

    Args:
        parts: cluster, encoder, tokeniser, store, pictures.
        options: what to do.
        on_progress: called now and then with the counters so far.

    Returns:
        What was done.

    Raises:
        SettingsError: a field does not exist, or options contradict each other.
        CatalogError: the rejects file cannot be written.
        IndexStateError: there is no such index, it cannot take the fields, or has those of another encoder.
        ClusterError: the cluster cannot be reached or refuses; the next run goes on.
        StoreError: the vector store cannot be used.
    """
    builder = new_builder()
    try:
        client = parts.client
        shop = find_shop_index(client, options.index)
        check_source(shop)
        check_open(shop)
        info = parts.encoder.info
        check_since(shop, options.since)
        layout, choice = plan_layout(
            client,
            shop,
            template=parts.template,
            encoder=info,
            asked=options.paths,
            vector_index=options.vector_index,
        )
        meta = next_meta(
            shop,
            layout=layout,
            encoder=info,
            text_fingerprint=parts.analyzer.fingerprint,
            builder=builder,
            whole=options.whole,
        )
        add_fields(client, shop, layout, meta)
        run = _Run(parts, options, shop=shop, layout=layout, meta=meta, on_progress=on_progress)
        return run.run(choice)
    finally:
        forget(builder.run_id)


class _Run:
    """One enrichment."""

    def __init__(
        self,
        parts: Parts,
        options: EnrichOptions,
        *,
        shop: ShopIndex,
        layout: Layout,
        meta: IndexMeta,
        on_progress: OnProgress,
    ) -> None:
        self._parts, self._options, self._layout = parts, options, layout
        self._index, self._name = shop.index, shop.name
        self._client: Elasticsearch = parts.client
        self._meta = meta
        self._on_progress = on_progress
        self._tally = Tally()
        self._shared = SharedPictures()
        self._pace = Pace(options.docs_per_second)
        self._told_s = time.monotonic()
        # The document's id is `_id`, whatever the shop shows as one.
        self._paths = {part: path for part, path in layout.paths.items() if part != "id"}
        self._combiner = Combiner(Combining(), parts.encoder.info)
        words_unread = replace(parts, ocr=None)
        self._loader = make_loader(
            words_unread,
            self._tally,
            combining=Combining(),
            placeholders=options.placeholders,
            known_marks=self._known,
        )
        self._embedder = Embedder(parts.encoder, parts.store, self._loader, self._tally)
        self._assembler = make_assembler(words_unread, self._tally, combining=Combining())

    def run(self, choice: Any) -> EnrichReport:
        start = time.perf_counter()
        until = take_marks(self._client, self._index)
        before = self._meta.shop.walked if self._meta.shop else None
        # A restored or otherwise new index of the same name numbers its operations anew.
        self._walked = before if before and before.uuid == until.uuid else None
        self._progress = Progress(until, self._walked)
        with cluster_errors(self._client, f"refreshing {self._index}"):
            self._client.indices.refresh(index=self._index)
        with RejectFile(self._options.rejects_path) as rejects:
            self._outcome = Enriched(
                tally=self._tally, rejects=rejects, shared=self._shared, progress=self._progress
            )
            self._move(len(until.numbers))
            with self._tally.time("finish"):
                documents, enriched = self._finish()
        reasons = dict(rejects.reasons)
        return EnrichReport(
            counts=self._tally.counts(),
            seconds=round(time.perf_counter() - start, 3),
            seconds_by_stage=self._tally.seconds(),
            index=self._index,
            name=self._name,
            documents=documents,
            enriched=enriched,
            paths=self._layout.paths,
            own=self._layout.own,
            vector_index=choice,
            rejects_file=str(self._options.rejects_path) if reasons else None,
            rejects_by_reason=reasons,
            reject_examples=dict(rejects.examples),
            shared_pictures=self._shared.found(),
        )

    def _move(self, shards: int) -> None:
        """Shard by shard all documents, then those that the shop wrote while they were on their way."""
        for shard in range(shards):
            self._send_all(self._read(shard))
            for _ in range(ROUNDS):
                again = self._progress.take_again()
                if not again:
                    break
                self._send_all(self._read_again(again))
            for one in self._progress.take_again():
                self._outcome.given_up(one.id, one.source)
        self._outcome.check_sum()

    def _send_all(self, documents: Iterable[Seen]) -> None:
        engine = LocalEngine(self._loader, self._embedder, batch_size=self._parts.encoder.batch_size)
        sender = Sender(
            self._client,
            self._index,
            on_done=self._outcome.done,
            on_settled=self._outcome.settled,
            on_reject=self._outcome.refused,
            options=self._options.sender,
            tally=self._tally,
            require_alias=False,
        )
        try:
            # Closed at once where a row raises: its threads must not outlive the sender.
            with closing(engine.rows(self._products(documents))) as groups:
                for rows in groups:
                    for row in rows:
                        self._send(sender, row)
                    self._checkpoint()
                    self._on_progress(self._tally)
            sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise
        self._on_progress(self._tally)

    def _read(self, shard: int) -> Iterator[Seen]:
        query = self._query(shard)
        for one in read_shard(self._client, self._index, shard, query, self._layout.includes):
            self._tally.add("read")
            self._progress.read(one)
            yield one
        self._progress.finished(shard)

    def _query(self, shard: int) -> dict[str, Any]:
        if self._options.since is None:
            return later_than(self._walked, shard)
        name, value = self._options.since
        return {"range": {name: {"gte": value}}}

    def _read_again(self, documents: Sequence[Seen]) -> Iterator[Seen]:
        found = read_again(self._client, self._index, documents, self._layout.includes)
        for id_, one in found.items():
            if one is None:
                self._outcome.gone(id_)
            else:
                self._progress.read(one)
                yield one

    def _products(self, documents: Iterable[Seen]) -> Iterator[Product]:
        for number, one in enumerate(documents, start=1):
            with self._tally.time("read"):
                found = read_shop(one.source, id_=one.id, line=number, paths=self._paths)
            if isinstance(found, Product):
                yield self._bare(found)
            else:
                self._outcome.unreadable(one.id, found)

    def _bare(self, product: Product) -> Product:
        """Without what is not kept beside the shop's own fields: its edits need no write of ours."""
        kept = self._layout.properties
        gone = {part: None for part in COMPARED if part not in kept}
        return replace(product, url=None, extra={}, **gone)  # type: ignore[arg-type]  # all three may be None

    def _known(self, ids: Sequence[str]) -> dict[str, int]:
        """What the documents say of themselves: they were just read."""
        found = {}
        for id_ in ids:
            ours = pick(self._progress.of(id_).source, OBJECT)
            inner = (ours[0] if isinstance(ours, list) and ours else ours) or {}
            if "row_hash" in inner:
                found[id_] = mark(str(inner["row_hash"]), inner)
        return found

    def _send(self, sender: Sender, row: Row) -> None:
        if self._outcome.embedded(row):
            row.hash = self._loader.rehash(row)
        if row.unchanged:
            self._outcome.settled(row, "noop")
            return
        self._pace.take()
        # A list of one object takes the place of what was there; an object would be merged into it.
        document = [self._layout.copies(self._assembler.document(row))]
        body = dump_json({"doc": {OBJECT: document}})
        row.forget_vectors()
        id_ = row.product.id
        sender.add(Item(row=row, id=id_, body=body, kind="update", meta=self._progress.of(id_).meta))

    def _checkpoint(self) -> None:
        if time.monotonic() - self._told_s >= CHECKPOINT_S:
            self._write_meta(self._meta)

    def _write_meta(self, meta: IndexMeta) -> None:
        if meta.shop and self._options.since is None:
            meta = replace(meta, shop=replace(meta.shop, walked=self._progress.marks))
        write_meta(self._client, self._index, replace(meta, lease=time.time()))
        self._told_s = time.monotonic()

    def _finish(self) -> tuple[int, int]:
        with cluster_errors(self._client, f"refreshing {self._index}"):
            self._client.indices.refresh(index=self._index)
        self._progress.pass_over_ours(take_marks(self._client, self._index))
        documents, enriched, pictured = self._count()
        calibration = dict(self._meta.calibration)
        if not calibration or self._options.whole:
            calibration = self._calibrate()
        done = replace(
            self._meta,
            state="complete",
            calibration=calibration,
            counts={"documents": documents, "without_image": documents - pictured},
        )
        self._write_meta(done)
        return documents, enriched

    def _calibrate(self) -> dict[str, Any]:
        shop = self._meta.shop
        if shop is None:
            return {}
        vectors = [one.path for one in self._combiner.fields.values()]
        sample = sample_index(self._client, self._index, shop, vectors)
        return calibrate(sample, combiner=self._combiner, encode_titles=self._embedder.titles)

    def _count(self) -> tuple[int, int, int]:
        """Documents, those with our fields, and those with a picture that can be searched."""
        enriched = {"exists": {"field": f"{OBJECT}.row_hash"}}
        vector = {"exists": {"field": f"{OBJECT}.images.{JOINT}"}}
        pictured = {"nested": {"path": f"{OBJECT}.images", "query": vector}}
        body = {
            "size": 0,
            "track_total_hits": True,
            "aggs": {"enriched": {"filter": enriched}, "pictured": {"filter": pictured}},
        }
        answer = search(self._client, self._index, body, timeout_s=_TIMEOUT_S)
        inside = answer["aggregations"]
        total = int(answer["hits"]["total"]["value"])
        return total, int(inside["enriched"]["doc_count"]), int(inside["pictured"]["doc_count"])
