"""What this machine has to give: memory, ports, folders."""

from __future__ import annotations

import random
import re
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from es_xmodal.errors import LocalNodeError, UsageError
from es_xmodal.local.layout import LOOPBACK

MIB = 1 << 20
# Measured: a node of either version takes about this much beside its heap.
BESIDE_HEAP_MIB = 500
_SMALLEST_HEAP_MIB = 256
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# Below the ports that operating systems hand out by themselves, so that none is lost between the
# moment it is found free and the moment the node listens.
_FREE_PORTS = range(20_000, 32_000)


def parse_heap(text: str) -> int:
    """Read a heap size such as `1g` or `1536m`.

    Args:
        text: a whole number with `m` or `g`.

    Returns:
        The size in MiB.

    Raises:
        UsageError: it is none, or too small for Elasticsearch.
    """
    match = re.fullmatch(r"(\d+)([mg])", text.strip().lower())
    if match is None:
        raise UsageError(f"--heap {text}: not a size", hint="write 1g or 1536m")
    size_mib = int(match[1]) * (1024 if match[2] == "g" else 1)
    if size_mib < _SMALLEST_HEAP_MIB:
        raise UsageError(f"--heap {text}: Elasticsearch needs at least {_SMALLEST_HEAP_MIB}m")
    return size_mib


def default_heap_mib(total_mib: int, nodes: int) -> int:
    """An eighth of the memory for all nodes together, within 512 MiB to 2 GiB each."""
    return max(512, min(2048, total_mib // 8 // nodes))


def memory_mib() -> tuple[int, int]:
    """Memory of this machine or container, and how much of it is available, in MiB."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for path in _CGROUP_LIMITS:
        try:
            limit = int(Path(path).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue  # no such limit here, or the word "max"
        total, available = min(total, limit), min(available, limit)
    return total // MIB, available // MIB


def check_memory(*, nodes: int, heap_mib: int, available_mib: int) -> None:
    """Refuse a start that would push the machine out of memory.

    Args:
        nodes: how many are to be started.
        heap_mib: heap of each.
        available_mib: what there is.

    Raises:
        LocalNodeError: too little.
    """
    needed = nodes * (heap_mib + BESIDE_HEAP_MIB)
    if needed > available_mib:
        what = "a node" if nodes == 1 else f"{nodes} nodes"
        raise LocalNodeError(
            f"too little memory: {what} with a heap of {heap_mib} MiB would take about {needed} MiB, "
            f"{available_mib} MiB are available",
            hint="try a smaller --heap, such as 512m" + (", or fewer --nodes" if nodes > 1 else ""),
        )


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of the loopback address."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        if sys.platform != "win32":  # there the option means something else
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def check_port(port: int) -> None:
    """Refuse a port that is taken.

    Args:
        port: the port that was asked for.

    Raises:
        LocalNodeError: another program has it, or this user may not use it.
    """
    if not is_free(port):
        raise LocalNodeError(
            f"port {port} on {LOOPBACK} is in use by another program",
            hint="choose another --port, or --port 0 for any free one",
        )


def free_ports(count: int, *, taken: Sequence[int] = ()) -> list[int]:
    """Ports that nobody uses, each once.

    Args:
        count: how many.
        taken: ports to leave out.

    Returns:
        The ports.

    Raises:
        LocalNodeError: hardly any port is free.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(_FREE_PORTS, 500):
        if len(found) == count:
            break
        if port not in taken and is_free(port):
            found.append(port)
    if len(found) < count:
        raise LocalNodeError(f"found no {count} free ports on {LOOPBACK}")
    return found
