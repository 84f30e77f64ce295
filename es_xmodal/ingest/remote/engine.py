"""From products to rows with their vectors, on other machines; the driver keeps order and stores."""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Protocol

from es_xmodal.catalog.product import Product
from es_xmodal.errors import EncoderError, EncoderServiceError, PictureError
from es_xmodal.ingest.ahead import WhereItPays, ahead, batched
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.engine import BATCHES_AHEAD, MAX_WORKERS, ROWS_TOGETHER, grouped
from es_xmodal.ingest.remote.package import Answer, Done, Piece
from es_xmodal.ingest.rows import Loader, Row, Shot
from es_xmodal.media.picture import content_hash
from es_xmodal.media.source import on_the_web
from es_xmodal.store.base import Keeps

HEARTBEAT_S: Final = 5.0
"""The caller gets a sign of life so often, also where nothing is finished."""
PACKED_AHEAD: Final = 4
"""Packages that are being packed, or wait to be sent."""
WAITING_FOR_EACH: Final = 8
"""Groups that may wait for their turn, for each package that may be on its way."""


class Workers(Protocol):
    """Machines that embed; `es_xmodal.ingest.remote.ray_pool.RayPool` is one."""

    @property
    def depth(self) -> int:
        """Packages that may be on their way at once, so that no worker waits."""

    @property
    def max_bytes(self) -> int:
        """Bytes that packages on their way may have together."""

    def send(self, number: int, package: bytes) -> None:
        """Give a package, a pickled list of `Piece`, to whichever worker is free.

        Args:
            number: counts the packages, from 0.
            package: at most `max_bytes`, or alone on its way.
        """

    def receive(self, timeout_s: float) -> tuple[int, Answer] | None:
        """Return the number of a package and what became of it, in any order; None: none came in time."""

    def close(self) -> None:
        """Stop, whatever is still on its way."""


@dataclass(kw_only=True, slots=True)
class _Group:
    """Rows whose turn comes together."""

    rows: list[Row]
    wanted: list[tuple[Row, Piece]]
    """What workers are asked for."""
    contents: set[str]
    """Pictures and texts that are on their way because of this group."""
    packed: bytes = b""
    """The pieces, pickled; empty where nothing is wanted."""
    answer: Answer | None = None


class RemoteEngine:
    """Loads rows here, has them decoded and embedded by workers, takes them back in order.

    What the stores know is asked for here, and what workers computed is kept here: a worker has no part in
    what lasts, so that one which dies costs nothing but the time of its package.

    Args:
        loader: reads pictures, asks the index and the stores.
        embedder: does what workers left, such as a picture whose twin failed.
        workers: the machines.
        words: where words on pictures are kept; None: they are not read.
        batch_size: pictures that the encoder takes at once.
    """

    def __init__(
        self,
        loader: Loader,
        embedder: Embedder,
        workers: Workers,
        *,
        words: Keeps[str] | None,
        batch_size: int,
    ) -> None:
        self._loader = loader
        self._embedder = embedder
        self._workers = workers
        self._tally = loader.tally
        self._store = loader.store
        self._words = words
        self._batch_size = batch_size
        self._waiting: deque[_Group] = deque()
        self._flying: dict[str, _Group] = {}
        """Pictures and texts that a worker is embedding: once is enough."""
        self._sent: dict[int, _Group] = {}
        self._next = 0
        self._send_files = False
        """Whether files are sent, because some worker does not see them."""

    def rows(self, products: Iterator[Product]) -> Generator[list[Row], None, None]:
        """See `Engine`."""
        pool = ThreadPoolExecutor(min(MAX_WORKERS, (os.cpu_count() or 1) + 1), "load")
        try:
            together = batched(products, ROWS_TOGETHER)
            batches = ahead(WhereItPays(pool), self._loader.load, together, depth=BATCHES_AHEAD)
            loaded = (row for batch in batches for row in batch)
            groups = map(self._plan, grouped(loaded, self._batch_size))
            skip = _with_nothing_to_send
            for group in ahead(pool, self._pack, groups, depth=PACKED_AHEAD, skip=skip):
                yield from self._make_room(len(group.packed))
                self._waiting.append(group)
                if group.packed:
                    self._send(group)
                self._receive(0)
                yield from self._finished()
            while self._waiting:
                self._receive(HEARTBEAT_S)
                yield from self._finished() or [[]]
        finally:
            pool.shutdown(cancel_futures=True)
            self._workers.close()

    def _plan(self, rows: list[Row]) -> _Group:
        """What workers are asked for; what is on its way already is waited for."""
        group = _Group(rows=rows, wanted=[], contents=set())
        changed = [row for row in rows if not row.unchanged]
        self._loader.look_up(changed)  # an earlier group may have brought something since these were loaded
        for row in changed:
            shots = [shot for shot in self._loader.to_look_at(row) if self._is_mine(shot.content, group)]
            wants_text = self._wants_text(row) and self._is_mine(f"text:{row.text}", group)
            if shots or wants_text:
                group.wanted.append((row, Piece(shots=shots, text=row.text if wants_text else None)))
        if not group.wanted:
            self._loader.let_go(rows)
        return group

    def _wants_text(self, row: Row) -> bool:
        return self._loader.text_space is not None and row.text_vector is None and row.text_failure is None

    def _is_mine(self, content: str, group: _Group) -> bool:
        owner = self._flying.setdefault(content, group)
        if owner is group:
            group.contents.add(content)
        return owner is group

    def _pack(self, group: _Group) -> _Group:
        """Read what workers cannot read for themselves, and pickle all."""
        package: list[Piece] = []
        for _, piece in group.wanted:
            sent = [(shot, self._to_send(shot)) for shot in piece.shots]
            piece.shots[:] = [shot for shot, packed in sent if packed]
            package.append(Piece(shots=[packed for _, packed in sent if packed], text=piece.text))
        group.packed = pickle.dumps(package, protocol=pickle.HIGHEST_PROTOCOL)
        self._loader.let_go(group.rows)
        return group

    def _to_send(self, shot: Shot) -> Shot | None:
        """Add the bytes where a worker has no other way to them; None: they cannot be had any more."""
        if shot.data is not None or not (self._send_files or on_the_web(shot.ref)):
            return shot
        try:
            data = self._loader.pictures.read(shot.ref)
        except PictureError:
            return None  # it comes late, and then is reported
        return replace(shot, data=data) if content_hash(data) == shot.content else None

    def _send(self, group: _Group) -> None:
        number, self._next = self._next, self._next + 1
        self._sent[number] = group
        self._workers.send(number, group.packed)

    def _make_room(self, size: int) -> Iterator[list[Row]]:
        """Wait until as much is on its way as there may be, and no more."""
        while self._is_full(size):
            self._receive(HEARTBEAT_S)
            yield from self._finished() or [[]]

    def _is_full(self, size: int) -> bool:
        depth = self._workers.depth
        if len(self._sent) >= depth or len(self._waiting) >= WAITING_FOR_EACH * depth:
            return True
        on_the_way = sum(len(group.packed) for group in self._sent.values())
        return bool(self._sent) and on_the_way + size > self._workers.max_bytes

    def _receive(self, timeout_s: float) -> None:
        """Take all answers that are there; the first one is waited for."""
        while received := self._workers.receive(timeout_s):
            number, answer = received
            timeout_s = 0
            group = self._sent.pop(number)
            if answer.failure:
                error = EncoderServiceError if answer.failure.service else EncoderError
                raise error(answer.failure.message, hint=answer.failure.hint)
            if answer.unseen:
                self._send_files = True
                self._send(self._pack(group))
            else:
                group.answer = answer

    def _finished(self) -> list[list[Row]]:
        """Rows whose turn it is, and that have everything."""
        done: list[list[Row]] = []
        while self._waiting and (self._waiting[0].answer or not self._waiting[0].packed):
            group = self._waiting.popleft()
            self._finish(group)
            done.append(group.rows)
        return done

    def _finish(self, group: _Group) -> None:
        if group.answer:
            self._keep(group.answer)
            for (row, piece), done in zip(group.wanted, group.answer.pieces, strict=True):
                _take(row, piece, done)
        for content in group.contents:
            del self._flying[content]
        # What another group brought, and what it failed at.
        late = [row for row in group.rows if not row.unchanged and self._lacks_something(row)]
        if late:
            self._loader.look_up(late)
            self._embedder.embed([self._loader.decode(row) for row in late])

    def _lacks_something(self, row: Row) -> bool:
        return self._wants_text(row) or bool(self._loader.to_look_at(row))

    def _keep(self, answer: Answer) -> None:
        with self._tally.time("store"):
            self._store.put_many(answer.vectors)
            if self._words is not None:
                self._words.put_many(answer.words)
        for what, count in answer.counts.items():
            self._tally.add(what, count)
        for stage, seconds in answer.seconds.items():
            self._tally.spend(stage, seconds)


def _with_nothing_to_send(group: _Group) -> _Group | None:
    return None if group.wanted else group


def _take(row: Row, piece: Piece, done: Done) -> None:
    """Put what a worker made of pictures in their place."""
    parts = {id(shot): made for shot, made in zip(piece.shots, done.shots, strict=True)}
    row.shots = [part for shot in row.shots for part in parts.get(id(shot), [shot])]
    if piece.text is not None:
        row.text_vector, row.text_failure = done.text_vector, done.text_failure
