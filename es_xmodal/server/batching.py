"""Queries that come at the same time go through the encoder together.

While a batch is in the model, the next one gathers by itself. Where batches came to more than one lately,
the first call of the next one waits a very short time for others, too; a caller that is alone never waits.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import EncoderError
from es_xmodal.vectors import Matrix

if TYPE_CHECKING:
    from es_xmodal.media.picture import Picture

Kind = Literal["text", "picture"]
OnBatch = Callable[[Kind, int], None]
"""Told the kind and the size of each batch that ran."""


@dataclass(frozen=True, slots=True)
class _Job:
    kind: Kind
    items: Sequence[Any]
    result: Future[dict[str, Matrix]]


class BatchingEncoder(Encoder):
    """An encoder in front of another one, which gathers the calls of many threads into batches.

    Args:
        encoder: does the work; closed with this one.
        wait_ms: how long the first call of a batch waits for others, where the batch before had several.
        on_batch: told about each batch.
    """

    def __init__(
        self, encoder: Encoder, *, wait_ms: float, on_batch: OnBatch = lambda kind, size: None
    ) -> None:
        self.info = encoder.info
        self.batch_size = encoder.batch_size
        self._encoder = encoder
        self._wait_s = wait_ms / 1000
        self._on_batch = on_batch
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._in_company = False
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="encode", daemon=True)
        self._thread.start()

    def prepare(self, picture: Picture) -> Any:
        """As the encoder does, in the thread of the caller."""
        return self._encoder.prepare(picture)

    def encode_pictures(self, prepared: Sequence[Any]) -> dict[str, Matrix]:
        """As the encoder does, together with what others ask for at the same time."""
        return self._ask("picture", prepared)

    def encode_texts(self, texts: Sequence[str]) -> dict[str, Matrix]:
        """As the encoder does, together with what others ask for at the same time."""
        return self._ask("text", texts)

    def close(self) -> None:
        """Finish what was asked for, then close the encoder."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._encoder.close()

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.floating]]:
        return self._encoder.encode_pictures(batch)

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        return self._encoder.encode_texts(batch)

    def _ask(self, kind: Kind, items: Sequence[Any]) -> dict[str, Matrix]:
        job = _Job(kind, items, Future())
        with self._lock:
            if self._closed:
                raise EncoderError("the encoder is closed")
            self._jobs.put(job)
        return job.result.result()

    def _work(self) -> None:
        last = False
        while not last:
            first = self._jobs.get()
            if first is None:
                return
            jobs, last = self._gather(first)
            for kind in ("text", "picture"):
                same = [job for job in jobs if job.kind == kind]
                if same:
                    self._answer(same)

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        """The jobs of one batch, and whether the end was among them."""
        jobs, size = [first], len(first.items)
        deadline = time.monotonic() + (self._wait_s if self._in_company else 0.0)
        while size < self.batch_size:
            try:
                job = self._jobs.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            size += len(job.items)
        self._in_company = len(jobs) > 1
        return jobs, False

    def _answer(self, jobs: Sequence[_Job]) -> None:
        encode = self._encoder.encode_texts if jobs[0].kind == "text" else self._encoder.encode_pictures
        items = [item for job in jobs for item in job.items]
        self._on_batch(jobs[0].kind, len(items))
        try:
            found = encode(items)
        except Exception as error:  # whatever it is, it belongs to those who asked
            if len(jobs) == 1:
                jobs[0].result.set_exception(error)
                return
            for job in jobs:  # one bad item must not cost the others their answer
                self._answer([job])
            return
        start = 0
        for job in jobs:
            end = start + len(job.items)
            job.result.set_result({name: rows[start:end] for name, rows in found.items()})
            start = end
