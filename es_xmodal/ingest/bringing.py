"""Documents of one version of an index are written to another one, with that one's tokeniser and encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from es_xmodal.catalog.product import Product, Reject
from es_xmodal.index.combining import Combining
from es_xmodal.index.idsets import Ids, hash_ids
from es_xmodal.ingest.document import dump_json
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.engine import LocalEngine
from es_xmodal.ingest.from_index import products_of
from es_xmodal.ingest.making import make_assembler, make_loader
from es_xmodal.ingest.options import IngestOptions, Parts
from es_xmodal.ingest.outcome import Outcome
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Row
from es_xmodal.ingest.sender import Item, OnReject, OnSettled, Sender
from es_xmodal.ingest.shared import SharedPictures


@dataclass(frozen=True, slots=True)
class _Sent:
    """A row with its document: the document may have to be sent once more."""

    row: Row
    body: bytes


class Bringer:
    """Writes what was written to one version, and deletes what was deleted there.

    Args:
        parts: as for `run_ingest`, those of the version that is written.
        options: placeholders, whether rows bring versions, and how documents are sent.
        alias: the version is written through it.
        combining: how it combines pictures and texts.
        rejects: where goes what does not make it.
        heartbeat: called now and then.
    """

    def __init__(
        self,
        parts: Parts,
        options: IngestOptions,
        *,
        alias: str,
        combining: Combining,
        rejects: RejectFile,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = parts
        self._options = options
        self._alias = alias
        self._combining = combining
        self._rejects = rejects
        self.heartbeat = heartbeat
        self.tally = Tally()

    def bring(self, hits: Iterable[Mapping[str, Any]]) -> tuple[Ids, Ids]:
        """Write documents.

        Args:
            hits: each product once; see `products_of`.

        Returns:
            The ids of all of them, and of those that were rejected.

        Raises:
            StoreError: the vector store cannot be used.
            EncoderServiceError: the encoder as a whole is out of order.
            ClusterError: the cluster cannot be reached or refuses.
        """
        seen: list[str] = []
        lost: list[str] = []
        late: list[_Sent] = []
        outcome = Outcome(tally=self.tally, rejects=self._rejects, shared=SharedPictures())

        def done(sent: _Sent) -> None:
            outcome.done(sent.row)

        def settled(sent: _Sent, how: str) -> None:
            # The version of a product that was deleted and made again starts anew, below what is there;
            # where rows bring their own versions, what is there is newer.
            if how == "outdated" and self._options.version_field is None:
                late.append(sent)
            else:
                outcome.settled(sent.row, how)

        def refused(sent: _Sent, field: str | None, reason: str) -> None:
            lost.append(sent.row.product.id)
            outcome.refused(sent.row, field, reason)

        loader = make_loader(
            self._parts, self.tally, combining=self._combining, placeholders=self._options.placeholders
        )
        embedder = Embedder(self._parts.encoder, self._parts.store, loader, self.tally)
        engine = LocalEngine(loader, embedder, batch_size=self._parts.encoder.batch_size)
        assembler = make_assembler(self._parts, self.tally, combining=self._combining)
        with (
            self._sender(done, settled, refused) as sender,
            closing(engine.rows(self._products(hits, outcome, seen, lost))) as groups,
        ):
            for rows in groups:
                for row in rows:
                    if outcome.embedded(row):
                        row.hash = loader.rehash(row)
                    sent = _Sent(row, dump_json(assembler.document(row)))
                    row.forget_vectors()
                    sender.add(_item(sent, versioned=True))
                self.heartbeat()
        with self._sender(done, settled, refused) as sender:
            for sent in late:
                sender.add(_item(sent, versioned=False))
        outcome.check_sum()
        return hash_ids(seen), hash_ids(lost)

    def delete(self, ids: Iterable[str]) -> None:
        """Delete products.

        Args:
            ids: those that the other version does not have any more.

        Raises:
            ClusterError: the cluster cannot be reached or refuses.
        """

        def settled(id_: str, how: str) -> None:
            self.tally.add("deleted", how == "deleted")

        def refused(id_: str, field: str | None, reason: str) -> None:
            row = {"id": id_, "deleted": True}
            self._rejects.add(Reject(line=0, id=id_, stage="index", field=field, reason=reason, row=row))

        with self._sender(lambda id_: None, settled, refused) as sender:
            for one in ids:
                sender.add(Item(row=one, id=one, kind="delete"))

    def _products(
        self, hits: Iterable[Mapping[str, Any]], outcome: Outcome, seen: list[str], lost: list[str]
    ) -> Iterator[Product]:
        for row in products_of(hits):
            self.tally.add("read")
            seen.append(row.id or "")
            if isinstance(row, Product):
                yield row
            else:
                lost.append(row.id or "")
                outcome.reject(row)

    @contextmanager
    def _sender(
        self, on_done: Callable[[Any], None], on_settled: OnSettled, on_reject: OnReject
    ) -> Iterator[Sender]:
        """All documents of one are confirmed before the next one begins, so that none is overtaken."""
        sender = Sender(
            self._parts.client,
            self._alias,
            on_done=on_done,
            on_settled=on_settled,
            on_reject=on_reject,
            options=self._options.sender,
            tally=self.tally,
        )
        try:
            yield sender
            sender.close()
        except BaseException:  # also Ctrl-C: leave no sending thread behind
            sender.stop()
            raise


def _item(sent: _Sent, *, versioned: bool) -> Item:
    product = sent.row.product
    meta = {"version": product.version, "version_type": "external_gte"} if versioned else {}
    return Item(row=sent, id=product.id, body=sent.body, meta=meta)
