"""Fixtures that many tests share: a real node of each version, and names that no other test uses.

Environment:
    ES_XMODAL_TEST_VERSIONS   versions to test, with commas; default: all that are pinned
    ES_XMODAL_TEST_URL_9      address of a running 9.x node to use instead of starting one; `_8` likewise
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator

import pytest

from tests.support.nodes import delete_everything_named, running_node, tested_versions

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background ignores Ctrl-C for everything below it; the processes
    # that the tests start and interrupt must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", params=tested_versions())
def es_version(request: pytest.FixtureRequest) -> str:
    """Each Elasticsearch version in turn; tests are grouped so that each node starts once."""
    version: str = request.param
    return version


@pytest.fixture(scope="session")
def es_url(es_version: str) -> Iterator[str]:
    """Address of a running node of `es_version`."""
    with running_node(es_version) as url:
        yield url


@pytest.fixture
def index_prefix(es_url: str) -> Iterator[str]:
    """A prefix for index and alias names; what bears it is deleted afterwards, and nothing else."""
    prefix = f"t{secrets.token_hex(5)}-"
    yield prefix
    delete_everything_named(es_url, prefix)
