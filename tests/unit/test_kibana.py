"""Saved objects for Kibana, and the call that imports them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from es_xmodal.errors import KibanaError, SettingsError
from es_xmodal.ingest.report import STAGES
from es_xmodal.kibana.client import Connection, import_objects
from es_xmodal.kibana.export import Wish, build_objects, to_ndjson
from es_xmodal.kibana.shown import Shown, check_template, shown_fields
from tests.support.cli import ELASTIC, Reply, http_server
from tests.support.fake_kibana import KEY, PASSWORD, USER, FakeKibana, fake_kibana
from tests.support.kibana_shapes import (
    Dashboard,
    DataView,
    Lens,
    Session,
    check_layout,
    check_references,
    read_export,
)

pytestmark = pytest.mark.unit

OURS = {
    "id": "keyword",
    "title": "text",
    "price": "double",
    "currency": "keyword",
    "brand": "keyword",
    "brand.text": "text",
    "category": "keyword",
    "url": "keyword",
    "picture": "keyword",
    "images": "nested",
    "images.ref": "keyword",
    "images.joint": "dense_vector",
    "text_vector": "dense_vector",
    "tokens": "object",
    "tokens.title": "text",
    "row_hash": "keyword",
    "identifier_keys": "keyword",
    "collapse_key": "keyword",
}


def wish(**changes: Any) -> Wish:
    given: dict[str, Any] = {
        "alias": "products",
        "shown": shown_fields(OURS, None),
        "pictures": True,
        "audit_index": "es-xmodal-ingests",
    }
    return Wish(**{**given, **changes})


def objects(**changes: Any) -> list[DataView | Session | Lens | Dashboard]:
    return read_export(to_ndjson(build_objects(wish(**changes), STAGES)))


@pytest.mark.parametrize(
    "changes", [{}, {"space": "shop"}, {"pictures": False}, {"audit_index": None}, {"title": '椅子 "new"'}]
)
def test_every_object_has_the_shape_of_its_type(changes: dict[str, Any]) -> None:
    found = objects(**changes)
    check_references(found)
    for one in found:
        if isinstance(one, Dashboard):
            check_layout(one)
    kinds = [one.type for one in found]
    assert kinds[:2] == ["index-pattern", "search"]
    assert ("dashboard" in kinds) == ("audit_index" not in changes)


def test_the_shapes_are_strict() -> None:
    """A test that refuses nothing would prove nothing."""
    good = build_objects(wish(), STAGES)
    broken: list[dict[str, Any]] = [{"colour": "red"}, {"fieldFormatMap": {}}, {"title": None}]
    for changes in broken:
        bad = {**good[0], "attributes": {**good[0]["attributes"], **changes}}
        with pytest.raises(ValidationError):
            read_export(to_ndjson([bad]))
    with pytest.raises(AssertionError):
        check_references(read_export(to_ndjson(good[1:])))


def test_the_data_view_shows_pictures_and_hides_vectors() -> None:
    view = objects(template="https://shop.example/{{rawValue}}", title="Our shop")[0]
    assert isinstance(view, DataView)
    assert (view.attributes.title, view.attributes.name) == ("products", "Our shop")
    picture = view.attributes.fieldFormatMap["picture"].params
    assert picture.model_dump(exclude_none=True) == {
        "type": "img",
        "urlTemplate": "https://shop.example/{{rawValue}}",
        "width": 96,
        "height": 96,
    }
    assert view.attributes.fieldFormatMap["price"].params.model_dump() == {"pattern": "0,0.00"}
    hidden = {one.value for one in view.attributes.sourceFilters}
    assert hidden == {
        "tokens.*",
        "row_hash",
        "identifier_keys",
        "collapse_key",
        "images.joint",
        "text_vector",
    }


def test_the_session_of_products() -> None:
    _, session, *_ = objects()
    assert isinstance(session, Session)
    assert session.attributes.columns[:3] == ["picture", "title", "price"]
    assert session.attributes.rowHeight == -1
    assert session.attributes.grid.columns["picture"].width == 192
    _, plain, *_ = objects(pictures=False)
    assert isinstance(plain, Session)
    assert (plain.attributes.rowHeight, plain.attributes.grid.columns) == (None, {})


def test_a_second_export_replaces_the_first_and_no_other() -> None:
    def ids(**changes: Any) -> set[str]:
        return {one.id for one in objects(**changes)}

    assert to_ndjson(build_objects(wish(), STAGES)) == to_ndjson(build_objects(wish(), STAGES))
    assert ids() == ids(title="another name", pictures=False)
    shared = ids() & ids(alias="other")
    assert len(shared) == 1, "the data view of the runs"
    assert not ids() & ids(space="shop")
    assert not ids() & ids(alias="other", audit_index="other-runs")


def test_the_dashboard_is_about_this_index() -> None:
    found = objects(alias="winter-2026")
    charts = [one for one in found if isinstance(one, Lens)]
    assert len(charts) == 6
    for one in charts:
        assert one.attributes.state.query.query.endswith('and alias : "winter-2026"')
        assert one.attributes.title.startswith("winter-2026: ")
    (stages,) = (one for one in charts if "stage" in one.attributes.title)
    (layer,) = stages.attributes.state.datasourceStates.formBased.layers.values()
    assert {f"seconds_by_stage.{name}" for name in STAGES} < {
        one.sourceField for one in layer.columns.values()
    }


def test_an_index_of_a_shop() -> None:
    fields = {
        "name": "text",
        "photo_urls": "keyword",
        "offers": "nested",
        "offers.price": "double",
        "list_price": "scaled_float",
        "own_vector": "dense_vector",
        "es_xmodal": "object",
        "es_xmodal.images": "nested",
        "es_xmodal.images.joint": "dense_vector",
    }
    paths = {"title": "name", "images": "photo_urls", "price": "offers.price", "description": "gone"}
    shown = shown_fields(fields, paths)
    assert shown.columns == ["photo_urls", "name"], "what is nested cannot be shown"
    assert shown.hidden == ("es_xmodal", "es_xmodal.*", "own_vector")
    check_references(objects(shown=shown))


def test_an_index_without_anything_to_show() -> None:
    check_references(objects(shown=Shown(parts={}, hidden=()), pictures=False))


@pytest.mark.parametrize("bad", ["", "images/{{value}}", "https://shop.example/", "javascript:{{value}}"])
def test_a_template_that_kibana_cannot_fill(bad: str) -> None:
    with pytest.raises(SettingsError, match="rawValue"):
        check_template(bad)


@pytest.fixture
def kibana() -> Iterator[FakeKibana]:
    with fake_kibana() as found:
        yield found


def connection(url: str, **changes: Any) -> Connection:
    return Connection(**{"url": url, "api_key": SecretStr(KEY), "timeout_s": 5.0, **changes})


DATA = to_ndjson(build_objects(wish(), STAGES))


def test_import_and_import_again(kibana: FakeKibana) -> None:
    first = import_objects(connection(kibana.url), DATA, space="", overwrite=False)
    assert (len(first.done), first.failed) == (len(DATA.splitlines()), ())
    again = import_objects(connection(kibana.url), DATA, space="", overwrite=False)
    assert not again.done
    assert {one.reason for one in again.failed} == {"it is there already; --overwrite replaces it"}
    over = import_objects(connection(f"{kibana.url}/"), DATA, space="", overwrite=True)
    assert {one.replaced for one in over.done} == {True}
    assert over.done[0].title == "products"
    assert set(kibana.asked) == {
        "POST /api/saved_objects/_import?overwrite=false",
        "POST /api/saved_objects/_import?overwrite=true",
    }


def test_a_space_is_looked_up_first(kibana: FakeKibana) -> None:
    user = {"api_key": None, "username": USER, "password": SecretStr(PASSWORD)}
    found = import_objects(connection(kibana.url, **user), DATA, space="shop", overwrite=False)
    assert found.done
    assert {space for space, _, _ in kibana.held} == {"shop"}
    with pytest.raises(KibanaError, match="no space 'attic'"):
        import_objects(connection(kibana.url), DATA, space="attic", overwrite=False)
    assert kibana.asked[-1] == "GET /api/spaces/space/attic"


def test_what_is_missing_is_named(kibana: FakeKibana) -> None:
    rest = b"".join(DATA.splitlines(keepends=True)[1:2])
    found = import_objects(connection(kibana.url), rest, space="", overwrite=False)
    assert not found.done
    assert found.failed[0].reason.startswith("it needs what is not there: index-pattern ")


def test_other_errors_of_an_object(kibana: FakeKibana) -> None:
    told = {"type": "lens", "id": "1", "meta": {"title": "a chart"}}
    kibana.answer = (
        200,
        {
            "success": False,
            "successCount": 0,
            "errors": [
                {**told, "error": {"type": "unsupported_type"}},
                {**told, "error": {"type": "ambiguous_conflict", "destinations": []}},
                {**told, "error": {"type": "unknown", "message": "no\nroom", "statusCode": 507}},
            ],
        },
    )
    failed = import_objects(connection(kibana.url), DATA, space="", overwrite=True).failed
    assert [one.title for one in failed] == ["a chart"] * 3
    assert [one.reason.partition(" ")[0] for one in failed] == ["this", "several", "no"]
    assert failed[2].reason == "no room (507)"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "answered 400: said so"),
        (403, r"may not do this \(403\): said so"),
        (404, "no saved objects"),
        (409, r"right now \(409\)"),
        (413, "answered 413: said so"),
        (429, r"not ready or fails \(429\)"),
        (500, r"not ready or fails \(500\): said so"),
        (503, r"not ready or fails \(503\)"),
    ],
)
def test_answers_that_say_no(kibana: FakeKibana, status: int, says: str) -> None:
    kibana.answer = (status, {"statusCode": status, "error": "x", "message": "said\nso"})
    with pytest.raises(KibanaError, match=says) as error:
        import_objects(connection(kibana.url), DATA, space="", overwrite=False)
    assert error.value.exit_code == 3
    assert error.value.hint or status in (400, 413)


@pytest.mark.parametrize("answer", [b"<html>", [], {"successCount": 3}, {"success": "yes"}])
def test_answers_that_are_no_kibana_s(kibana: FakeKibana, answer: Any) -> None:
    kibana.answer = (200, answer)
    with pytest.raises(KibanaError, match=r"no Kibana|does not say"):
        import_objects(connection(kibana.url), DATA, space="", overwrite=False)


def test_wrong_credentials_are_refused_and_never_shown(kibana: FakeKibana) -> None:
    wrong = connection(kibana.url, api_key=SecretStr("d3Jvbmc="))
    assert "d3Jvbmc=" not in repr(wrong)
    with pytest.raises(KibanaError, match="401") as error:
        import_objects(wrong, DATA, space="", overwrite=False)
    assert "ES_XMODAL_KIBANA_API_KEY" in str(error.value)
    assert "d3Jvbmc=" not in str(error.value)
    with pytest.raises(SettingsError, match="no key has"):
        import_objects(connection(kibana.url, api_key=SecretStr("a\nb")), DATA, space="", overwrite=False)


def test_something_else_is_there() -> None:
    reply = Reply(status=405, body={"error": "Incorrect HTTP method"}, headers=ELASTIC)
    with http_server(lambda path: reply) as url, pytest.raises(KibanaError, match="is an Elasticsearch"):
        import_objects(connection(url), DATA, space="", overwrite=False)
    away = Reply(status=302, body=b"", headers={"location": "/login?next=%2F"})
    with http_server(lambda path: away) as url, pytest.raises(KibanaError, match="redirects to '/login"):
        import_objects(connection(url), DATA, space="", overwrite=False)
    with http_server(lambda path: None) as url, pytest.raises(KibanaError, match="cannot be reached"):
        import_objects(connection(url), DATA, space="", overwrite=False)
    with pytest.raises(KibanaError, match="cannot be reached"):
        import_objects(connection("http://127.0.0.1:1"), DATA, space="", overwrite=False)


def test_a_kibana_that_hangs() -> None:
    import threading

    over = threading.Event()

    def wait(path: str) -> Reply:
        over.wait(10)
        return Reply()

    with http_server(wait) as url:
        try:
            with pytest.raises(KibanaError, match=r"did not answer within 0\.2 s"):
                import_objects(connection(url, timeout_s=0.2), DATA, space="", overwrite=False)
        finally:
            over.set()


@pytest.mark.parametrize(
    "url", ["kibana:5601", "http://", "http://u:p@kibana:5601", "http://k:x", "http://k?a=1"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SettingsError, match="kibana_url") as error:
        import_objects(connection(url), DATA, space="", overwrite=False)
    assert "u:p" not in str(error.value)


def test_certificates_that_are_not_there() -> None:
    from pathlib import Path

    with pytest.raises(SettingsError, match="ca_certs"):
        import_objects(
            connection("https://127.0.0.1:1", ca_certs=Path("/nowhere.pem")), DATA, space="", overwrite=False
        )
