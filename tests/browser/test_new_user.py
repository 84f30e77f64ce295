"""What `make page` starts, as a process: from a cluster without anything to a result on the page."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import VERSION, Open, settle, shot
from tests.support.cli import REPOSITORY, environment
from tests.support.nodes import delete_everything_named

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("es_version", VERSION, indirect=True, scope="session"),
]
# The program itself, on an index of its own: a developer's `products` is left alone.
PROGRAM = """
import os, sys
from es_xmodal.cli import demo, main
demo.INDEX = os.environ["TEST_INDEX"]
main.main(["demo", "--page"])
"""


@pytest.fixture
def prefix(es_url: str) -> Iterator[str]:
    found = f"t{secrets.token_hex(5)}-"
    yield found
    delete_everything_named(es_url, found)


def started(es_url: str, prefix: str, home: Path) -> subprocess.Popen[str]:
    variables = environment(
        home, ES_XMODAL_URL=es_url, ES_XMODAL_SERVER_PORT="0", TEST_INDEX=f"{prefix}products"
    )
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):  # no window on a developer's screen
        variables.pop(display, None)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=home,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def address_of(process: subprocess.Popen[str]) -> str:
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if found := re.match(r"(http://127\.0\.0\.1:\d+) serves the index ", line):
            return found[1]
    raise AssertionError("".join(said))


def test_from_nothing_to_a_result_on_the_page(
    es_url: str, prefix: str, tmp_path: Path, open_page: Open
) -> None:
    process = started(es_url, prefix, tmp_path)
    try:
        address = address_of(process)
        page = open_page(url=address)
        page.get_by_role("searchbox").fill("couch in leather")
        page.keyboard.press("Enter")
        first = page.locator(".card[data-id]").first
        expect(first.locator(".title")).to_contain_text("Leather Sofa", timeout=60_000)
        expect(first.locator("img")).to_have_js_property("naturalWidth", 320)
        page.set_input_files("#file", REPOSITORY / "ingest" / "sample" / "photos" / "yellow-chair.jpg")
        expect(page.locator("#given li")).to_have_count(1)
        settle(page)
        expect(page.get_by_role("group", name="Colour")).to_be_visible()
        shot(page, "new-user")
        process.send_signal(signal.SIGINT)  # as Ctrl-C does
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "INFO GET" not in said
        assert re.search(r"The local Elasticsearch runs on; stop it with: .* down$", said.rstrip())
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
