"""Real Elasticsearch nodes for tests, and the rule for what is missing.

A missing server, model or data set skips on a person's machine and fails where `CI` is set.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import pytest

from es_xmodal.errors import XModalError
from es_xmodal.local import LocalNode
from es_xmodal.local.lock import VERSIONS

TEST_HEAP_MIB = 1024


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def missing(reason: str) -> NoReturn:
    """Skip on a person's machine, fail in CI."""
    if in_ci():
        pytest.fail(f"{reason}; in CI it must be there", pytrace=False)
    pytest.skip(reason)


def require(condition: Path | bool, reason: str) -> None:
    """Go on only if this path exists, or this condition holds."""
    if not (condition.exists() if isinstance(condition, Path) else condition):
        missing(reason)


def tested_versions() -> list[str]:
    named = os.environ.get("ES_XMODAL_TEST_VERSIONS", "")
    return [version.strip() for version in named.split(",") if version.strip()] or list(VERSIONS)


def require_local_extra() -> None:
    absent = [name for name in ("jgo", "jpype", "filelock") if importlib.util.find_spec(name) is None]
    require(not absent, f"no local Elasticsearch: {', '.join(absent)} not installed (es-xmodal[local])")


@contextmanager
def running_node(version: str) -> Iterator[str]:
    """Address of a node of this version: one that the developer has running, else a fresh one."""
    given = os.environ.get(f"ES_XMODAL_TEST_URL_{version.partition('.')[0]}")
    if given:
        yield given
        return
    require_local_extra()
    node = LocalNode(version=version, heap_mib=TEST_HEAP_MIB)
    try:
        node.start()
    except XModalError as error:
        # A download that fails on a train is a skip; in CI nothing here may fail.
        missing(f"no local Elasticsearch {version}: {error}")
    try:
        yield node.url
    finally:
        node.stop()


def call(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request to a node, without the client: status and decoded answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None
    finally:
        connection.close()


def delete_everything_named(url: str, prefix: str) -> None:
    """Delete the indices whose own name starts with the prefix, and aliases of that prefix elsewhere."""
    wild = quote(f"{prefix}*")
    status, indices = call(url, "GET", f"/{wild}?expand_wildcards=all&filter_path=*.aliases")
    if status != 200:
        return
    for index in indices:
        if index.startswith(prefix):
            call(url, "DELETE", f"/{quote(index)}")
            continue
        for alias in indices[index]["aliases"]:
            if alias.startswith(prefix):
                call(url, "DELETE", f"/{quote(index)}/_alias/{quote(alias)}")
