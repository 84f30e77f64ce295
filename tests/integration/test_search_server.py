"""The server's own fusions on real servers, which lack the module: the client's forms stand in for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.capabilities import Capabilities, probe, remember_refusal
from es_xmodal.query.model import CLIENT_FORMS, Query
from es_xmodal.search import engine
from es_xmodal.search.engine import Searcher
from tests.support.nodes import delete_everything_named
from tests.support.shops import ingest_shop, searcher, write_shop

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shop(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    name = f"tserver{abs(hash(es_url)) % 10**8}"
    catalog: Path = write_shop(tmp_path_factory.mktemp("server"))
    ingest_shop(es_url, catalog, name)
    yield es_url, name
    delete_everything_named(es_url, name)


def same(one: Searcher, fusion: str) -> list[tuple[str, float]]:
    result = one.search(Query(text="red mug", fusion=fusion, size=3))  # type: ignore[arg-type]
    return [(hit.id, hit.score) for hit in result.hits]


@pytest.mark.parametrize(("fusion", "instead"), CLIENT_FORMS.items())
def test_capabilities_say_no(shop: tuple[str, str], fusion: str, instead: str) -> None:
    with searcher(*shop) as found:
        result = found.search(Query(text="red mug", fusion=fusion, size=3))  # type: ignore[arg-type]
        assert result.fusion == instead
        assert [one for one in result.warnings if f"{instead} ranks instead" in one]
        assert same(found, fusion) == same(found, instead)
        assert probe(found._client).refused == frozenset(), "it was not even tried"


@pytest.mark.parametrize(("fusion", "instead"), CLIENT_FORMS.items())
def test_a_server_that_refuses_is_tried_once(
    shop: tuple[str, str], fusion: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with searcher(*shop) as found:
        tried: list[str] = []

        def may_try(client: object) -> Capabilities:
            """As where the licence may not be asked for."""
            return Capabilities(version=(9, 5, 3), refused=frozenset(tried))

        def remembering(client: Elasticsearch, retriever: str) -> Capabilities:
            tried.append(retriever)
            return remember_refusal(client, retriever)

        monkeypatch.setattr(engine, "probe", may_try)
        monkeypatch.setattr(engine, "remember_refusal", remembering)
        first = found.search(Query(text="red mug", fusion=fusion, size=2))  # type: ignore[arg-type]
        assert first.fusion == instead
        assert [one for one in first.warnings if f"{instead} ranks instead" in one]
        second = found.search(
            Query(text="red mug", fusion=fusion, size=2),  # type: ignore[arg-type]
            cursor=first.cursor,
        )
        assert [hit.rank for hit in second.hits] == [3, 4]
        assert tried == [fusion.removeprefix("server-")], "the second search did not try"
        assert probe(found._client).refused == set(tried)


def test_plan_shows_what_will_be_sent(shop: tuple[str, str]) -> None:
    with searcher(*shop) as found:
        planned = found.plan(Query(text="red mug", fusion="server-rrf"))
        assert planned.plan.fusion == "rrf"
        assert len(planned.requests) == 2
