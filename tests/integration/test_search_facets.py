"""Facets, order and variants on a real index, against counts worked out from the rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.cli.main import root, run
from es_xmodal.errors import QueryError
from es_xmodal.query.facets import parse_facet
from es_xmodal.query.filters import Filter, parse_filter
from es_xmodal.query.model import Query
from es_xmodal.query.order import parse_sort
from es_xmodal.search.engine import Searcher
from es_xmodal.search.result import Hit, SearchResult
from tests.support.nodes import delete_everything_named
from tests.support.shops import ingest_shop, searcher, write_shop

pytestmark = pytest.mark.integration

BRANDS = ("Apple", "SONY", "A|B (c.d)", None)
COLOURS = ("Red", "blue-green", "x.y")
ATTRIBUTE = "Größe.[cm] #1"
NO_VECTORS = {"text": 0.0, "image": 0.0}


def _row(number: int) -> dict[str, Any]:
    brand = BRANDS[number % 4]
    row: dict[str, Any] = {
        "id": f"p{number:03d}",
        "title": f"{'ceramic' if number % 3 else 'wooden'} teapot number{number % 11}",
        "category": ["Home", "Tea" if number % 2 else "Coffee"],
        "attributes": {ATTRIBUTE: [COLOURS[number % 3], "Both"], "Gr": "no"},
        "available": number % 5 > 0,
    }
    row |= {"brand": brand} if brand else {}
    row |= {"price": 5.0 * (number % 17)} if number % 7 else {}
    row |= {"group_id": f"p{number // 3:03d}"} if number < 30 else {}
    return row


ROWS = [_row(number) for number in range(90)]
BY_ID = {row["id"]: row for row in ROWS}


@pytest.fixture(scope="module")
def index(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = f"tfacets{abs(hash(es_url)) % 10**8}"
    ingest_shop(es_url, write_shop(tmp_path_factory.mktemp("facets"), ROWS), name, shards=2)
    yield name
    delete_everything_named(es_url, name)


@pytest.fixture
def shop(es_url: str, index: str) -> Iterator[Searcher]:
    with searcher(es_url, index) as found:
        yield found


def asked(
    facets: tuple[str, ...] = (), filters: tuple[str, ...] = (), sort: tuple[str, ...] = (), **more: Any
) -> Query:
    values: dict[str, Any] = {
        "text": "ceramic",
        "window": 20,
        "facets": tuple(map(parse_facet, facets)),
        "filters": tuple(map(parse_filter, filters)),
        "sort": tuple(map(parse_sort, sort)),
    }
    return Query(**{**values, **more})


def walk(shop: Searcher, query: Query) -> tuple[list[Hit], SearchResult]:
    """All hits of all pages, and the first page."""
    first = page = shop.search(query)
    hits = list(page.hits)
    while page.cursor:
        page = shop.search(query, cursor=page.cursor)
        hits += page.hits
    return hits, first


def counts(result: SearchResult, name: str) -> dict[Any, int]:
    assert result.facets[name].exact
    assert result.facets[name].other == 0
    return {one.value: one.count for one in result.facets[name].values}


def counted(
    rows: Sequence[Mapping[str, Any]], values: Callable[[Mapping[str, Any]], list[Any]]
) -> Counter[Any]:
    return Counter(value for row in rows for value in values(row))


def brand_of(row: Mapping[str, Any]) -> list[Any]:
    return [row["brand"]] if "brand" in row else []


VALUES: dict[str, Callable[[Mapping[str, Any]], list[Any]]] = {
    "brand": brand_of,
    "category": lambda row: list(row["category"]),
    "available": lambda row: [row["available"]],
    "group_id": lambda row: [row["group_id"]] if "group_id" in row else [],
    f"attributes.{ATTRIBUTE}": lambda row: list(row["attributes"][ATTRIBUTE]),
}


def by_words() -> list[Mapping[str, Any]]:
    return [row for row in ROWS if "ceramic" in row["title"]]


@pytest.mark.parametrize("fusion", ["convex", "rrf", "boost"])
def test_counts_of_each_scope(shop: Searcher, fusion: str) -> None:
    hits, words = walk(shop, asked(tuple(f"{name}@lexical" for name in VALUES), fusion=fusion, size=50))
    assert words.requests == (1 if fusion == "boost" else 2)
    everything = shop.search(asked(tuple(f"{name}@filter" for name in VALUES), ("price>=30",), fusion=fusion))
    window = shop.search(asked(tuple(f"{name}@window" for name in VALUES), fusion=fusion))
    dear = [row for row in ROWS if row.get("price", 0) >= 30]
    for name, values in VALUES.items():
        assert counts(words, name) == counted(by_words(), values)
        assert counts(everything, name) == counted(dear, values)
        assert counts(window, name) == counted([BY_ID[hit.id] for hit in hits], values)
        scopes = [one.facets[name].scope for one in (words, everything, window)]
        assert scopes == ["lexical", "filter", "window"]


def test_a_name_that_begins_like_another_is_not_counted(shop: Searcher) -> None:
    other_case = f"attributes.{ATTRIBUTE.swapcase().replace('SS', 'ß')}"
    result = shop.search(asked(("attributes.Gr@filter", f"{other_case}@filter")))
    assert counts(result, "attributes.Gr") == {"no": 90}
    assert set(counts(result, other_case)) == {*COLOURS, "Both"}


@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_ones_own_filter_is_left_out(shop: Searcher, fusion: str) -> None:
    filters = ("brand=apple", "price>=20", f"attributes.{ATTRIBUTE}=both", "category!=tea")
    facets = ("brand", "category", "price:0,40@filter", "available@window")
    result = shop.search(asked(facets, filters, fusion=fusion))
    fits = [row for row in ROWS if row.get("price", -1) >= 20 and "Tea" not in row["category"]]
    words = [row for row in fits if row in by_words()]
    assert counts(result, "brand") == counted(words, brand_of)
    apple = [row for row in words if row.get("brand") == "Apple"]
    assert counts(result, "category") == counted(apple, VALUES["category"]), "a negated filter stays"
    cheap = [r for r in ROWS if r.get("brand") == "Apple" and "Tea" not in r["category"] and "price" in r]
    expected = {
        "0..40": sum(row["price"] < 40 for row in cheap),
        "40..": sum(row["price"] >= 40 for row in cheap),
    }
    assert counts(result, "price") == expected


@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_the_window_without_ones_own_filter(shop: Searcher, fusion: str) -> None:
    filters = ("brand=Apple", "available=true")
    result = shop.search(asked(("brand@window",), filters, fusion=fusion))
    open_hits, _ = walk(shop, asked((), filters[1:], fusion=fusion))
    assert counts(result, "brand") == counted([BY_ID[hit.id] for hit in open_hits], brand_of)
    assert {BY_ID[hit.id]["brand"] for hit in result.hits} == {"Apple"}
    assert result.requests == (1 if fusion == "boost" else 2)


@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_the_cutoff_holds_for_counts_too(shop: Searcher, fusion: str) -> None:
    def cut(*facets: str, filters: tuple[str, ...] = ()) -> Query:
        return asked(facets, filters, text="wooden teapot number3", fusion=fusion, cutoff=5.0)

    found, first = walk(shop, cut("brand@window", "category@lexical", "available@filter"))
    everything, _ = walk(shop, asked(text="wooden teapot number3", fusion=fusion))
    assert 0 < len(found) < len(everything)
    assert counts(first, "brand") == counted([BY_ID[hit.id] for hit in found], brand_of)
    words = [row for row in ROWS if "wooden" in row["title"] or "number3" in row["title"].split()]
    assert counts(first, "category") == counted(words, VALUES["category"]), "two of the three words"
    assert counts(first, "available") == counted(ROWS, VALUES["available"]), "whatever was asked"
    assert first.total.value == len(found)
    # And where the window is another one, without the facet's own filter.
    narrowed = shop.search(cut("brand@window", filters=("brand=Apple",)))
    assert counts(narrowed, "brand") == counts(first, "brand")
    nobody = shop.search(cut("brand@window", filters=("brand=Apple", "category=none")))
    assert counts(nobody, "brand") == {}


@pytest.mark.parametrize("scope", ["lexical", "window", "filter"])
@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_which_attributes_there_are(shop: Searcher, fusion: str, scope: str) -> None:
    query = asked((f"attributes@{scope}",), ("price>=20", "brand=Apple"), fusion=fusion)
    hits, result = walk(shop, query)
    fits = [row for row in ROWS if row.get("price", 0) >= 20 and row.get("brand") == "Apple"]
    rows = {"lexical": [row for row in fits if row in by_words()], "filter": fits}
    rows["window"] = [BY_ID[hit.id] for hit in hits]
    (one,) = result.facets["attributes"].values  # the other one is the same for all: nothing to choose
    assert one.value == ATTRIBUTE
    counted_here = counted(rows[scope], lambda row: list(row["attributes"][ATTRIBUTE]))
    assert {value.value: value.count for value in one.values} == counted_here
    assert one.count == sum(counted_here.values())


@pytest.mark.parametrize("fusion", ["convex", "boost"])
def test_where_nothing_fits_the_others_are_still_counted(shop: Searcher, fusion: str) -> None:
    facets = ("brand", "category@window")
    result = shop.search(asked(facets, ("brand=nobody",), fusion=fusion))
    assert result.hits == ()
    assert counts(result, "brand") == counted(by_words(), brand_of)
    assert counts(result, "category") == {}
    assert counts(shop.search(asked(("brand@window",), ("brand=nobody",), fusion=fusion)), "brand")


def test_counts_do_not_depend_on_the_page(shop: Searcher) -> None:
    facets = ("brand", "price", "category@window", "available@filter")
    first = shop.search(asked(facets, size=3))
    second = shop.search(asked(facets, size=3), cursor=first.cursor)
    large = shop.search(asked(facets, size=50))
    assert first.facets == second.facets == large.facets
    without = shop.search(asked(size=3), cursor=first.cursor)
    assert [hit.id for hit in without.hits] == [hit.id for hit in second.hits]
    assert without.facets == {}


def test_automatic_ranges_hold_every_price(shop: Searcher) -> None:
    values = shop.search(asked(("price@filter",))).facets["price"].values
    prices = [row["price"] for row in ROWS if "price" in row]
    assert 3 <= len(values) <= 6
    for one in values:
        low, high = one.low if one.low is not None else -1.0, one.high if one.high is not None else 1e9
        assert one.count == sum(low <= price < high for price in prices)
    assert sum(one.count for one in values) == len(prices)


def test_pictures_alone_count_what_is_ranked(es_url: str, index_prefix: str, tmp_path: Path) -> None:
    name = f"{index_prefix}pictures"
    ingest_shop(es_url, write_shop(tmp_path), name)
    with searcher(es_url, name) as shop:
        query = asked(("brand",), text="", pictures=(str(tmp_path / "images" / "lamp-0.png"),))
        result = shop.search(query)
        assert result.facets["brand"].scope == "window"
        assert counts(result, "brand") == {"Korvane": 2, "Qu": 1}
        with pytest.raises(QueryError, match="lexical needs words"):
            shop.search(asked(("brand@lexical",), text="", pictures=query.pictures))


@pytest.mark.parametrize(
    ("fusion", "order"),
    [
        ("convex", ("price",)),
        ("convex", ("brand", "-price")),
        ("rrf", ("-price",)),
        ("boost", ("-id",)),
        ("boost", ("-score",)),
    ],
)
def test_sort_orders_the_same_products(shop: Searcher, fusion: str, order: tuple[str, ...]) -> None:
    by_score, _ = walk(shop, asked(fusion=fusion))
    found, first = walk(shop, asked(sort=order, fusion=fusion, size=7))
    scores = {hit.id: hit.score for hit in by_score}
    assert {hit.id: pytest.approx(hit.score) for hit in found} == scores
    expected = sorted(scores)
    for key in reversed([parse_sort(one) for one in order]):
        if key.field == "score":
            expected = [hit.id for hit in by_score]
            continue
        have = [one for one in expected if BY_ID[one].get(key.field) is not None]
        rest = [one for one in expected if BY_ID[one].get(key.field) is None]
        expected = sorted(have, key=lambda one: _key(BY_ID[one][key.field]), reverse=key.descending)
        expected += rest
    assert [hit.id for hit in found] == expected
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    assert first.sort == order
    with pytest.raises(QueryError, match="another query"):
        shop.search(asked(fusion=fusion, size=7), cursor=first.cursor)


def _key(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("fusion", "order"), [("convex", ()), ("convex", ("price",)), ("rrf", ()), ("boost", ("price",))]
)
def test_variants_are_one_hit(shop: Searcher, fusion: str, order: tuple[str, ...]) -> None:
    apart, _ = walk(shop, asked(fusion=fusion, window=60, sort=order))
    together, first = walk(shop, asked(fusion=fusion, window=60, sort=order, collapse=True, size=9))
    groups: dict[str, list[str]] = {}
    for hit in apart:
        row = BY_ID[hit.id]
        groups.setdefault(f"group {row['group_id']}" if "group_id" in row else hit.id, []).append(hit.id)
    assert [(hit.id, hit.variants) for hit in together] == [(one[0], len(one)) for one in groups.values()]
    assert first.total.reachable == len(groups) < len(apart)
    assert max(map(len, groups.values())) >= 2
    assert all(hit.variants is None for hit in apart)
    with pytest.raises(QueryError, match="another query"):
        shop.search(asked(fusion=fusion, window=60, sort=order, size=9), cursor=first.cursor)


def test_filters_of_several_values_and_not(shop: Searcher) -> None:
    everything: dict[str, Any] = {"text": "teapot", "window": 200, "size": 200, "weights": NO_VECTORS}

    def found(*filters: str) -> set[str]:
        return {hit.id for hit in shop.search(asked((), filters, **everything)).hits}

    def rows(fits: Callable[[Mapping[str, Any]], bool]) -> set[str]:
        return {row["id"] for row in ROWS if fits(row)}

    assert found("brand=apple|sony") == rows(lambda row: row.get("brand") in ("Apple", "SONY"))
    assert found(r"brand=A\|B (c.d)") == rows(lambda row: row.get("brand") == "A|B (c.d)")
    assert found("brand!=Apple") == rows(lambda row: row.get("brand") != "Apple")
    assert found("brand!=Apple|Sony", "brand=*") == rows(lambda row: row.get("brand") == "A|B (c.d)")
    assert found("brand!=*") == rows(lambda row: "brand" not in row)
    assert found("images!=*") == set(BY_ID)
    assert found("price!=10..60") == rows(lambda row: not 10 <= row.get("price", 0) <= 60)
    assert found("price=5|10") == rows(lambda row: row.get("price") in (5, 10))
    assert found(f"attributes.{ATTRIBUTE}=red|X.Y") == rows(
        lambda r: r["attributes"][ATTRIBUTE][0] != COLOURS[1]
    )
    assert found(f"attributes.{ATTRIBUTE}!=Red") == rows(lambda r: r["attributes"][ATTRIBUTE][0] != "Red")
    made = shop.search(Query(**everything, filters=(~Filter.term("brand", "Apple", "SONY"),)))
    assert {hit.id for hit in made.hits} == found("brand!=apple|sony")


def test_the_command_line(es_url: str, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ceramic", "--weight", "text=0", "--weight", "image=0", "--index", index, "--url", es_url]
    options = ["--facet", "brand", "--facet", "price:0,40@filter", "--sort", "-price", "--collapse"]
    filters = ["--filter", "brand!=Sony", "--filter", "category=Tea|Coffee"]
    assert run(root, ["search", *words, *options, *filters, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    fits = [row for row in by_words() if row.get("brand") != "SONY"]
    assert answer["facets"]["brand"] == {
        "scope": "lexical",
        "values": [
            {"value": value, "count": count}
            for value, count in sorted(
                counted(fits, brand_of).items(), key=lambda one: (-one[1], one[0].lower())
            )
        ],
        "other": 0,
        "exact": True,
    }
    assert [one["value"] for one in answer["facets"]["price"]["values"]] == ["0..40", "40.."]
    assert answer["plan"]["sort"] == ["-price"]
    assert answer["plan"]["collapse"] is True
    prices = [hit["source"]["price"] for hit in answer["hits"]]
    assert prices == sorted(prices, reverse=True)
    assert all("variants" in hit for hit in answer["hits"])
    assert run(root, ["search", *words, *options]) == 0
    text = capsys.readouterr().out
    assert "brand, lexical: " in text
    assert "by -price, not by score" in text
    assert run(root, ["search", *words, "--facet", "attributes@filter"]) == 0
    assert f"attributes, filter: {ATTRIBUTE} (180)" in " ".join(capsys.readouterr().out.split())
    assert run(root, ["plan", *words, *options, "--json"]) == 0
    last = json.loads(capsys.readouterr().out)["requests"][-1]["bodies"][0]
    assert last["collapse"] == {"field": "collapse_key"}
    assert set(last["aggs"]) == {"facet0", "facet1", "variants"}
    for wrong, says in (("prise", "did you mean price"), ("images", "facets.images"), ("brand@all", "'all'")):
        assert run(root, ["search", *words, "--facet", wrong]) == 2
        assert says in capsys.readouterr().err
    assert run(root, ["search", *words, "--sort", "titel"]) == 2
    assert "sort.titel" in capsys.readouterr().err
