"""The tokeniser takes short cuts; what comes out is what its plain reading gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.normalise import normalise
from es_xmodal.text.options import TextOptions
from tests.support import text_reference as reference

pytestmark = pytest.mark.unit

PLAIN = Analyzer()
SHOP = Analyzer(TextOptions(user_dictionary=["马克杯子 0", "云感被", "a4纸 9", "t恤衫"]))

# What the short cuts tell apart: marks, jamo, characters that vanish or become several, digits of other
# scripts and classes, the limits of what jieba looks up, separators, halves of pairs.
_HARD = (
    "\u0301\u0300\ufe0f\u200d\u200b\u00ad\ufffd\u1112\u1161\u11ab\u0e33\u0eb3ﬁßẞİıÅ½⅓…™®℃㎡①㈱¹²٣१፩\u1369"
    "\u00a0\u3000\u2028\x00\x1f\t\n\ud800\udfffﾊﾟハ〇々㐀龥\u9fd5\u9fd6\u9fff𠀀乾隆淨臺灣"
    " -_./&'+*×,%#0９aAＡéèñ"
)
_TEXT = """
iphone 14 pro|350 ml|200*230cm|usb-c|1,299.00|gb18401-2010|men's|4k|c++|2024.01.05|type c
|纯棉四件套|不锈钢保温杯|加厚t恤|A4纸|马克杯子|云感被|乾隆|乾淨|台灣|红色连衣裙|华为mate60|ＵＳＢ数据线|羊毛被100%
|ワイヤレス|イヤホン|무선 이어폰|หูฟัง|café|naïve|👍🏽|❤️|👨‍👩‍👧|™|½
"""
_WORDS = _TEXT.split("|")
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(_WORDS),
        st.text(alphabet=st.sampled_from(_HARD), max_size=6),
        st.text(st.characters(codec=None, exclude_categories=()), max_size=8),
        st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=12),
        st.sampled_from([" ", "", ",", "-"]),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_a_text_is_normalised_as_character_by_character(text: str) -> None:
    found, expected = normalise(text), reference.normalise(text)
    assert found.text == expected.text
    assert (list(found.starts), list(found.ends)) == (list(expected.starts), list(expected.ends))


def test_every_character_is_normalised_as_alone_and_between_others() -> None:
    chars = [*map(chr, range(0x3100)), *map(chr, range(0xA000, 0x11000)), *map(chr, range(0x1F000, 0x1FB00))]
    for char in chars:
        for text in (char, f"a{char}b", f"{char}中"):
            found, expected = normalise(text), reference.normalise(text)
            places = (list(found.starts), list(found.ends))
            assert (found.text, *places) == (expected.text, list(expected.starts), list(expected.ends)), text


@pytest.mark.parametrize("analyzer", [PLAIN, SHOP], ids=["plain", "shop"])
@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_the_tokens_are_those_of_the_plain_reading(analyzer: Analyzer, text: str) -> None:
    expected = reference.tokens(analyzer, text)
    assert analyzer.tokens(text) == expected
    assert analyzer.index_text([text]) == ["\x1f".join(token.term for token in expected)]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FD5), min_size=1, max_size=30))
def test_chinese_is_cut_as_jieba_cuts_it(run: str) -> None:
    segmenter = PLAIN._segmenter
    assert [word for word, _ in segmenter.words(run)] == list(segmenter._tokenizer.cut(run, HMM=False))
