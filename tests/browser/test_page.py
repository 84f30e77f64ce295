"""What a person does on the page, in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import VERSION, Open, settle, shot
from tests.support.page_shop import page_rows
from tests.support.shops import COLOURS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("es_version", VERSION, indirect=True, scope="session"),
]
FIRST_PAINT_BYTES = 100_000


def png(colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (40, 40), COLOURS[colour]).save(data, "PNG")
    return data.getvalue()


def picture_file(colour: str = "red", name: str = "photo.png") -> Any:
    return {"name": name, "mimeType": "image/png", "buffer": png(colour)}


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def ids(page: Page) -> list[str]:
    return [str(one.get_attribute("data-id")) for one in page.locator(".card[data-id]").all()]


def accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


def search(page: Page, words: str) -> None:
    page.get_by_role("searchbox").fill(words)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q="))
    settle(page)


@pytest.fixture
def page(open_page: Open) -> Iterator[Page]:
    yield open_page("/?q=red+mug")


def test_words_from_an_empty_page(open_page: Open) -> None:
    page = open_page()
    expect(page.get_by_role("heading", level=1)).to_have_text("Search by words, by picture, or both")
    expect(page.get_by_role("searchbox")).to_be_focused()
    accessible(page)
    shot(page, "landing")
    search(page, "red mug")
    assert asked(page) == {"q": ["red mug"]}
    first = page.locator(".card").first
    expect(first.locator("mark").first).to_have_text("Red")
    expect(first.locator(".price")).to_contain_text("€")
    expect(first.locator("img")).to_have_js_property("naturalWidth", 320)
    expect(first.locator(".badge")).to_contain_text("/ 2")
    expect(page.get_by_role("status").first).to_contain_text("product")
    accessible(page)
    shot(page, "words")


def test_a_picture_is_chosen_dropped_and_pasted(open_page: Open) -> None:
    page = open_page()
    page.set_input_files("#file", picture_file("red"))
    expect(page.locator("#given li")).to_have_count(1)
    page.wait_for_selector(".card[data-id]")
    assert asked(page) == {"pictures": ["1"]}
    expect(page.locator("#warnings")).to_contain_text("not in the address")
    chosen = ids(page)
    for event in ("drop", "paste"):
        page.get_by_role("button", name="Remove Picture 1").click()
        expect(page.locator("#given li")).to_have_count(0)
        expect(page.locator("#landing")).to_be_visible()
        give(page, event, png("red"))
        page.wait_for_selector(".card[data-id]")
        expect(page.locator("#given li")).to_have_count(1)
        assert ids(page) == chosen
    accessible(page)
    # Whoever gets the address is told that there was a picture.
    page.reload()
    settle(page)
    expect(page.locator(".state")).to_contain_text("was made with a picture")
    accessible(page)


def give(page: Page, event: str, data: bytes) -> None:
    """A picture from the outside, as the browser hands it over."""
    page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            const named = "<img src=x onerror=__ran.push(5)>.png";
            data.items.add(new File([new Uint8Array(bytes)], named, {type: "image/png"}));
            const event = name === "paste"
                ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
                : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
            document.body.dispatchEvent(event);
        }""",
        [event, list(data)],
    )


def test_words_and_a_picture_and_the_balance_between_them(open_page: Open) -> None:
    page = open_page("/?q=green+mug")
    page.set_input_files("#file", picture_file("red"))
    expect(page).to_have_url(re.compile("pictures=1"))
    page.wait_for_selector("#given li")
    settle(page)
    seen: list[str] = []
    page.on("request", lambda one: seen.append(urlsplit(one.url).path))
    slider = page.get_by_role("slider", name="Words or pictures")
    with page.expect_response(re.compile("/search$")) as words_only:
        for place in ("20", "10", "0"):  # one search for several steps in a row
            slider.fill(place)
    settle(page)
    assert [one for one in seen if one in ("/search", "/plan")] == ["/search"]
    assert shares(words_only.value.json()) == {"lexical", "text"}
    assert asked(page)["balance"] == ["0"]
    expect(slider).to_have_attribute("aria-valuetext", "100 % words, 0 % pictures")
    expect(page.locator(".card .title").first).to_contain_text("Green")
    with page.expect_response(re.compile("/search$")) as pictures_only:
        slider.fill("100")
    settle(page)
    assert shares(pictures_only.value.json()) == {"image", "visual"}
    assert page.evaluate("history.length") <= 4
    shot(page, "both")


def shares(answer: Any) -> set[str]:
    """The legs that count."""
    return {name.partition(":")[0] for name, leg in answer["hits"][0]["legs"].items() if leg["weight"] > 0}


def test_facets_chips_sort_and_the_way_back(page: Page) -> None:
    legends = ["Category", "Price", "Brand", "Main colour", "Size"]
    assert [one.inner_text() for one in page.locator("#facets legend").all()][:5] == legends
    brand = page.get_by_role("group", name="Brand").get_by_label("Qu | Co")
    brand.check()
    expect(page.get_by_role("button", name="Remove Qu | Co")).to_be_visible()
    settle(page)
    assert asked(page)["brand"] == ["Qu | Co"]
    assert {one.inner_text() for one in page.locator(".maker").all()} == {"Qu | Co"}
    page.get_by_role("group", name="Brand").get_by_label("Tallow").check()
    expect(page.locator(".chip")).to_have_count(2)
    settle(page)
    price = page.get_by_role("group", name="Price").get_by_role("radio").first
    price.check()
    expect(page.locator(".chip")).to_have_count(3)
    settle(page)
    page.get_by_label("Sort").select_option("-price")
    expect(page).to_have_url(re.compile("sort=-price"))
    settle(page)
    prices = [float(re.sub(r"[^\d.]", "", one.inner_text())) for one in page.locator(".price").all()]
    assert prices == sorted(prices, reverse=True)
    assert prices
    accessible(page)
    shot(page, "filters")
    address, before = page.url, ids(page)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_back()
    expect(page.locator(".chip")).to_have_count(3)
    assert (page.url, ids(page)) == (address, before)
    page.goto(address)  # and so it is for whoever gets the address
    settle(page)
    assert ids(page) == before
    expect(page.get_by_label("Sort")).to_have_value("-price")


def test_more_like_this_and_not_like_this(page: Page) -> None:
    first, second = page.locator(".card").nth(0), page.locator(".card").nth(1)
    title = second.locator(".title").inner_text()
    unwanted = str(second.get_attribute("data-id"))
    second.hover()
    second.get_by_role("button", name=re.compile("^Not like this")).click()
    expect(page.locator(".chip.unliked")).to_contain_text(title)
    settle(page)
    assert asked(page)["minus"] == [unwanted]
    liked = str(first.get_attribute("data-id"))
    first.hover()
    first.get_by_role("button", name=re.compile("^More like this")).click()
    expect(page.locator(".chip.liked")).to_be_visible()
    settle(page)
    assert asked(page) == {"like": [liked]}
    assert liked not in ids(page)
    page.reload()
    expect(page.locator(".chip.liked")).to_contain_text("ceramic mug")  # named by its title again


def test_further_pages_and_back_again(page: Page) -> None:
    size = page.locator(".card").count()
    assert size == 24
    page.get_by_role("button", name="More", exact=True).click()
    expect(page.locator(".card")).to_have_count(len(page_rows()))
    found = ids(page)
    assert len(set(found)) == len(found)
    expect(page.get_by_role("button", name="More", exact=True)).to_be_hidden()
    search(page, "blue mug")
    expect(page.locator(".card")).to_have_count(24)
    page.go_back()
    expect(page.locator(".card")).to_have_count(len(page_rows()))
    assert ids(page) == found


def test_why_a_product_is_there(page: Page) -> None:
    card = page.locator(".card").first
    card.hover()
    button = card.get_by_role("button", name=re.compile("^Why"))
    button.click()
    drawer = page.get_by_role("dialog", name="Why is it here?")
    expect(drawer.locator(".bars li")).to_have_count(3)
    shares = [int(one.inner_text().split()[0]) for one in drawer.locator(".share").all()]
    assert abs(sum(shares) - 100) <= 2
    widths = [one.bounding_box() for one in drawer.locator(".meter > span").all()]
    assert [box["width"] for box in widths if box] == sorted(
        (box["width"] for box in widths if box), reverse=True
    )
    expect(drawer.locator("pre")).to_contain_text("_msearch")
    expect(drawer.locator("mark").first).to_be_visible()
    accessible(page)
    shot(page, "explain")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawer.get_by_role("button", name="Copy").click()
    expect(drawer.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == drawer.locator("pre").inner_text()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(button).to_be_focused()


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page()
    page.keyboard.type("red mug")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card[data-id]")
    page.locator(".brand").focus()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.getAttribute('aria-label')"
                " || document.activeElement.name || document.activeElement.tagName"
            )
        )
    for one in ("words", "file", "language", "theme", "balance", "sort", "brand", "category"):
        assert one in reached, one
    assert any(str(one).startswith("More like this") for one in reached)
    page.evaluate("document.querySelector('.skip').focus()")
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()


def test_chinese_by_the_browser_and_by_the_switch(open_page: Open) -> None:
    page = open_page("/?q=马克杯", locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    expect(page.get_by_role("searchbox", name="搜索文字")).to_be_visible()
    expect(page.locator(".card .title").first).to_contain_text("马克杯")
    expect(page.locator("#count")).to_contain_text("商品")
    accessible(page)
    shot(page, "chinese")
    page.get_by_role("button", name=re.compile("English")).click()
    expect(page.locator(".card .title").first).to_contain_text("ceramic mug")
    page.reload()
    settle(page)
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_phone_in_the_dark(open_page: Open) -> None:
    page = open_page(
        "/?q=red+mug",
        viewport={"width": 375, "height": 740},
        is_mobile=True,
        has_touch=True,
        color_scheme="dark",
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    expect(page.locator("label.camera")).to_be_visible()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    expect(page.locator("#facets")).to_be_hidden()
    accessible(page)
    shot(page, "phone-dark")
    page.get_by_role("button", name="Filters").tap()
    expect(page.get_by_role("group", name="Brand")).to_be_visible()
    accessible(page)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name=re.compile("^Colours")).tap()
    page.get_by_role("button", name=re.compile("^Colours")).tap()
    expect(page.get_by_role("button", name="Colours: Light")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    accessible(page)


def test_the_page_is_light(open_page: Open) -> None:
    page = open_page()
    loaded = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((one) => [new URL(one.name).pathname, one.decodedBodySize, one.transferSize])"
    )
    names = {one[0] for one in loaded}
    assert {"/", "/page/app.js", "/page/style.css", "/page/config.json"} <= names
    assert all(size > 0 for _, size, _ in loaded), loaded
    assert sum(size for _, size, _ in loaded) < FIRST_PAINT_BYTES, loaded  # even before it is packed
    assert sum(sent for _, _, sent in loaded) < FIRST_PAINT_BYTES / 2, loaded


def test_nothing_of_a_shop_or_a_person_runs(open_page: Open) -> None:
    words = "<img src=x onerror=__ran.push(6)> hostile teapot <script>__ran.push(7)</script>"
    page = open_page()
    search(page, words)
    card = page.locator(".card", has_text="Hostile")
    expect(card.locator(".title")).to_contain_text("<script>window.__ran.push(2)</script>")
    expect(card.locator(".title a")).to_have_count(0)  # its address is no address of the web
    assert page.locator(".card script, .card [onerror], .card [onmouseover], #chips [onerror]").count() == 0
    page.get_by_role("group", name="Brand").get_by_label(re.compile("onerror")).check()
    expect(page.locator(".chip")).to_contain_text("onerror")
    settle(page)
    card.hover()
    card.get_by_role("button", name=re.compile("^Why")).click()
    expect(page.locator("dialog pre")).to_contain_text("_msearch")
    page.keyboard.press("Escape")
    card.get_by_role("button", name=re.compile("^Not like")).click()
    expect(page.locator(".chip.unliked")).to_contain_text("<script>")
    page.set_input_files("#file", picture_file("red", "<img src=x onerror=__ran.push(8)>.png"))
    expect(page.locator("#given li")).to_have_count(1)
    settle(page)
    assert page.evaluate("window.__ran") == []
