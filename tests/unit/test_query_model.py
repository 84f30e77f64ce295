"""What was asked: nonsense is refused at construction with the field's name."""

from __future__ import annotations

import pytest

from es_xmodal.errors import QueryError
from es_xmodal.query.model import Query

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "text"),
        ({"text": " \u0000\t "}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"pictures": ("a.jpg",) * 17}, "image"),
        ({"text": "x", "size": 0}, "size"),
        ({"text": "x", "size": 1001}, "size"),
        ({"text": "x", "offset": -1}, "offset"),
        ({"text": "x", "offset": 10_000}, "offset"),
        ({"text": "x", "cutoff": float("nan")}, "cutoff"),
        ({"text": "x", "cutoff": 11}, "cutoff"),
        ({"pictures": ("p",), "lexical_query": {}}, "lexical_query"),
        ({"text": "x", "window": 5}, "window"),
        ({"text": "x", "fusion": "magic"}, "fusion"),
        ({"text": "x", "weights": {"lexical": float("nan")}}, "weights.lexical"),
        ({"text": "x", "weights": {"image": -1.0}}, "weights.image"),
        ({"text": "x", "weights": {"sound": 1.0}}, "weights.sound"),
    ],
)
def test_refused(options: dict[str, object], field: str) -> None:
    with pytest.raises(QueryError) as caught:
        Query(**options)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_mode() -> None:
    assert Query(text="a").mode == "text"
    assert Query(pictures=(b"x",)).mode == "image"
    assert Query(text="a", pictures=("p.jpg",)).mode == "text+image"


def test_text_is_cleaned() -> None:
    assert Query(text="  red \n\u0000 mug ").text == "red mug"
