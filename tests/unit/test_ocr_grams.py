"""Pieces of words that survive a misread letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Milk", ["_mi", "mil", "ilk", "lk_"]),
        ("Mjölk", ["_mj", "mjo", "jol", "olk", "lk_"]),
        ("1,5% fat", ["1.5%", "_fa", "fat", "at_"]),
        ("３ % 12", ["3", "12"]),
        ("纯牛奶", ["纯牛", "牛奶"]),
        ("茶", ["茶"]),
        ("乾淨 ABC", ["干净", "_ab", "abc", "bc_"]),
        ("ab c_d & x", []),
        ("ab\x1fc\x1f", ["_ab", "abc", "bc_"]),
        ("", []),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    assert grams([text]) == pieces


def test_each_piece_comes_once_and_words_end_with_their_text() -> None:
    assert grams(["milk", "Milk MILK"]) == grams(["milk"])
    assert "kto" not in grams(["milk", "toast"])


def test_a_misread_letter_leaves_most_of_a_word_and_nothing_of_a_number() -> None:
    right, wrong = set(grams(["mandarin"])), set(grams(["mandarln"]))
    assert len(right & wrong) >= len(right) // 2
    assert not set(grams(["1,5%"])) & set(grams(["3%", "1.0%"]))


@given(st.lists(st.text(), max_size=5))
def test_pieces_can_be_joined_and_split_again(texts: list[str]) -> None:
    found = grams(texts)
    assert len(set(found)) == len(found)
    assert SEPARATOR.join(found).split() == found, "white space and U+001F separate, and stand in no piece"
