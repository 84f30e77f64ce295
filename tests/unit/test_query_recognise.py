"""What a single string is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.query.recognise import is_gtin, recognise

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("data:image/png;base64,iVBORw0=", "data_uri", "data:image/png;base64,iVBORw0="),
        ("data:red mug", "text", "data:red mug"),
        ("data", "text", "data"),
        ("https://shop.example/a.jpg?x=1", "url", "https://shop.example/a.jpg?x=1"),
        ("https:// is a scheme", "text", "https:// is a scheme"),
        ("see https://shop.example", "text", "see https://shop.example"),
        (" photos/a b.JPG ", "picture", "photos/a b.JPG"),
        ("../x.webp", "picture", "../x.webp"),
        ("C:\\pics\\x.jpeg", "picture", "C:\\pics\\x.jpeg"),
        (".jpg", "text", ".jpg"),
        ("folder/.png", "text", "folder/.png"),
        ("png", "text", "png"),
        ("4006381333931", "gtin", "4006381333931"),
        ("4 006381 333931", "gtin", "4006381333931"),
        ("４００６３８１３３３９３１", "gtin", "4006381333931"),
        ("978-3-16-148410-0", "gtin", "9783161484100"),
        ("96385074", "gtin", "96385074"),
        ("036000291452", "gtin", "036000291452"),
        ("10012345678902", "gtin", "10012345678902"),
        ("4006381333932", "identifier", "4006381333932"),
        ("AW-SOF-12", "identifier", "awsof12"),
        ("WH-1000XM5", "identifier", "wh1000xm5"),
        ("MQ8N3CH/A", "identifier", "mq8n3cha"),
        ("123456", "identifier", "123456"),
        ("iphone", "text", "iphone"),
        ("t-shirt", "text", "t-shirt"),
        ("500ml", "text", "500ml"),
        ("10x20cm", "text", "10x20cm"),
        ("2024", "text", "2024"),
        ("10-20", "text", "10-20"),
        ("红色马克杯", "text", "红色马克杯"),
        ("AW-SOF-12 leather", "text", "AW-SOF-12 leather"),
        ("", "text", ""),
    ],
)
def test_recognise(text: str, kind: str, value: str) -> None:
    found = recognise(text)
    assert (found.kind, found.value) == (kind, value)


@given(st.text(alphabet="0123456789", min_size=7, max_size=7), st.sampled_from([8, 12, 13, 14]))
def test_one_check_digit_of_ten_is_right(digits: str, length: int) -> None:
    body = digits.rjust(length - 1, "7")
    right = [digit for digit in "0123456789" if is_gtin(body + digit)]
    assert len(right) == (0 if not int(body) else 1)


def test_lengths_and_zeros() -> None:
    assert not is_gtin("0" * 13)
    assert not is_gtin("40063813")
    assert not is_gtin("400638133393")
    assert not is_gtin("")


@given(st.text(max_size=60))
def test_any_text_is_something(text: str) -> None:
    assert recognise(text).kind in ("data_uri", "url", "picture", "gtin", "identifier", "text")
