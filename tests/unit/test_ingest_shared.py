"""Pictures that many products share are found in bounded memory."""

from __future__ import annotations

import random

import pytest

from es_xmodal.ingest.shared import COUNTERS, LEAST_PRODUCTS, SharedPictures

pytestmark = pytest.mark.unit


def test_a_placeholder_is_found_among_many_pictures() -> None:
    shared = SharedPictures()
    numbers = list(range(30_000))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        shared.product()
        content = "none" if number % 20 == 0 else f"own-{number}"
        shared.picture(content=content, ref=f"{content}.jpg", group=str(number))
    (found,) = shared.found()
    assert (found.ref, found.content) == ("none.jpg", "none")
    assert 1500 - 30_000 / COUNTERS <= found.products <= 1500


def test_variants_of_one_group_share_their_picture_rightly() -> None:
    shared = SharedPictures()
    for _ in range(10 * LEAST_PRODUCTS):
        shared.product()
        shared.picture(content="a", ref="a.jpg", group="shirt")
    assert shared.found() == ()


def test_a_few_products_are_no_crowd() -> None:
    shared = SharedPictures()
    for number in range(LEAST_PRODUCTS):
        assert shared.found() == ()
        shared.product()
        shared.picture(content="a", ref="a.jpg", group=str(number))
    assert [one.products for one in shared.found()] == [LEAST_PRODUCTS]


def test_the_most_frequent_comes_first_and_five_are_named() -> None:
    shared = SharedPictures()
    for picture in range(8):
        for number in range(LEAST_PRODUCTS + picture):
            shared.product()
            shared.picture(content=str(picture), ref=f"{picture}.jpg", group=str(number))
    assert [one.content for one in shared.found()] == ["7", "6", "5", "4", "3"]
