"""A shop, the service in a thread of this process, and a real Chromium that opens its page."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, sync_playwright

from es_xmodal.encoders import registry
from es_xmodal.server.factory import create_app
from es_xmodal.server.options import ServerOptions
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named, require, tested_versions
from tests.support.page_shop import write_page_shop
from tests.support.shops import ingest_shop

VERSION = tested_versions()[:1]
"""One server is enough: the page does not know which one answers."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
READY = "body.ready #results:not([aria-busy=true])"
WATCH = """
window.__ran = [];
addEventListener("securitypolicyviolation", (event) => window.__ran.push("csp " + event.violatedDirective));
"""


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str
    app: Any
    folder: Path


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    found = os.environ.get("ES_XMODAL_TEST_BROWSER") or shutil.which("chromium")
    require(found is not None, "there is no Chromium (make browser)")
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield one
        one.close()


@pytest.fixture(scope="package")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page-shop")
    write_page_shop(folder)
    return folder


@pytest.fixture(scope="package")
def index(es_url: str, shop_folder: Path) -> Iterator[str]:
    prefix = f"t{secrets.token_hex(5)}-"
    ingest_shop(es_url, shop_folder / "catalog.jsonl", f"{prefix}page")
    yield f"{prefix}page"
    delete_everything_named(es_url, prefix)


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="package")
def serve(es_url: str, index: str, shop_folder: Path) -> Iterator[Serve]:
    """Start a service with some options, for the length of a block."""
    before = dict(registry._LOADERS)
    registry._LOADERS["hash"] = lambda argument, options: HashEncoder()

    @contextmanager
    def start(**options: Any) -> Iterator[Served]:
        shop = Shop(settings=load_settings(url=es_url), index=index)
        app = create_app(shop, ServerOptions(**{"images_root": str(shop_folder), **options}))
        with running(app) as url:
            yield Served(url, app, shop_folder)

    yield start
    registry._LOADERS.clear()
    registry._LOADERS.update(before)


@contextmanager
def running(app: Any) -> Iterator[str]:
    """An application behind a real socket, in a thread."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="package")
def served(serve: Serve) -> Iterator[Served]:
    with serve() as one:
        yield one


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[Open]:
    """Open the page; at the end nothing foreign may have run, and no request gone elsewhere."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    elsewhere: list[str] = []

    def asked_person(dialog: Dialog) -> None:
        errors.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def start(path: str = "/", *, url: str = served.url, wait: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-US", **options})
        contexts.append(context)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", asked_person)

        def asked(one: Request) -> None:
            if not own(one.url, url):
                elsewhere.append(one.url)

        page.on("request", asked)
        page.goto(url + path)
        if wait:
            settle(page)
        return page

    yield start
    ran = [page.evaluate("window.__ran") for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert errors == []
    assert [one for one in ran if one] == []
    assert elsewhere == []


def own(url: str, served: str) -> bool:
    return url.startswith((served, "blob:", "data:"))


def settle(page: Page) -> None:
    """Wait until the page shows an answer."""
    page.wait_for_selector(READY, state="attached")


def shot(page: Page, name: str) -> None:
    """Keep a picture of the page, for a person to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / f"{name}.png"))
