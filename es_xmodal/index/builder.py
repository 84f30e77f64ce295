"""Who builds an index, and whether that process still lives."""

from __future__ import annotations

import os
import secrets
import socket
import time
from functools import cache
from pathlib import Path

import psutil

from es_xmodal.index.meta import Builder, IndexMeta

LEASE_S = 900.0
"""After so long without a sign of life a builder on another machine counts as dead."""

_active: set[str] = set()
"""Runs of this process that are building now; a failed one is no longer among them."""


def new_builder() -> Builder:
    """Return this process as the builder of a new run, and note that the run is active.

    Returns:
        The builder; hand its `run_id` to `forget` when the run has ended, well or not.
    """
    run_id = secrets.token_hex(6)
    _active.add(run_id)
    return Builder(
        host=socket.gethostname(),
        pid=os.getpid(),
        run_id=run_id,
        started=_started(os.getpid()) or 0.0,
        machine=_machine(),
    )


def forget(run_id: str) -> None:
    """Note that a run of this process has ended.

    Args:
        run_id: see `new_builder`.
    """
    _active.discard(run_id)


def is_abandoned(meta: IndexMeta, *, now_s: float | None = None) -> bool:
    """Tell whether nobody works any more on an index that is marked as being built.

    Args:
        meta: of an index in state `building`.
        now_s: seconds since the epoch; None: now.

    Returns:
        True where its builder is known to be dead; see `is_dead`.
    """
    return is_dead(meta.builder, lease=meta.lease, lease_s=LEASE_S, now_s=now_s)


def is_dead(builder: Builder, *, lease: float, lease_s: float, now_s: float | None = None) -> bool:
    """Tell whether a process that left its name somewhere is gone.

    Args:
        builder: the process.
        lease: when it last said that it lives, seconds since the epoch.
        lease_s: after so long without a sign of life it counts as dead, where it is on another machine.
        now_s: seconds since the epoch; None: now.

    Returns:
        True where it is known to be dead. On this machine the process is looked up; on another one only the
        age of its last sign of life can tell.
    """
    if builder.machine == _machine():
        if builder.pid == os.getpid() and abs((_started(os.getpid()) or 0.0) - builder.started) < 1.0:
            return builder.run_id not in _active
        started = _started(builder.pid)
        return started is None or abs(started - builder.started) >= 1.0
    return (time.time() if now_s is None else now_s) - lease > lease_s


def _started(pid: int) -> float | None:
    """When a process started; None where there is none (a zombie counts as none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return 0.0


@cache
def _machine() -> str:
    """Host, boot and process-id namespace: two containers of one host have different process ids."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        parts.append(str(round(psutil.boot_time())))
    return "/".join(parts)
