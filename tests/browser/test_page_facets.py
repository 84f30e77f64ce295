"""Facets of the shop's own attributes, currencies, the relevance cut-off, and frames of videos."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import VERSION, Open, settle, shot
from tests.browser.test_page import accessible, asked, ids, search
from tests.support.page_shop import HOSTILE_NAME, HOSTILE_VALUE, page_rows

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("es_version", VERSION, indirect=True, scope="session"),
]
ROWS = {row["id"]: row for row in page_rows()}


@pytest.fixture
def page(open_page: Open) -> Iterator[Page]:
    yield open_page("/?q=mug")


def group(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def counts(page: Page, name: str) -> dict[str, str]:
    """Value to the number beside it."""
    options = group(page, name).locator(".option").all()
    return {one.locator(".value").inner_text(): one.locator(".number").inner_text() for one in options}


def colours(page: Page) -> set[str]:
    return {ROWS[id_]["attributes"]["main_colour"] for id_ in ids(page)}


def choose(page: Page, name: str, value: str) -> None:
    with page.expect_response(re.compile("/search$")):
        group(page, name).get_by_label(value).check()
    settle(page)


def test_attributes_of_the_shop(page: Page) -> None:
    assert counts(page, "Main colour") == {"Blue": "10", "Green": "10", "Red": "10"}
    assert counts(page, "Size") == {"Large": "15", "Small": "15"}
    expect(page.locator("#facets .scope")).to_have_text("Numbers: all products that match the words.")
    choose(page, "Main colour", "Red")
    assert colours(page) == {"Red"}
    assert counts(page, "Main colour") == {"Blue": "10", "Green": "10", "Red": "10"}, (
        "its own filter is left out"
    )
    assert counts(page, "Size") == {"Large": "5", "Small": "5"}
    first = page.url
    choose(page, "Main colour", "Green")  # several of one attribute: any of them
    assert colours(page) == {"Red", "Green"}
    choose(page, "Size", "Large")
    assert asked(page) == {
        "q": ["mug"],
        "attributes.main_colour": ["Red", "Green"],
        "attributes.size": ["Large"],
    }
    assert {ROWS[id_]["attributes"]["size"] for id_ in ids(page)} == {"Large"}
    chips = [one.inner_text() for one in page.locator(".chip").all()]
    assert chips == ["Main colour: Red", "Main colour: Green", "Size: Large"]
    accessible(page)
    shot(page, "attributes")
    found = ids(page)
    page.get_by_role("button", name="Remove Main colour: Green").click()
    expect(page.locator(".chip")).to_have_count(2)
    settle(page)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_back()
    page.go_back()
    expect(page.locator(".chip")).to_have_count(3)
    assert ids(page) == found
    page.reload()  # and so it is for whoever gets the address
    expect(page.locator(".chip")).to_have_count(3)
    settle(page)
    assert ids(page) == found
    page.go_back()
    page.go_back()
    expect(page).to_have_url(first)


def test_what_is_chosen_is_seen_among_many(open_page: Open) -> None:
    page = open_page("/?q=mug&category=Mugs&brand=Nobody&brand=Tallow")
    expect(group(page, "Brand").get_by_label("Nobody")).to_be_checked()
    values = [{"value": f"V{number}", "count": 20 - number} for number in range(10)]
    long = {"value": "x" * 300, "count": 30}  # no address has room for it

    def many(route: Route) -> None:
        told = route.fetch()
        answer = told.json()
        for facet in answer["facets"].values():
            facet["values"] = [{"value": "Many", "count": 99, "values": [long, *values], "other": 0}]
        answer["facets"]["attributes.many"] = {"scope": "lexical", "values": [long, *values]}
        route.fulfill(response=told, json=answer)

    page.route("**/search", many)
    page.goto(page.url.replace("category=Mugs", "attributes.many=V7"))
    shown = group(page, "Many").locator(".value")
    expect(shown).to_have_text(["V0", "V1", "V2", "V3", "V4", "V7"])
    group(page, "Many").get_by_role("button", name="4 more").click()
    expect(shown).to_have_count(10)
    expect(group(page, "Many").get_by_label("V5")).to_be_focused()


def test_an_attribute_keeps_the_keyboard_where_it_is(page: Page) -> None:
    group(page, "Size").get_by_label("Large").focus()
    with page.expect_response(re.compile("/search$")):
        page.keyboard.press("Space")
    settle(page)
    expect(group(page, "Size").get_by_label("Large")).to_be_focused()
    expect(group(page, "Size").get_by_label("Large")).to_be_checked()
    page.get_by_role("switch", name="Only what fits").focus()
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile("fits=1"))
    expect(page.get_by_role("switch", name="Only what fits")).to_be_focused()


def test_further_pages_of_what_was_chosen(open_page: Open) -> None:
    page = open_page("/?q=mug&attributes.size=Large&attributes.size=Small&fits=1")
    expect(page.locator(".card[data-id]")).to_have_count(24)
    page.get_by_role("button", name="More", exact=True).click()
    expect(page.locator(".card[data-id]")).to_have_count(30)
    found = ids(page)
    page.locator(".chip").first.click()
    expect(page.locator(".chip")).to_have_count(1)
    page.go_back()
    expect(page.locator(".card[data-id]")).to_have_count(30)
    assert ids(page) == found
    expect(page.get_by_role("switch", name="Only what fits")).to_be_checked()


def test_only_what_fits(open_page: Open) -> None:
    page = open_page("/?q=filmed+teapot")
    everything = ids(page)
    with page.expect_request(re.compile("/search$")) as sent:
        page.get_by_role("switch", name="Only what fits").check()
    settle(page)
    body = json.loads(sent.value.post_data or "")
    assert body["cutoff"] == 1
    assert all(one.endswith("@window") for one in body["facets"])
    assert asked(page)["fits"] == ["1"]
    kept = ids(page)
    assert 0 < len(kept) < len(everything)
    expect(page.locator("#count")).to_contain_text(f"{len(kept)} product")
    expect(page.locator("#facets .scope")).to_have_text("Numbers: the products that fit.")
    assert sum(int(one) for one in counts(page, "Brand").values()) == len(kept)
    accessible(page)
    shot(page, "fits")
    with page.expect_request(re.compile("/search$")) as sent:
        page.locator(".card").first.hover()
        page.get_by_role("button", name=re.compile("^More like this")).first.click()
    assert json.loads(sent.value.post_data or "")["cutoff"] == 2
    page.go_back()
    page.go_back()
    expect(page.get_by_role("switch", name="Only what fits")).not_to_be_checked()
    assert ids(page) == everything


def test_where_nothing_fits_there_are_ways_out(open_page: Open) -> None:
    page = open_page("/?q=submarine&brand=Tallow&fits=1")
    expect(page.locator(".state")).to_contain_text("Nothing fits")
    accessible(page)
    shot(page, "nothing-fits")
    page.get_by_role("button", name="Show all").click()
    page.wait_for_selector(".card[data-id]")
    assert asked(page) == {"q": ["submarine"], "brand": ["Tallow"]}
    page.go_back()
    page.get_by_role("button", name="Remove the filters").click()
    expect(page.locator(".chip")).to_have_count(0)
    assert asked(page) == {"q": ["submarine"], "fits": ["1"]}


def test_prices_are_those_of_one_currency(open_page: Open) -> None:
    page = open_page("/?q=teapot")
    assert counts(page, "Currency") == {"<b>": "1", "USD": "1"}
    expect(group(page, "Price")).to_have_count(0)
    choose(page, "Currency", "USD")
    assert ids(page) == ["filmed"]
    expect(page.locator(".chip")).to_have_text("USD")
    expect(group(page, "Price").locator(".value")).to_contain_text("$")
    group(page, "Price").get_by_role("radio").check()
    expect(page.locator(".chip")).to_have_count(2)
    assert set(asked(page)) == {"q", "currency", "price"}
    settle(page)
    group(page, "Currency").get_by_label("USD").uncheck()  # a price is one of a currency
    expect(page.locator(".chip")).to_have_count(0)
    expect(group(open_page("/?q=mug"), "Currency")).to_have_count(0)


def test_the_frame_of_a_video_that_matched(open_page: Open) -> None:
    page = open_page("/?q=filmed+teapot")
    card = page.locator(".card[data-id=filmed]")
    image = card.locator("img")
    expect(image).to_have_js_property("naturalWidth", 320)
    assert re.search(r"/products/filmed/images/0\?t=[\d.]+&side=320$", str(image.get_attribute("src")))
    expect(card.locator(".badge")).to_contain_text(re.compile("▶ 0:0[1-5]"))
    expect(card.locator(".badge")).to_have_attribute("title", re.compile("The video matched at 0:0"))


def test_names_and_values_of_attributes_are_text(open_page: Open) -> None:
    page = open_page("/?q=mug")
    hostile = group(page, HOSTILE_NAME)
    expect(hostile.locator("legend")).to_have_text(HOSTILE_NAME)
    hostile.get_by_label(HOSTILE_VALUE).check()
    expect(page.locator(".chip")).to_have_text(f"{HOSTILE_NAME}: {HOSTILE_VALUE}")
    settle(page)
    assert set(ids(page)) == {id_ for id_, row in ROWS.items() if HOSTILE_NAME in row.get("attributes", {})}
    assert page.locator("#facets script, #facets [onmouseover], #chips [onerror], .value img").count() == 0
    accessible(page)
    page.reload()
    expect(page.locator(".chip")).to_have_text(f"{HOSTILE_NAME}: {HOSTILE_VALUE}")
    settle(page)
    page.locator(".card").first.hover()
    page.get_by_role("button", name=re.compile("^Why")).first.click()
    expect(page.locator("dialog pre")).to_contain_text("_msearch")
    assert page.evaluate("window.__ran") == []


@pytest.mark.parametrize(
    "query",
    [
        "attributes.=x",
        "attributes.a=",
        "attributes.%00=%00",
        f"attributes.{'x' * 600}=y",
        "fits=yes",
        "currency=",
    ],
)
def test_an_address_that_makes_no_sense_is_read_without_that_part(open_page: Open, query: str) -> None:
    page = open_page(f"/?q=red+mug&{query}")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.wait_for_selector(".card[data-id], .state")


def test_a_field_that_this_index_does_not_count(open_page: Open) -> None:
    page = open_page()
    seen: list[list[str]] = []

    def without(route: Route) -> None:
        facets = json.loads(route.request.post_data or "")["facets"]
        seen.append(facets)
        if "currency" in facets:
            told: dict[str, Any] = {
                "type": "urn:es-xmodal:problem:query",
                "detail": "no",
                "field": "facets.currency",
            }
            route.fulfill(status=422, json=told)
        else:
            route.continue_()

    page.route("**/search", without)
    search(page, "mug")
    expect(group(page, "Size")).to_be_visible()
    search(page, "red mug")
    expect(page).to_have_url(re.compile("red"))
    settle(page)
    assert ["currency" in facets for facets in seen] == [True, False, False]


def test_attributes_in_chinese_on_a_phone(open_page: Open) -> None:
    page = open_page(
        "/?q=马克杯&attributes.size=Large&fits=1",
        locale="zh-CN",
        viewport={"width": 375, "height": 740},
        is_mobile=True,
        has_touch=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    expect(page.get_by_role("switch", name="只看符合的")).to_be_checked()
    expect(page.locator(".chip")).to_have_text("Size：Large")
    page.get_by_role("button", name="筛选（1）").tap()
    expect(group(page, "Main colour")).to_be_visible()
    expect(page.locator("#facets .scope")).to_have_text("数字：符合的商品。")
    accessible(page)
    shot(page, "attributes-phone-zh")
