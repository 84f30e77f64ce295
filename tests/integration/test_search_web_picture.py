"""A picture of a query that lies on the web: fetched with all the guards, then like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from es_xmodal.encoders import registry
from es_xmodal.errors import PictureError
from es_xmodal.query.terms import Term
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.encoders import HashEncoder
from tests.support.picture_host import PictureHost, picture_host
from tests.support.shops import ingest_shop, write_shop

pytestmark = pytest.mark.integration


@pytest.fixture
def host() -> Iterator[PictureHost]:
    with picture_host() as one:
        yield one


def test_a_picture_of_the_web_is_searched_like_the_same_file(
    es_url: str, index_prefix: str, tmp_path: Path, host: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._LOADERS, "hash", lambda argument, options: HashEncoder())
    index = f"{index_prefix}shop"
    ingest_shop(es_url, write_shop(tmp_path), index)
    path = tmp_path / "images/mug-red-0.png"
    url = host.serve("/photo.png", path.read_bytes(), "image/png")
    with Shop(settings=load_settings(url=es_url), index=index) as shop:
        with pytest.raises(PictureError, match="not on the public Internet") as caught:
            shop.search(images=url)
        assert caught.value.code == "address_refused"
        assert host.requests == []
    with Shop(settings=load_settings(url=es_url, picture_hosts="127.0.0.1"), index=index) as shop:
        here = shop.search(images=str(path))
        there = shop.search(images=url)
        assert [(hit.id, hit.score) for hit in there.hits] == [(hit.id, hit.score) for hit in here.hits]
        assert there.hits[0].id == "mug-red"
        away = Term(kind="image", value=url)
        assert shop.search("mug", minus=[away]).hits[0].id != "mug-red"
        second = shop.search(images=url, size=1)
        assert second.cursor
        assert shop.search(images=url, size=1, cursor=second.cursor).hits[0].rank == 2
