"""Processes of the local node: started apart, known again later, stopped without touching others.

A process is known by its id together with the time it began, because ids are used again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from es_xmodal.local.layout import NodePlace

_CLOCK_TOLERANCE_S = 2.0
_STOP_S = 30.0
_KILL_S = 10.0
_TAIL_BYTES = 64 * 1024
_DULL = (
    "at ",
    "... ",
    "WARNING:",
    "INFO:",
    "Caused by",
    "Suppressed",
    "Traceback",
    "File ",
    "[INFO",
    "[DEBUG",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessId:
    """A process that cannot be confused with a later one of the same number."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now; one that is gone gets a time that never matches."""
        import psutil

        try:
            return cls(pid=pid, created=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(pid=pid, created=0.0)

    def process(self) -> Any | None:
        """The `psutil.Process`, or None when it ended, even if another one has its number now."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _CLOCK_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None


def stop_all(processes: Sequence[ProcessId], *, patience_s: float = _STOP_S) -> list[ProcessId]:
    """Ask processes to end, and end those that do not.

    Args:
        processes: what to stop; those that are gone are passed over.
        patience_s: how long they may take to close their files.

    Returns:
        The ones that were running.
    """
    import psutil

    running = [(pid, process) for pid in processes if (process := pid.process()) is not None]
    for _, process in running:
        _signal(process.terminate)
    _, left = psutil.wait_procs([process for _, process in running], timeout=patience_s)
    for process in left:
        _signal(process.kill)
    psutil.wait_procs(left, timeout=_KILL_S)
    return [pid for pid, _ in running]


def _signal(send: Any) -> None:
    import contextlib

    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        send()


class Child:
    """The process of one node, as its parent sees it.

    Args:
        place: its folders.
        stay: let it live on when this process ends.
    """

    def __init__(self, place: NodePlace, *, stay: bool) -> None:
        self.place = place
        if place.log.exists():
            place.log.replace(place.log.with_suffix(".log.1"))
        command = [sys.executable, "-m", "es_xmodal.local.child", str(place.spec)]
        with place.log.open("wb") as log:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                **_own_session(),
            )
        self.id = ProcessId.of(self._popen.pid)

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def report(self) -> dict[str, Any]:
        """What the child said about its start; empty until it said something."""
        try:
            content = json.loads(self.place.report.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content if isinstance(content, dict) else {}

    def failure(self) -> str:
        """Why it ended, in one line."""
        told = self.report().get("failure")
        if told:
            return str(told)
        status = self.exit_status
        line = last_words(self.place.log)
        if status is not None and status < 0:
            how = f"ended by {signal.Signals(-status).name}"
            how += " (did the system run out of memory?)" if -status == 9 else ""
            return f"{how}; its last words: {line}" if line else how
        return line or f"ended with status {status} and said nothing"

    def release(self) -> None:
        """Forget the process without stopping it."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        # Nobody waits for it any more; without this Python would complain that it still runs.
        self._popen.returncode = self._popen.returncode or 0

    def stop(self, *, patience_s: float = _STOP_S) -> None:
        """End the process and wait for it."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()


def last_words(log: Path) -> str:
    """The line of a log that says most about an end: the last error, else the last line of substance."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    told = [line for line in lines if line and not line.startswith(_DULL)]
    errors = [line for line in told if "ERROR" in line or "FATAL" in line or "Error:" in line]
    return (errors or told or [""])[-1][:300]


def _own_session() -> dict[str, Any]:
    """Keep Ctrl-C of the terminal away from the node: its parent stops it in order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _environment() -> dict[str, str]:
    """The environment of the child: able to import this package from where it was imported here.

    Options that a person set for other Java programs would change this one, and be printed by it.
    """
    drop = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
    environment = {name: value for name, value in os.environ.items() if name not in drop}
    root = str(Path(__file__).resolve().parents[2])
    known = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    environment["PYTHONPATH"] = os.pathsep.join([root, *known])
    return environment
