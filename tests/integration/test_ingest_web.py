"""Catalogues whose pictures lie on the web: a host on loopback that is well, ill, slow, or gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cli.ingest import ingest as ingest_command
from es_xmodal.cli.main import run
from es_xmodal.cluster.client import connect
from es_xmodal.encoders import registry
from es_xmodal.media.picture import content_hash
from es_xmodal.settings import load_settings
from tests.support import picture_host as answers
from tests.support.encoders import HashEncoder
from tests.support.ingesting import documents, rejects, write_rows
from tests.support.picture_host import Handler, PictureHost, jpeg, picture_host

pytestmark = pytest.mark.integration

Ingest = Callable[..., tuple[int, dict[str, Any]]]
MANY = 12


@pytest.fixture
def host() -> Iterator[PictureHost]:
    with picture_host() as one:
        yield one


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.fixture
def ingest(
    es_url: str,
    index_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Ingest:
    monkeypatch.setitem(registry._LOADERS, "mini", lambda argument, options: HashEncoder())
    monkeypatch.setenv("ES_XMODAL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ES_XMODAL_PICTURE_HOSTS", "pictures.invalid, 127.0.0.1")
    monkeypatch.chdir(tmp_path)

    def call(rows: list[dict[str, Any]], *args: str) -> tuple[int, dict[str, Any]]:
        catalog = write_rows(tmp_path, rows)
        where = ["--index", f"{index_prefix}web", "--url", es_url, "--json"]
        code = run(ingest_command, [str(catalog), *where, *args])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}

    return call


def with_etag(data: bytes) -> answers.Answer:
    def answer(handler: Handler) -> None:
        tag = f'"{content_hash(data)[:8]}"'
        if handler.headers.get("If-None-Match") == tag:
            handler.send_response(304)
            handler.end_headers()
        else:
            handler.reply(200, data, Content_Type="image/jpeg", ETag=tag)

    return answer


def web_rows(host: PictureHost, count: int = MANY) -> list[dict[str, Any]]:
    for number in range(count):
        host.answers[f"/{number}.jpg"] = with_etag(jpeg((number * 20, 90, 30)))
    return [
        {"id": f"p{number}", "title": f"mug {number}", "images": [f"{host.url}/{number}.jpg"]}
        for number in range(count)
    ]


def vectors(client: Elasticsearch, index: str) -> dict[str, int]:
    return {
        one: sum("joint" in image for image in source.get("images", []))
        for one, source in documents(client, index).items()
    }


def test_pictures_come_once_and_are_asked_about_afterwards(
    ingest: Ingest, host: PictureHost, client: Elasticsearch
) -> None:
    rows = web_rows(host)
    code, first = ingest(rows)
    assert (code, first["indexed"], first["fetched_pictures"], first["encoded_images"]) == (
        0,
        MANY,
        MANY,
        MANY,
    )
    assert len(host.requests) == MANY, "fetched once, not again to be decoded"
    assert set(vectors(client, first["index"]).values()) == {1}
    code, second = ingest(rows)
    assert (code, second["unchanged"], second["fetched_pictures"]) == (0, MANY, 0)
    assert len(host.requests) == 2 * MANY
    host.answers["/3.jpg"] = with_etag(jpeg((0, 0, 255)))
    code, third = ingest(rows)
    assert (third["updated"], third["fetched_pictures"], third["encoded_images"]) == (1, 1, 1)


def test_a_host_that_is_gone_takes_no_vector_from_the_index(
    ingest: Ingest, host: PictureHost, client: Elasticsearch, tmp_path: Path
) -> None:
    rows = web_rows(host)
    ingest(rows)
    for number in range(MANY):
        host.answers[f"/{number}.jpg"] = (
            answers.status(404) if number == 0 else answers.status(503, Retry_After="999")
        )
    for row in rows:
        row["price"] = 5
    code, second = ingest(rows)
    assert code == 1
    assert (second["updated"], second["stale_pictures"], second["failed_pictures"]) == (MANY, MANY - 1, 1)
    assert second["encoded_images"] == 0
    kept = vectors(client, second["index"])
    assert kept == {f"p{number}": int(number > 0) for number in range(MANY)}
    reasons = [one["reason"] for one in rejects(tmp_path / "catalog.rejects.jsonl")]
    assert sum(reason.startswith("as_last_time: busy") for reason in reasons) == MANY - 1
    assert sum(reason.startswith("missing") for reason in reasons) == 1


def test_every_misbehaviour_is_a_line_and_every_product_is_there(
    ingest: Ingest, host: PictureHost, client: Elasticsearch, tmp_path: Path
) -> None:
    ill: dict[str, tuple[answers.Answer, str]] = {
        "html": (lambda handler: handler.reply(200, b"<html>", Content_Type="image/jpeg"), "not_a_picture"),
        "endless": (answers.endless, "too_many_bytes"),
        "private": (answers.status(302, Location="http://10.0.0.7/x.jpg"), "address_refused"),
        "half": (answers.half(jpeg(side=400)), "network"),
        "truncated": (answers.picture(jpeg(side=400)[:-300]), "truncated"),
        "gone": (answers.status(410), "missing"),
    }
    rows = web_rows(host, 3)
    for name, (answer, _) in ill.items():
        host.answers[f"/{name}"] = answer
        rows.append({"id": name, "title": name, "images": [f"{host.url}/{name}"]})
    rows.append({"id": "private-at-once", "title": "x", "images": ["http://127.0.0.2/x.jpg"]})
    code, report = ingest(rows)
    assert code == 1
    assert (report["read"], report["indexed"], report["rejected"]) == (10, 10, 0)
    assert report["failed_pictures"] == report["without_image"] == 7
    found = {
        one["id"]: one["reason"].partition(":")[0] for one in rejects(tmp_path / "catalog.rejects.jsonl")
    }
    assert found == {**{name: code for name, (_, code) in ill.items()}, "private-at-once": "address_refused"}
    assert len(documents(client, report["index"])) == 10


def test_a_placeholder_is_noticed_and_then_left_out(
    ingest: Ingest, host: PictureHost, client: Elasticsearch
) -> None:
    rows = web_rows(host, 3)
    nothing = jpeg((128, 128, 128))
    url = host.serve("/no-image.jpg", nothing)
    rows += [{"id": f"n{number}", "title": f"bowl {number}", "images": [url]} for number in range(25)]
    code, first = ingest(rows)
    assert code == 0
    (shared,) = first["shared_pictures"]
    assert shared == {"ref": url, "content": content_hash(nothing), "products": 25}
    code, second = ingest(rows, "--placeholder", shared["content"])
    assert (code, second["updated"], second["unchanged"], second["without_image"]) == (0, 25, 3, 25)
    assert sum(vectors(client, second["index"]).values()) == 3
    assert second["shared_pictures"] == []


def test_a_placeholder_that_cannot_be_read_is_one_line(
    ingest: Ingest, host: PictureHost, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = ingest(web_rows(host, 1), "--placeholder", "none.jpg")
    assert (code, report) == (2, {})
