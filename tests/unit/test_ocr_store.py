"""What was read off pictures: kept by content and reader, damaged entries read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import StoreError
from es_xmodal.media.ocr import Word, pack_words, unpack_words
from es_xmodal.store.environment import Environment
from es_xmodal.store.texts import MAX_TEXT_BYTES, TextStore, text_key

pytestmark = pytest.mark.unit

KEY = text_key(fingerprint="ocr-1", content="a" * 64)
OTHER = text_key(fingerprint="ocr-2", content="a" * 64)


def test_a_text_comes_back_and_an_empty_one_is_a_text(tmp_path: Path) -> None:
    with TextStore.open(tmp_path / "texts") as store:
        store.put_many({KEY: "Mjölk 牛奶", OTHER: ""})
        assert store.get_many([OTHER, KEY, b"k" * 32]) == ["", "Mjölk 牛奶", None]
        assert store.count() == 2
    with TextStore.open(tmp_path / "texts") as store:
        assert store.get_many([KEY]) == ["Mjölk 牛奶"], "it is on disk"


def test_keys_tell_reader_and_content_apart() -> None:
    assert len({KEY, OTHER, text_key(fingerprint="ocr-1", content="b" * 64)}) == 3


def test_a_damaged_entry_counts_as_missing_and_is_repaired(tmp_path: Path) -> None:
    with TextStore.open(tmp_path / "texts") as store:
        store.put_many({KEY: "milk"})
        environment = Environment(tmp_path / "texts")
        (whole,) = environment.get_many([KEY])
        assert whole is not None
        broken = [whole[:-1], whole[:5], b"", whole[:-1] + b"\xff", b"xyz" + whole[3:], whole + b"k"]
        for value in broken:
            environment.put_many([(KEY, value)])
            assert store.get_many([KEY]) == [None], value
        store.put_many({KEY: "milk"})
        assert store.get_many([KEY]) == ["milk"]
        environment.close()


def test_what_cannot_be_stored_is_said(tmp_path: Path) -> None:
    with TextStore.open(tmp_path / "texts") as store:
        with pytest.raises(StoreError, match="cannot be stored"):
            store.put_many({KEY: "x" * (MAX_TEXT_BYTES + 1)})
        with pytest.raises(StoreError, match="32"):
            store.get_many([b"short"])
        store.put_many({KEY: "half \ud83d of a character"})
        assert store.get_many([KEY]) == ["half ? of a character"]
    with pytest.raises(StoreError, match="closed"):
        store.get_many([KEY])


@given(st.lists(st.tuples(st.text(min_size=1), st.floats(0.5, 1.0)), max_size=20))
def test_words_come_back_from_the_store_s_text(found: list[tuple[str, float]]) -> None:
    words = tuple(Word(text=text, score=round(score, 4)) for text, score in found)
    assert unpack_words(pack_words(words)) == words
