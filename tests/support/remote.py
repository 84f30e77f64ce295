"""Workers of this process, and encoders that another process can make, for tests of many machines."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from es_xmodal._version import __version__
from es_xmodal.catalog.product import Product
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.encoders.base import Encoder
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.engine import Engine, LocalEngine
from es_xmodal.ingest.remote.engine import RemoteEngine, Workers
from es_xmodal.ingest.remote.package import Again, Answer, Recipe
from es_xmodal.ingest.remote.worker import Worker
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Loader, Shot
from es_xmodal.ingest.video import Videos
from es_xmodal.ingest.words import OcrParts, ShotWords
from es_xmodal.media.ocr import WordReader
from es_xmodal.media.source import PictureSource, Web
from es_xmodal.media.video import DEFAULT_VIDEO_LIMITS
from es_xmodal.store.texts import TextStore
from es_xmodal.store.vectors import VectorStore
from tests.support.encoders import HashEncoder
from tests.support.ingesting import shop_rows, write_rows


def hash_encoder(cores: int, gpu: bool) -> Encoder:
    """What `Again.encoder` is to be."""
    return HashEncoder()


def other_encoder(cores: int, gpu: bool) -> Encoder:
    """An encoder that is not the driver's."""
    return HashEncoder(fingerprint="hash-0000000000000002")


class DyingEncoder(HashEncoder):
    """Kills its process while it encodes its second batch, once: a file says that it did."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self._mark = mark

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[Any]]:
        if len(self.calls) > 0 and not self._mark.exists():
            self._mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._picture_batch(batch)


class SlowWorkerEncoder(HashEncoder):
    """Takes its time, so that a test can act in the middle."""

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[Any]]:
        time.sleep(0.5)
        return super()._picture_batch(batch)


def dying_encoder(mark: Path, cores: int, gpu: bool) -> Encoder:
    return DyingEncoder(mark)


def slow_encoder(cores: int, gpu: bool) -> Encoder:
    return SlowWorkerEncoder()


AGAIN = Again(encoder=hash_encoder)


class Threads:
    """Workers in threads of this process; what they get and give is pickled as for another machine.

    Attributes:
        sent: each package that was sent.
        most: on their way at one time.
    """

    def __init__(self, recipe: Recipe, *, workers: int = 2, max_bytes: int = 1 << 30) -> None:
        self.depth = 2 * workers
        self.max_bytes = max_bytes
        self.sent: list[bytes] = []
        self.most = 0
        self.closed = False
        self._on_the_way = 0
        self._packages: queue.Queue[tuple[int, bytes] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[int, Answer]] = queue.Queue()
        self._worker = Worker(recipe, threads=2)
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def send(self, number: int, package: bytes) -> None:
        assert number == len(self.sent)
        self.sent.append(package)
        self._on_the_way += 1
        self.most = max(self.most, self._on_the_way)
        self._packages.put((number, package))

    def receive(self, timeout_s: float) -> tuple[int, Answer] | None:
        try:
            answer = self._answers.get(timeout=timeout_s) if timeout_s else self._answers.get_nowait()
        except queue.Empty:
            return None
        self._on_the_way -= 1
        return answer

    def close(self) -> None:
        self.closed = True
        for _ in self._threads:
            self._packages.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._packages.get():
            answer = self._worker.work(pickle.loads(job[1]))
            self._answers.put((job[0], pickle.loads(pickle.dumps(answer))))


@dataclass(kw_only=True)
class Place:
    """Everything that an engine works with, in one folder, without a cluster.

    Attributes:
        known: ids -> what the index holds of them.
        recipe: what workers are told.
    """

    loader: Loader
    embedder: Embedder
    recipe: Recipe
    tally: Tally
    words: TextStore | None
    known: dict[str, int]

    def local(self) -> LocalEngine:
        return LocalEngine(self.loader, self.embedder, batch_size=4)

    def remote(self, workers: Workers) -> RemoteEngine:
        return RemoteEngine(self.loader, self.embedder, workers, words=self.words, batch_size=4)


@contextmanager
def place(
    home: Path,
    root: Path,
    *,
    encoder: Encoder | None = None,
    again: Again = AGAIN,
    reader: WordReader | None = None,
    web: Web | None = None,
    seen_root: Path | None = None,
) -> Iterator[Place]:
    """A new store below `home`; workers see the pictures below `seen_root`, if that is another folder."""
    tally, known, info = Tally(), dict[str, int](), (encoder or HashEncoder()).info
    encoder = encoder or HashEncoder()
    with ExitStack() as stack:
        store = stack.enter_context(VectorStore.open(home / "vectors"))
        words = stack.enter_context(TextStore.open(home / "texts")) if reader else None
        ocr = OcrParts(reader=reader, store=words) if reader and words else None
        videos = Videos(store, DEFAULT_VIDEO_LIMITS, max_side=info.decode_side, prepare=encoder.prepare)
        loader = Loader(
            encoder=encoder,
            text_fingerprint="text",
            store=store,
            pictures=PictureSource(root, web=web),
            tally=tally,
            known_marks=lambda ids: {id_: known[id_] for id_ in ids if id_ in known},
            words=ShotWords(ocr, tally) if ocr else None,
            videos=videos,
        )
        recipe = Recipe(
            version=__version__,
            again=again,
            gpus=0,
            encoder=info.fingerprint,
            reader=reader.fingerprint if reader else "",
            root=seen_root or root,
            limits=loader.pictures.limits,
            videos=DEFAULT_VIDEO_LIMITS,
            combining=loader.combining,
        )
        embedder = Embedder(encoder, store, loader, tally)
        yield Place(loader=loader, embedder=embedder, recipe=recipe, tally=tally, words=words, known=known)


def outcome(place: Place, engine: Engine, products: Iterable[Product]) -> list[dict[str, Any]]:
    """All that an engine gives for each product, in the order that it gives it."""
    rows = [row for rows in engine.rows(iter(products)) for row in rows]
    return [
        {
            "id": row.product.id,
            "hash": place.loader.rehash(row),
            "unchanged": row.unchanged,
            "text": None if row.text_vector is None else row.text_vector.tobytes(),
            "text_failure": row.text_failure,
            "shots": [_shot(shot) for shot in row.shots],
        }
        for row in rows
    ]


def _shot(shot: Shot) -> dict[str, Any]:
    assert shot.data is None
    assert shot.prepared is None or shot.failure
    kept = (
        "number",
        "ref",
        "content",
        "failure",
        "stale",
        "weight",
        "words",
        "words_failure",
        "part",
        "file",
    )
    vectors = {name: vector.tobytes() for name, vector in sorted(shot.vectors.items())}
    return {**{name: getattr(shot, name) for name in kept}, "vectors": vectors}


def products_of(rows: Iterable[Mapping[str, Any]]) -> list[Product]:
    """Rows as a catalogue reader gives them."""
    with TemporaryDirectory() as folder:
        found = read_catalog(write_rows(Path(folder), list(rows)))
        return [row for row in found if isinstance(row, Product)]


def main(home: str) -> None:
    """Embed for as long as one lets it: an ingest on Ray that a test interrupts."""
    from es_xmodal.ingest.remote.ray_cluster import RayCluster, RayOptions
    from es_xmodal.ingest.remote.ray_pool import RayPool

    root = Path(home) / "shop"
    products = products_of(shop_rows(root, 400))
    with (
        RayCluster(RayOptions(workers=1)) as cluster,
        place(Path(home), root, again=Again(encoder=slow_encoder)) as one,
        closing(one.remote(RayPool(cluster, one.recipe)).rows(iter(products))) as groups,
    ):
        for rows in groups:
            if rows:
                print("embedding", flush=True, file=sys.__stdout__)


if __name__ == "__main__":
    main(*sys.argv[1:])
