"""What the page says when something is wrong: the service, the network, the key, the picture."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from playwright.sync_api import Error as PlaywrightError

from es_xmodal.errors import ClusterUnreachableError
from es_xmodal.server.options import parse_keys
from es_xmodal.server.problems import Problem
from tests.browser.conftest import READY, VERSION, Open, Serve, Served, settle, shot
from tests.browser.test_page import accessible, picture_file, search

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("es_version", VERSION, indirect=True, scope="session"),
]
KEY = "search-key-0123456789"


def alert(page: Page) -> Any:
    return page.get_by_role("alert")


def test_nothing_fits(open_page: Open) -> None:
    page = open_page("/?q=mug&brand=Nobody")
    expect(page.locator(".state")).to_contain_text("Nothing fits")
    expect(page.locator("#count")).to_contain_text("0 products")
    accessible(page)
    shot(page, "empty")
    page.get_by_role("button", name="Remove Nobody").click()
    page.wait_for_selector(".card[data-id]")


def test_the_first_answer_is_on_its_way(
    open_page: Open, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    shop = served.app.state.service.shop
    real = shop.search

    def slow(*args: Any, **options: Any) -> Any:
        assert go.wait(60)
        return real(*args, **options)

    monkeypatch.setattr(shop, "search", slow)
    page = open_page("/?q=red+mug", wait=False)
    expect(page.locator("#results")).to_have_attribute("aria-busy", "true")
    expect(page.locator(".card.skeleton")).to_have_count(8)
    expect(page.get_by_role("status").first).to_have_text("Searching…")
    accessible(page)
    shot(page, "loading")
    go.set()
    settle(page)
    expect(page.locator(".card.skeleton")).to_have_count(0)


def test_a_picture_that_is_none(open_page: Open) -> None:
    page = open_page()
    broken: Any = {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#file", broken)
    expect(alert(page)).to_contain_text("This picture cannot be used")
    expect(alert(page)).to_contain_text("is not a picture")
    accessible(page)
    shot(page, "error-picture")
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator("#landing")).to_be_visible()


def test_pictures_that_are_too_large_or_too_many(open_page: Open, serve: Serve) -> None:
    with serve(max_body_bytes=150_000, max_pictures=2) as small:
        page = open_page(url=small.url)
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"x" * 200_000})
        expect(alert(page)).to_contain_text("too large")
        expect(alert(page)).to_contain_text("146 kB")
        shot(page, "error-large")
        page.set_input_files("#file", [picture_file(), picture_file("blue"), picture_file("green")])
        expect(alert(page)).to_contain_text("One search takes up to 2.")
        page.set_input_files("#file", [picture_file(), picture_file("blue")])
        page.wait_for_selector(".card[data-id]")


def test_the_service_says_413_itself(open_page: Open) -> None:
    page = open_page()
    page.route("**/search", refusing(413, "too-large", "the body is larger than 9 bytes"))
    page.set_input_files("#file", picture_file())
    expect(alert(page)).to_contain_text("too large")
    expect(alert(page)).to_contain_text("larger than 9 bytes")


def refusing(status: int, kind: str, detail: str, **headers: str) -> Any:
    def answer(route: Route) -> None:
        body = {"type": f"urn:es-xmodal:problem:{kind}", "detail": detail, "request_id": "r-1"}
        route.fulfill(status=status, json=body, headers=headers)

    return answer


def test_busy_and_too_often_are_tried_again(
    open_page: Open, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = served.app.state.service.shop
    real = shop.search
    refused = [
        Problem(503, "the service is busy", kind="queue-full", headers={"Retry-After": "1"}),
        Problem(429, "too many", kind="too-many-requests", headers={"Retry-After": "1"}),
    ]

    def search_or_refuse(*args: Any, **options: Any) -> Any:
        if refused:
            raise refused.pop(0)
        return real(*args, **options)

    monkeypatch.setattr(shop, "search", search_or_refuse)
    page = open_page("/?q=red+mug")
    expect(alert(page)).to_contain_text("The service is busy")
    shot(page, "error-busy")
    expect(alert(page)).to_contain_text("Too many searches")
    expect(page.locator(".card[data-id]").first).to_be_visible()
    expect(alert(page)).to_have_count(0)


def test_elasticsearch_is_away(open_page: Open, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **options: Any) -> Any:
        raise ClusterUnreachableError("cannot reach http://127.0.0.1:9")

    monkeypatch.setattr(served.app.state.service.shop, "search", away)
    page = open_page("/?q=red+mug")
    expect(alert(page)).to_contain_text("The search is not ready")
    monkeypatch.undo()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".card[data-id]")


def test_the_service_stops_and_comes_back(open_page: Open, serve: Serve) -> None:
    with serve() as one:
        page = open_page("/?q=red+mug", url=one.url)
    page.get_by_role("searchbox").fill("blue mug")
    page.keyboard.press("Enter")
    expect(alert(page)).to_contain_text("The service cannot be reached")
    accessible(page)
    shot(page, "error-down")
    page.go_back()
    page.wait_for_selector(".card[data-id]")  # what was found before is still there


def test_the_network_goes_and_comes(open_page: Open) -> None:
    page = open_page("/?q=red+mug")
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    page.get_by_role("searchbox").fill("blue mug")
    page.keyboard.press("Enter")
    expect(alert(page)).to_contain_text("You are offline")
    accessible(page)
    shot(page, "offline")
    page.context.set_offline(False)
    expect(page.locator("#offline")).to_be_hidden()
    expect(page.locator(".card mark").first).to_have_text("Blue")


def test_an_unexpected_answer_and_a_slow_one(open_page: Open) -> None:
    page = open_page()
    for status, kind, says in ((500, "internal", "Something went wrong"), (504, "timeout", "took too long")):
        page.route("**/search", refusing(status, kind, "one line"))
        page.get_by_role("searchbox").fill(kind)
        page.keyboard.press("Enter")
        expect(alert(page)).to_contain_text(says)
        expect(alert(page)).to_contain_text("Request r-1")
        page.unroute("**/search")


def test_an_index_without_what_is_counted(
    open_page: Open, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    seen = []

    def without(route: Route) -> None:
        if '"facets":["' in (route.request.post_data or ""):
            seen.append("refused")
            body = {"type": "urn:es-xmodal:problem:query", "detail": "no", "field": "facets[0]"}
            route.fulfill(status=422, json=body)
        else:
            route.continue_()

    page.route("**/search", without)
    search(page, "red mug")
    page.wait_for_selector(".card[data-id]")
    assert seen == ["refused"]


def test_with_keys_the_browser_asks_for_one(browser: Browser, open_page: Open, serve: Serve) -> None:
    with serve(keys=parse_keys(f"search:{KEY}")) as locked:
        given = {"username": "any", "password": KEY}
        page = open_page("/?q=red+mug", url=locked.url, http_credentials=given)
        page.wait_for_selector(".card[data-id]")
        expect(page.locator(".card img").first).to_have_js_property("naturalWidth", 320)
        # Without one it asks; nobody is there to answer, so it gives up.
        bare = browser.new_context()
        with pytest.raises(PlaywrightError, match="AUTH_CREDENTIALS"):
            bare.new_page().goto(locked.url)
        bare.close()


def test_a_key_that_is_taken_away(open_page: Open) -> None:
    page = open_page()
    page.route("**/search", refusing(401, "unauthorized", "this needs an API key"))
    page.get_by_role("searchbox").fill("mug")
    page.keyboard.press("Enter")
    expect(alert(page)).to_contain_text("This page needs a key")
    shot(page, "error-key")
    page.unroute("**/search")
    page.get_by_role("button", name="Load again").click()
    page.wait_for_selector(f"{READY} .card[data-id]")
    assert re.search("q=mug", page.url)
