"""The few questions that are put to a local node, without the Elasticsearch client.

Straight to the loopback address: a proxy that the environment names has no say here.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from es_xmodal.local.layout import LOOPBACK

_TIMEOUT_S = 5.0


def get(port: int, path: str, *, timeout_s: float = _TIMEOUT_S) -> dict[str, Any] | None:
    """GET a path as JSON.

    Args:
        port: the HTTP port of a node.
        path: with its query string.
        timeout_s: how long to wait for an answer.

    Returns:
        The object, or None when there is no good answer (yet).
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            return None
        answer = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None


def versions(port: int) -> list[str]:
    """Versions of the nodes of the cluster, empty without an answer."""
    answer = get(port, "/_nodes/_all?filter_path=nodes.*.version") or {}
    return [node["version"] for node in answer.get("nodes", {}).values()]


def health(port: int) -> dict[str, Any] | None:
    """Health of the cluster, or None without an answer."""
    return get(port, "/_cluster/health")


def settle(port: int, *, timeout_s: int = 30) -> None:
    """Wait until indices that were there before serve again; a broken one is not waited for longer."""
    get(port, f"/_cluster/health?wait_for_status=yellow&timeout={timeout_s}s", timeout_s=timeout_s + 5.0)
