"""Workers on Ray Data: a stream of package numbers, mapped by actors that each hold the encoder.

The packages themselves lie in Ray's object store, and a desk says under which number. So the stream is the
same whenever Ray has to repeat a part of it, and what a lost machine had in hand is simply done again.
"""

from __future__ import annotations

import asyncio
import inspect
import pickle
import queue
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from es_xmodal.errors import WorkersError, XModalError
from es_xmodal.ingest.remote.package import Answer, Recipe
from es_xmodal.ingest.remote.ray_cluster import Machines, RayCluster, one_line
from es_xmodal.ingest.remote.worker import Worker, failure

IN_WORK: Final = 2
"""Packages in the hands of one worker: one is embedded, the next is decoded meanwhile."""
ON_THE_WAY: Final = 4
"""Packages for each worker, so that the next one lies ready when one is done."""
STORE_SHARE: Final = 0.3
"""Part of the driver's object store that packages may fill: beyond it Ray writes to the disk."""
CLOSE_S: Final = 10.0
"""How long to wait for workers that have something in hand when the ingest ends."""


class RayPool:
    """Embeds on a Ray cluster; see `es_xmodal.ingest.remote.engine.Workers`.

    Args:
        cluster: where; it is connected.
        recipe: what workers need to know.

    Raises:
        WorkersError: there is no room for a worker.
    """

    def __init__(self, cluster: RayCluster, recipe: Recipe) -> None:
        import ray

        self._ray = ray
        self._cluster = cluster
        self._machines = cluster.machines(recipe.gpus)
        self.max_bytes = int(cluster.store_bytes() * STORE_SHARE)
        self._answers: queue.SimpleQueue[tuple[int, Answer] | BaseException | None] = queue.SimpleQueue()
        self._packages: dict[int, Any] = {}
        self._desk: Any = ray.remote(num_cpus=0)(Desk).options(**cluster.beside_the_driver()).remote()
        self._thread = threading.Thread(target=self._collect, args=(recipe,), name="ray-answers", daemon=True)

    @property
    def depth(self) -> int:
        """See `Workers`."""
        return ON_THE_WAY * max(self._machines.least, self._cluster.slots(self._machines))

    def send(self, number: int, package: bytes) -> None:
        """See `Workers`."""
        if not number:  # the first package: where there is none, no worker is started
            self._thread.start()
        self._packages[number] = self._ray.put(package)
        # In a list: Ray would send what a bare reference means.
        self._desk.put.remote(number, [self._packages[number]])

    def receive(self, timeout_s: float) -> tuple[int, Answer] | None:
        """See `Workers`.

        Raises:
            WorkersError: the workers cannot go on.
        """
        try:
            answer = self._answers.get(timeout=timeout_s) if timeout_s else self._answers.get_nowait()
        except queue.Empty:
            return None
        if not isinstance(answer, tuple):
            reason = one_line(answer) if answer else "the stream of answers ended early"
            raise WorkersError(
                f"Ray: the workers cannot go on: {reason}",
                hint="es-xmodal must be installed on every machine of the cluster; `ray status` shows which "
                "there are",
            ) from answer
        self._desk.forget.remote(answer[0])
        del self._packages[answer[0]]
        return answer

    def close(self) -> None:
        """See `Workers`."""
        self._desk.close.remote()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        self._packages.clear()

    def _collect(self, recipe: Recipe) -> None:
        try:
            for batch in _stream(self._desk, recipe, self._machines):
                for number, answer in zip(batch["number"], batch["answer"], strict=True):
                    if answer:
                        self._answers.put((int(number), pickle.loads(answer)))
            self._answers.put(None)
        except BaseException as error:  # whatever it is, the ingest must hear of it
            self._answers.put(error)


class Desk:
    """An actor: which package is where. Its methods wait without holding up each other."""

    def __init__(self) -> None:
        self._packages: dict[int, list[Any]] = {}
        self._count = 0
        self._closed = False
        self._news = asyncio.Condition()

    async def put(self, number: int, package: list[Any]) -> None:
        """A package is there."""
        async with self._news:
            self._packages[number] = package
            self._count = max(self._count, number + 1)
            self._news.notify_all()

    async def forget(self, number: int) -> None:
        """A package is done."""
        self._packages.pop(number, None)

    async def close(self) -> None:
        """There are no more packages, and those that are left are wanted no more."""
        async with self._news:
            self._packages.clear()
            self._closed = True
            self._news.notify_all()

    async def comes(self, number: int) -> bool:
        """Wait until there is a package of that number, or never will be."""
        async with self._news:
            await self._news.wait_for(lambda: self._closed or number < self._count)
            return number < self._count

    async def get(self, number: int) -> list[Any] | None:
        """Return a package; None: it is done already, or wanted no more."""
        return self._packages.get(number)


class Embed:
    """A callable of Ray Data: numbers of packages in, answers out.

    Args:
        desk: knows the packages.
        recipe: what the worker needs to know.
        threads: that it may use.
    """

    def __init__(self, desk: Any, recipe: Recipe, threads: int) -> None:
        import ray

        self._ray = ray
        self._desk = desk
        self._failure = None
        try:
            self._worker = Worker(recipe, threads=threads)
        except XModalError as error:  # an error here would have Ray try again and again
            self._failure = failure(error)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Work on packages."""
        numbers = [int(number) for number in batch["number"]]
        return {"number": numbers, "answer": [self._answer(number) for number in numbers]}

    def _answer(self, number: int) -> bytes:
        package = self._ray.get(self._desk.get.remote(number))
        if package is None:
            return b""
        if self._failure:
            return pickle.dumps(Answer(failure=self._failure))
        pieces = pickle.loads(self._ray.get(package[0]))
        return pickle.dumps(self._worker.work(pieces), protocol=pickle.HIGHEST_PROTOCOL)


def _stream(desk: Any, recipe: Recipe, machines: Machines) -> Iterator[Mapping[str, Any]]:
    from ray.data import ActorPoolStrategy, read_datasource

    numbers = read_datasource(_source(desk), override_num_blocks=1, num_cpus=0)
    # Ray 2.59 gave this option another name and another place.
    named = "max_concurrent_calls_per_actor" in inspect.signature(ActorPoolStrategy).parameters
    in_pool = {"max_concurrent_calls_per_actor": IN_WORK} if named else {}
    in_actor = {} if named else {"max_concurrency": IN_WORK}
    answers = numbers.map_batches(
        Embed,
        fn_constructor_kwargs={"desk": desk, "recipe": recipe, "threads": machines.cpus},
        batch_size=1,
        compute=ActorPoolStrategy(
            min_size=machines.least,
            max_size=machines.most,
            max_tasks_in_flight_per_actor=ON_THE_WAY,
            enable_true_multi_threading=True,
            **in_pool,
        ),
        num_cpus=machines.cpus,
        num_gpus=machines.gpus,
        **in_actor,
    )
    context = answers.context
    context.target_max_block_size = 1  # each number, and each answer, on its way as soon as it is there
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    yield from answers.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0)


def _source(desk: Any) -> Any:
    """A source of Ray Data whose one task gives the numbers of the packages as they come."""
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    class Numbers(Datasource):  # type: ignore[misc]
        def get_name(self) -> str:
            return "Packages"

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *more: Any, **named: Any) -> list[ReadTask]:
            about = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(partial(_numbers, desk), about)]

    return Numbers()


def _numbers(desk: Any) -> Iterator[Any]:
    import pyarrow
    import ray

    number = 0
    while ray.get(desk.comes.remote(number)):
        yield pyarrow.table({"number": [number]})
        number += 1
