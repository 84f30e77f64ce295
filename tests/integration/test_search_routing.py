"""Identifiers, the shop's own query, and rank fusion on a real index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.errors import QueryError
from es_xmodal.query.model import FUSIONS, Query
from es_xmodal.search.engine import Searcher
from tests.support.nodes import delete_everything_named
from tests.support.shops import ingest_shop, searcher, write_shop

pytestmark = pytest.mark.integration

ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": "Red mug", "identifiers": {"sku": "AW-SOF-TN", "ean": "2000010000036"}},
    {"id": "b", "title": "Blue mug AW SOF", "identifiers": {"sku": "AW-SOF-TB"}},
    {"id": "c", "title": "AW-SOF-TN cover, fits model 2000010000036", "identifiers": {"mpn": "L13M8"}},
    {"id": "d", "title": "Towel"},
]


@pytest.fixture(scope="module")
def shop(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    name = f"trouting{abs(hash(es_url)) % 10**8}"
    catalog: Path = write_shop(tmp_path_factory.mktemp("routing"), ROWS)
    ingest_shop(es_url, catalog, name)
    with searcher(es_url, name) as found:
        yield found
    delete_everything_named(es_url, name)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("AW-SOF-TN", "a"),
        ("aw-sof-tb", "b"),
        ("2000010000036", "a"),
        ("mug 2000010000036", "a"),
        ("l13m8", "c"),
    ],
)
def test_an_identifier_is_first(shop: Searcher, fusion: str, text: str, first: str) -> None:
    result = shop.search(Query(text=text, fusion=fusion))  # type: ignore[arg-type]
    assert result.hits[0].id == first
    hit = result.hits[0]
    assert hit.score == pytest.approx(sum(leg.contribution for leg in hit.ledger.legs.values()), abs=1e-6)
    assert hit.ledger.legs["identifier"].raw == pytest.approx(1.0)


def test_without_its_leg_an_identifier_is_words(shop: Searcher) -> None:
    result = shop.search(Query(text="AW-SOF-TN", weights={"identifier": 0.0, "text": 0.0, "image": 0.0}))
    assert result.hits[0].id == "c"


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_shop_s_own_query(shop: Searcher, fusion: str) -> None:
    own = {"match": {"title": {"query": "{{query}}", "operator": "and"}}}
    weights = {"text": 0.0, "image": 0.0}
    result = shop.search(
        Query(text="red mug", lexical_query=own, weights=weights, fusion=fusion)  # type: ignore[arg-type]
    )
    assert [hit.id for hit in result.hits] == ["a"]


def test_an_own_query_that_the_server_refuses(shop: Searcher) -> None:
    own = {"no_such_query": {"title": "{{query}}"}}
    with pytest.raises(QueryError, match="no_such_query") as caught:
        shop.search(Query(text="red mug", lexical_query=own))
    assert caught.value.field == "lexical_query"
    assert "\n" not in str(caught.value)


def test_rrf_is_its_formula_on_the_server_too(shop: Searcher) -> None:
    result = shop.search(Query(text="red mug", fusion="rrf"))
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    for hit in result.hits:
        for leg in hit.ledger.legs.values():
            assert leg.contribution == 0.0 or 1 / leg.normalised == pytest.approx(round(1 / leg.normalised))
