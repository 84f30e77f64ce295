from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.catalog.clean import clean_block, clean_line, clean_text

pytestmark = pytest.mark.unit

any_text = st.text(st.characters(exclude_categories=())) | st.text(
    "a中 \n\t\x00\x1b[31m\x85\x9b\u200b\u200c\u200d\u202e\u2028\ufeff\ud83d\udc69👩👧\ufe0f\u0627\u0915",
    max_size=30,
)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("plain 中文", "plain 中文"),
        ("a\x00b\x07c\x7f\x85", "abc"),
        ("\x1b[31mred\x1b[0m \x9b1mbold", "red bold"),
        ("a\tb\r\nc\rd\u2028e", "a b\nc\nd\ne"),
        ("\ufeffa\u200bb\u2060c\xadd", "abcd"),
        ("abc\u202egpj.exe\u202c", "abcgpj.exe"),
        ("x\ud83dy", "x\ufffdy"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
        ("a\u200db\u200d", "ab"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("ＩＰＨＯＮＥ\u3000１５", "ＩＰＨＯＮＥ\u3000１５"),
    ],
)
def test_clean_text(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


def test_lines_and_blocks() -> None:
    assert clean_line("  a \t\n b\u3000") == "a b"
    assert clean_block(" a\n b \n") == "a\n b"


@given(any_text)
def test_cleaning_is_final_and_always_encodable(text: str) -> None:
    for clean in (clean_text, clean_line, clean_block):
        once = clean(text)
        once.encode("utf-8")
        assert clean(once) == once
        assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in once)
