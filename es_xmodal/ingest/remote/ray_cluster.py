"""A Ray cluster for one ingest: one that is there, or one on this machine that goes when the ingest ends."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from es_xmodal.errors import MissingExtraError, SettingsError, WorkersError

LOCAL: Final = "local"
STORE_BYTES: Final = 512 * 2**20
"""Object store of a cluster that is started here; Ray's own default would be 30 % of the memory."""
CORES_A_WORKER: Final = 4
"""Without a GPU. More cores make one batch hardly faster; more workers do."""
_FRESH_S: Final = 5.0
_KNOCK_S: Final = 10.0
_LONGEST_REASON: Final = 300
_NAMES_ERROR: Final = re.compile(r"(?!ray\.)[\w.]*(Error|Exception): ")
_NO_CLUSTER: Final = (
    "`ray start --head` on one machine starts one, and tells its address; one that asks for a token needs "
    "RAY_AUTH_MODE=token here"
)
_NOT_STARTED: Final = "it needs some GB of memory, and room in TMPDIR, whose path must be short"
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""Ray reads these when it is imported and when it starts; what a person has set stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RayOptions:
    """How an ingest uses Ray.

    Args:
        address: `HOST:PORT` or `auto`; None: `RAY_ADDRESS`, else a cluster is started on this machine.
        workers: at most; None: as many as the cluster has room for.
        gpus: of each worker; None: one where the encoder runs on one here.
    """

    address: str | None = None
    workers: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """What the cluster gives to this ingest.

    Args:
        least: workers that are started at once.
        most: workers at most; None: as many as there is room for, also on machines that join later.
        cpus: cores of each.
        gpus: of each.
    """

    least: int
    most: int | None
    cpus: int
    gpus: int


class RayCluster:
    """A connection to Ray; a context manager. Where this process is connected already, that is used.

    Args:
        options: where, and how many workers.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: the address is one of Ray Client.
        WorkersError: there is no cluster at that address, or none can be started.
    """

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._asked_at = 0.0
        self._nodes: list[Mapping[str, Any]] = []
        self._folder: str | None = None
        address = options.address or os.environ.get("RAY_ADDRESS") or LOCAL
        if address.startswith("ray://"):
            raise SettingsError(
                f"Ray address {address}: an ingest cannot run through Ray Client",
                hint="run it on a machine of the cluster with --ray-address auto, or with `ray job submit`",
            )
        self._ray = _imported()
        self._ours = not self._ray.is_initialized()
        self._diverted = ExitStack()
        if self._ours:
            # Ray prints to standard output that a worker died, and a program may be reading that.
            self._diverted.enter_context(redirect_stdout(sys.stderr))
            try:
                self._start(address)
            except BaseException:  # also Ctrl-C: leave neither processes nor a folder behind
                self.close()
                raise

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, or stop it where it was started for this."""
        if self._ours:
            self._ray.shutdown()
        self._diverted.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def machines(self, gpus: int) -> Machines:
        """Divide the cluster into workers.

        Args:
            gpus: of each worker.

        Raises:
            WorkersError: no machine has room for one.
        """
        wanted = self._options.workers
        # Cores that one worker may have on each machine: all that its GPU can be fed with, or a few.
        shares = [
            max(1, int(node["CPU"]) // int(node["GPU"])) if gpus else min(CORES_A_WORKER, int(node["CPU"]))
            for node in self._resources()
            if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= gpus
        ]
        if not shares:
            what = "a GPU and a core" if gpus else "a core"
            raise WorkersError(
                f"Ray: no machine of the cluster has {what} for a worker",
                hint="`ray status` shows what there is; --ray-gpus 0 has the encoder run on processors",
            )
        cpus = min(shares)
        if wanted and not gpus:
            cores = sum(int(node.get("CPU", 0)) for node in self._resources())
            cpus = max(1, min(cpus, cores // wanted))
        machines = Machines(least=1, most=wanted, cpus=cpus, gpus=gpus)
        least = min(wanted or 1, self.slots(machines))
        return Machines(least=least, most=wanted, cpus=cpus, gpus=gpus)

    def slots(self, machines: Machines) -> int:
        """Return how many workers there is room for now."""
        room = 0
        for node in self._resources():
            here = int(node.get("CPU", 0)) // machines.cpus
            room += min(here, int(node.get("GPU", 0)) // machines.gpus) if machines.gpus else here
        return min(room, machines.most or room)

    def store_bytes(self) -> int:
        """Return the size of the object store of the machine that this process runs on."""
        here = self._ray.get_runtime_context().get_node_id()
        sizes = [
            node["Resources"].get("object_store_memory", 0)
            for node in self._ray.nodes()
            if node["NodeID"] == here
        ]
        return int(sizes[0]) if sizes else STORE_BYTES

    def beside_the_driver(self) -> dict[str, Any]:
        """Return the options of an actor that is to live on the machine that this process runs on."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = self._ray.get_runtime_context().get_node_id()
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}

    def _resources(self) -> list[Mapping[str, Any]]:
        """Of each machine that lives; asked for now and then, since machines come and go."""
        if time.monotonic() - self._asked_at > _FRESH_S:
            self._nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._asked_at = time.monotonic()
        return self._nodes

    def _start(self, address: str) -> None:
        own: dict[str, Any] = {}
        if address == LOCAL:
            self._folder = tempfile.mkdtemp(prefix="ray-")
            own = {
                "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": self._folder,
            }
        try:
            if not own:
                _knock(address)
            with _nothing_on_stderr():
                self._ray.init(
                    address=address,
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level=logging.CRITICAL,
                    **own,
                )
        except Exception as error:  # Ray raises what its parts raise
            what = "cannot be started on this machine" if own else f"no cluster answers at {address}"
            raise WorkersError(
                f"Ray: {what}: {one_line(error)}",
                hint=_NOT_STARTED if own else _NO_CLUSTER,
            ) from error


@contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    """Ray's C++ side announces its log level on standard error before any level counts."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()


def one_line(error: BaseException) -> str:
    """Return what an error of Ray comes down to: the last line that names an error, else the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if _NAMES_ERROR.match(line)]
    return (named or lines or [type(error).__name__])[-1][:_LONGEST_REASON]


def _imported() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("--engine ray", extra="ray") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters comes as an exception
    return ray
