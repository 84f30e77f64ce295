"""Ingests that end by SIGKILL at a chosen step. As a program: it forks a process for each of them.

A step is a moment right before or right after something that lasts: a request to the cluster, a write to the
vector store, a line in the file of rejects. An undisturbed run tells how many there are, so that a test can
spread its kills over all of them, whatever the machine's speed.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

from es_xmodal.cluster.transport import BackoffTransport
from es_xmodal.errors import XModalError
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.store.environment import Environment
from tests.support.ingesting import ingest_catalog
from tests.support.nodes import call

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an ingest ended.

    Attributes:
        signal: that ended it; 0: it ended by itself.
        steps: what it went through; empty where it was killed.
        report: of the ingest; empty where it was killed or failed.
        error: class and line of the error, where it failed.
    """

    signal: int = 0
    steps: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    error: str = ""


class Killer:
    """The program, as a test sees it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self._url = url

    def ingest(
        self,
        catalog: Path,
        index: str,
        *,
        kill_at: int = 0,
        of: str = "",
        instead: tuple[str, str, Any] | None = None,
        max_file_bytes: int = 0,
        patience_s: float = 60.0,
        **options: Any,
    ) -> Ended:
        """Ingest in a new process.

        Args:
            catalog: what to ingest.
            index: into what.
            kill_at: the step, of those whose name holds `of`, at which it is killed; 0: it is not.
            of: part of the name of a step.
            instead: method, path and body of a request that is sent at that step, and nothing is killed.
            max_file_bytes: no file becomes longer than that, as on a disk that is full; 0: any length.
            patience_s: how long it waits for a cluster in trouble.
            options: of the ingest.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {
            "url": self._url,
            "catalog": str(catalog),
            "index": index,
            "kill_at": kill_at,
            "of": of,
            "instead": instead,
            "max_file_bytes": max_file_bytes,
            "patience_s": patience_s,
            "options": options,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the program that forks ingests has ended"
        return Ended(**json.loads(line))


@contextmanager
def killer(url: str) -> Iterator[Killer]:
    """Start the program."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.killing"],
        cwd=ROOT,
        # One thread a process until it is forked.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Killer(process, url)


def spread(steps: int, kills: int, *, seed: str) -> list[int]:
    """Return that many steps from 1 to `steps`: each at random in its own part of the way."""
    chance = random.Random(seed)
    bounds = [1 + part * steps // kills for part in range(kills + 1)]
    return [chance.randrange(low, max(low + 1, high)) for low, high in pairwise(bounds)]


class _Steps:
    """Counts steps, and does something at one of them."""

    def __init__(self, act_at: int, of: str, act: Callable[[], None]) -> None:
        self._left = act_at
        self._of = of
        self._act = act
        self._lock = threading.Lock()
        self.seen: list[str] = []

    def step(self, what: str) -> None:
        with self._lock:
            self.seen.append(what)
            self._left -= self._of in what
            if self._left == 0 and self._of in what:
                self._act()

    def around(self, owner: type, name: str, say: Callable[..., str]) -> None:
        """Make a method two steps."""
        method = getattr(owner, name)

        @wraps(method)
        def watched(one: Any, *args: Any, **options: Any) -> Any:
            what = say(*args)
            self.step(f"before {what}")
            result = method(one, *args, **options)
            self.step(f"after {what}")
            return result

        setattr(owner, name, watched)


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    os.environ["ES_XMODAL_PATIENCE_S"] = str(job["patience_s"])
    if job["max_file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["max_file_bytes"], resource.RLIM_INFINITY))

    def act() -> None:
        if job["instead"] is None:
            os.kill(os.getpid(), signal.SIGKILL)
        status, answer = call(job["url"], *job["instead"])
        assert status == 200, answer

    steps = _Steps(job["kill_at"], job["of"], act)
    steps.around(BackoffTransport, "perform_request", lambda method, target: f"{method} {target}"[:120])
    steps.around(Environment, "put_many", lambda items: "a write to the store")
    steps.around(RejectFile, "add", lambda reject: "a reject")
    steps.around(RejectFile, "close", lambda: "naming the rejects")
    try:
        report = ingest_catalog(job["url"], Path(job["catalog"]), job["index"], **job["options"])
    except XModalError as error:
        return {"steps": steps.seen, "error": f"{type(error).__name__}: {error}"}
    return {"steps": steps.seen, "report": report.to_json()}


def _forked(job: Mapping[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(_run(job)).encode())
            os._exit(0)
        except BaseException as error:  # whatever it is, the parent's loop must not run on in the child
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status > 0:
        return {"error": f"ended with status {status}"}
    return {"signal": -status} if status else dict(json.loads(said))


def main() -> None:
    """One job a line, one answer a line."""
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
