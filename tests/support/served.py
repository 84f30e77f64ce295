"""`es-xmodal serve` as a process, for tests that must see it from outside."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpx
import psutil

from tests.support.cli import Cli, environment


@dataclass
class Served:
    """A running service.

    Attributes:
        url: where it listens.
    """

    url: str
    process: subprocess.Popen[str]
    log: IO[str]

    @property
    def resident_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def said(self) -> str:
        """Everything on standard error so far."""
        self.log.seek(0)
        return self.log.read()

    def end(self) -> str:
        """Ask it to end, and return what it said; it must end with 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0, self.said()
        return self.said()


@contextmanager
def serving(cli: Cli, *args: str, **variables: str) -> Iterator[Served]:
    """Serve the index that the command line's options name, and wait until it is ready.

    Args:
        cli: its options and variables say which index lies where.
        args: more options of `serve`.
        variables: more of the environment.
    """
    command = [sys.executable, "-m", "es_xmodal", "serve", "--port", "0", *cli.options, *args]
    given = environment(cli.home, **{**cli.variables, **variables})
    # A file, not a pipe: nobody reads along, and a full pipe would stop the service.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=given, cwd=cli.home, stderr=log, text=True)
        try:
            served = Served(_address(process, log), process, log)
            while httpx.get(f"{served.url}/readyz", timeout=60).status_code != 200:
                assert process.poll() is None, served.said()
            yield served
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[str], log: IO[str]) -> str:
    while True:
        log.seek(0)
        found = re.match(r"(http://127\.0\.0\.1:\d+) serves the index", log.read())
        if found:
            return found[1]
        assert process.poll() is None, (log.seek(0), log.read())
