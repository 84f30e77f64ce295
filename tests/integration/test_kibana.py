"""Saved objects of real indices: every field is there, every chart shows something, no vector is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_xmodal.cluster.client import connect
from es_xmodal.index.audit import Command, RunRecord, RunState, write_audit
from es_xmodal.index.target import find_indices, load_target
from es_xmodal.ingest.report import COUNTS, STAGES
from es_xmodal.settings import load_settings
from tests.support.cli import UNREACHABLE, WRONG, Cli, refused
from tests.support.enriching import make_shop
from tests.support.fake_kibana import KEY, FakeKibana, fake_kibana
from tests.support.kibana_requests import lens_request, numbers_of, session_request
from tests.support.kibana_shapes import Dashboard, DataView, Lens, Session, check_references, read_export
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.integration

NUMBERS = {"long", "integer", "float", "double"}
FITS = {
    "sum": NUMBERS,
    "average": NUMBERS,
    "max": NUMBERS,
    "terms": {"keyword"},
    "date_histogram": {"date"},
}


@pytest.fixture
def client(es_url: str) -> Iterator[Elasticsearch]:
    found = connect(load_settings(url=es_url))
    yield found
    found.close()


@pytest.fixture
def kibana() -> Iterator[FakeKibana]:
    with fake_kibana() as found:
        yield found


@pytest.fixture(scope="session")
def alias(sample_cli: Cli) -> str:
    return sample_cli.options[1]


@pytest.fixture(scope="session")
def audit(es_url: str, alias: str) -> Iterator[str]:
    """Three runs of the sample's index, one of them failed, and one of another index."""
    name = f"{alias}-runs"
    client = connect(load_settings(url=es_url))
    for number, (command, outcome) in enumerate(
        [("ingest", "complete"), ("update", "complete"), ("rebuild", "failed")]
    ):
        assert write_audit(client, run_of(alias, number, command, outcome), index=name).warning is None  # type: ignore[arg-type]
    assert write_audit(client, run_of("another", 9, "ingest", "complete"), index=name).warning is None
    client.indices.refresh(index=name)
    client.close()
    yield name
    delete_everything_named(es_url, name)


def run_of(alias: str, number: int, command: Command, outcome: RunState) -> RunRecord:
    return RunRecord(
        run=f"{alias}-{number}",
        at=datetime.now(timezone.utc) - timedelta(days=number),
        command=command,
        outcome=outcome,
        alias=alias,
        catalog="catalog.jsonl",
        error="the disk is full" if outcome == "failed" else None,
        counts=dict.fromkeys(COUNTS, 10 + number),
        seconds=2.5,
        seconds_by_stage=dict.fromkeys(STAGES, 0.25),
        reasons={"row/negative": 2, "picture/missing": 1 + number},
        examples={"row/negative": "p1"},
        documents=120,
        coverage={"picture": 0.9, "vector": 0.8, "text_vector": 1.0},
    )


@pytest.fixture
def exported(sample_cli: Cli, audit: str) -> list[DataView | Session | Lens | Dashboard]:
    done = sample_cli.here("kibana", "export", "--audit-index", audit)
    assert done.code == 0, done
    return read_export(done.out.encode())


def types_of(client: Elasticsearch, index: str) -> dict[str, str]:
    """What a data view lists: the fields as the server tells them, without objects and without its own."""
    fields = client.field_caps(index=index, fields="*").body["fields"]
    found = {name: next(iter(kinds)) for name, kinds in fields.items()}
    return {name: kind for name, kind in found.items() if kind not in ("object", "nested") and name[0] != "_"}


def test_objects_refer_to_each_other_and_to_fields_that_exist(
    client: Elasticsearch, exported: list[Any], alias: str, audit: str
) -> None:
    check_references(exported)
    products, runs = types_of(client, alias), types_of(client, audit)
    views = {one.id: one for one in exported if isinstance(one, DataView)}
    assert {one.attributes.title for one in views.values()} == {alias, audit}
    for one in exported:
        types = (
            products
            if one.references
            and views.get(one.references[0].id)
            and views[one.references[0].id].attributes.title == alias
            else runs
        )
        if isinstance(one, Session):
            assert set(one.attributes.columns) <= set(types)
        if isinstance(one, Lens):
            for layer in one.attributes.state.datasourceStates.formBased.layers.values():
                for column in layer.columns.values():
                    if column.operationType != "count":
                        assert types[column.sourceField] in FITS[column.operationType], column
    for view in views.values():
        assert set(view.attributes.fieldFormatMap) <= set(
            products if view.attributes.title == alias else runs
        )
    assert runs["@timestamp"] == "date"


def test_every_chart_has_something_to_show(client: Elasticsearch, exported: list[Any], audit: str) -> None:
    charts = [one for one in exported if isinstance(one, Lens)]
    assert len(charts) == 6
    for one in charts:
        (layer,) = one.attributes.state.datasourceStates.formBased.layers.values()
        body = lens_request(layer, one.attributes.state.query.query)
        answer = client.search(index=audit, **body).body
        points = numbers_of(answer["aggregations"], layer)
        assert len(points) >= 3, one.attributes.title
        assert all(value is not None for point in points for value in point.values()), one.attributes.title
        assert any(value for point in points for value in point.values()), one.attributes.title


def test_what_the_charts_say(client: Elasticsearch, exported: list[Any], audit: str) -> None:
    def points(title: str) -> list[dict[str, float | None]]:
        (one,) = (one for one in exported if one.attributes.title.endswith(title))
        (layer,) = one.attributes.state.datasourceStates.formBased.layers.values()
        body = lens_request(layer, one.attributes.state.query.query)
        return numbers_of(client.search(index=audit, **body).body["aggregations"], layer)

    assert sum(point["runs"] or 0 for point in points(": runs by outcome")) == 3, "not those of another index"
    assert sum(point["rejects"] or 0 for point in points(": rejects by reason")) == 2 * 3 + 1 + 2 + 3
    assert points(": coverage")[0]["picture"] == pytest.approx(0.9)
    assert points(": rows a second")[0]["rate"] == pytest.approx(12 / 2.5)
    assert points(": seconds by stage")[0]["write"] == pytest.approx(0.25)


def test_sessions_show_what_they_name_and_no_vector(
    client: Elasticsearch, exported: list[Any], alias: str, audit: str
) -> None:
    views = {one.id: one for one in exported if isinstance(one, DataView)}
    products, runs, reasons = (one for one in exported if isinstance(one, Session))
    view = views[products.references[0].id]
    body = session_request(products, view, types_of(client, alias))
    hits = client.search(index=alias, **body).body["hits"]["hits"]
    shown = {name for hit in hits for name in hit["fields"]}
    assert {"picture", "title", "price", "images"} <= shown
    assert not shown & {"text_vector", "row_hash", "identifier_keys", "collapse_key"}
    assert not any(name.startswith("tokens") for name in shown)
    pictures = [image for hit in hits for image in hit["fields"].get("images", [])]
    assert pictures
    assert {name for image in pictures for name in image} <= {"ref", "role", "weight"}
    with_picture = next(hit for hit in hits if "picture" in hit["fields"])
    assert with_picture["fields"]["picture"] == [
        image["ref"][0] for image in with_picture["fields"]["images"]
    ]

    view = views[runs.references[0].id]
    found = client.search(index=audit, **session_request(runs, view, types_of(client, audit))).body["hits"][
        "hits"
    ]
    assert [hit["fields"]["command"] for hit in found] == [["ingest"], ["update"], ["rebuild"]], (
        "the last first"
    )
    assert found[2]["fields"]["error"] == ["the disk is full"]
    found = client.search(index=audit, **session_request(reasons, view, types_of(client, audit))).body[
        "hits"
    ]["hits"]
    assert len(found) == 6
    assert {hit["fields"]["reason"][0] for hit in found} == {"row/negative", "picture/missing"}


def test_pictures_of_files_and_of_the_web(sample_cli: Cli, audit: str) -> None:
    plain = sample_cli.here("kibana", "export", "--audit-index", audit)
    assert "note: no pictures: they are files" in plain.err
    (view,) = (one for one in read_export(plain.out.encode())[:1] if isinstance(one, DataView))
    assert "picture" not in view.attributes.fieldFormatMap
    template = "https://shop.example/{{rawValue}}"
    done = sample_cli.here("kibana", "export", "--audit-index", audit, "--image-url-template", template)
    assert done.err == ""
    (view,) = (one for one in read_export(done.out.encode())[:1] if isinstance(one, DataView))
    assert view.attributes.fieldFormatMap["picture"].params.urlTemplate == template  # type: ignore[union-attr]


def test_addresses_need_no_template(
    es_url: str, bare_cli: Cli, index_prefix: str, client: Elasticsearch
) -> None:
    """The reference stands in the index whether or not the picture could be fetched."""
    name = f"{index_prefix}web"
    row = {"id": "1", "title": "Chair", "price": 3, "images": ["https://pictures.invalid/1.jpg"]}
    (bare_cli.home / "web.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert bare_cli.here("ingest", "web.jsonl", "--index", name).code == 1
    done = bare_cli.here("kibana", "export", "--index", name, ES_XMODAL_AUDIT="true")
    assert done.err == ""
    found = read_export(done.out.encode())
    assert isinstance(found[0], DataView)
    assert found[0].attributes.fieldFormatMap["picture"].params.type == "img"  # type: ignore[union-attr]
    assert found[-1].type == "dashboard"
    none = bare_cli.here("kibana", "export", "--index", name)
    assert "note: no dashboard: ingests are not recorded" in none.err
    assert [one.type for one in read_export(none.out.encode())] == ["index-pattern", "search"]


def test_an_index_from_before(client: Elasticsearch, bare_cli: Cli, index_prefix: str, alias: str) -> None:
    """An index without the field for pictures is shown without them, and the note says why."""
    target = load_target(client, alias)
    body = find_indices(client, target.index)[target.index]
    properties = body["mappings"]["properties"]
    properties.pop("picture")
    properties["images"]["properties"]["ref"].pop("copy_to")
    name = f"{index_prefix}old"
    client.indices.create(index=name, mappings=body["mappings"])
    done = bare_cli.here("kibana", "export", "--index", name)
    assert "note: no pictures: Discover cannot show" in done.err
    (_, session) = read_export(done.out.encode())
    assert isinstance(session, Session)
    assert session.attributes.columns[0] == "title"


def test_a_file_and_a_list(sample_cli: Cli, audit: str, alias: str) -> None:
    told = sample_cli.json("kibana", "export", "--audit-index", audit, "--out", "objects.ndjson")
    lines = (sample_cli.home / "objects.ndjson").read_bytes()
    objects = read_export(lines)
    assert [one["id"] for one in told["objects"]] == [one.id for one in objects]
    assert told["objects"][0]["title"] == alias
    assert told["file"] == "objects.ndjson"
    whole = sample_cli.json("kibana", "export", "--audit-index", audit)
    assert whole["file"] is None
    assert whole["objects"] == [json.loads(line) for line in lines.splitlines()]
    said = sample_cli.here("kibana", "export", "--audit-index", audit, "--out", "objects.ndjson")
    assert said.out == f"{len(objects)} objects in objects.ndjson\n"
    named = sample_cli.json("kibana", "export", "--data-view-title", "Chairs", "--space", "x", "--out", "o")
    assert named["objects"][0]["title"] == "Chairs"
    assert named["objects"][0]["id"] != told["objects"][0]["id"]
    default = sample_cli.json("kibana", "export", "--space", "default", "--out", "o")
    assert default["objects"][0]["id"] == told["objects"][0]["id"]


def test_import_into_kibana(sample_cli: Cli, audit: str, kibana: FakeKibana, alias: str) -> None:
    cli = sample_cli.with_variables(ES_XMODAL_KIBANA_API_KEY=KEY, ES_XMODAL_KIBANA_URL=kibana.url)
    arguments = ("kibana", "import", "--audit-index", audit)
    done = cli.here(*arguments)
    assert done.code == 0, done
    assert f"imported: dashboard {alias}: ingest health" in done.out
    assert KEY not in done.out + done.err
    again = cli.here(*arguments)
    assert again.code == 1
    assert f"not imported: data view {alias}: it is there already; --overwrite replaces it" in again.err
    told = cli.json(*arguments, "--overwrite", "--space", "shop")
    assert not told["failed"]
    assert {one["replaced"] for one in told["imported"]} == {False}
    assert {one["replaced"] for one in cli.json(*arguments, "--overwrite")["imported"]} == {True}
    assert {space for space, _, _ in kibana.held} == {"default", "shop"}


def test_import_without_a_kibana(sample_cli: Cli, es_url: str, kibana: FakeKibana) -> None:
    refused(sample_cli.here("kibana", "import"), WRONG, "no address of a Kibana", "--kibana-url")
    gone = sample_cli.here("kibana", "import", "--kibana-url", "http://127.0.0.1:1")
    refused(gone, UNREACHABLE, "Kibana at http://127.0.0.1:1 cannot be reached")
    refused(sample_cli.here("kibana", "import", "--kibana-url", es_url), UNREACHABLE, "is an Elasticsearch")
    refused(sample_cli.here("kibana", "import", "--kibana-url", kibana.url), UNREACHABLE, "(401)")
    half = sample_cli.with_variables(ES_XMODAL_KIBANA_USERNAME="merchandiser")
    refused(half.here("kibana", "import"), WRONG, "kibana_password belong together")
    both = half.with_variables(ES_XMODAL_KIBANA_PASSWORD="x", ES_XMODAL_KIBANA_API_KEY=KEY)
    refused(both.here("kibana", "import"), WRONG, "exclude each other")


def test_credentials_of_the_cluster_are_those_of_kibana(
    es_url: str, sample_cli: Cli, kibana: FakeKibana
) -> None:
    done = sample_cli.here("kibana", "import", "--kibana-url", kibana.url, ES_XMODAL_API_KEY=KEY)
    assert done.code == 0, done


def test_bad_calls(sample_cli: Cli, bare_cli: Cli) -> None:
    refused(bare_cli.here("kibana", "export", "--index", "no-such"), WRONG, "there is no index no-such")
    refused(
        sample_cli.here("kibana", "export", "--image-url-template", "img/{{value}}"), WRONG, "{{rawValue}}"
    )
    refused(sample_cli.here("kibana", "export", "--out", "no/such/folder"), WRONG, "--out no/such/folder")
    refused(sample_cli.here("kibana", "export", "--audit-index", "Bad*"), WRONG, "'Bad*'")
    refused(
        sample_cli.here("ingest", "catalog.jsonl", "--no-audit", "--audit-index", "x"), WRONG, "exclude each"
    )


def test_plan_is_text_for_the_console(sample_cli: Cli, client: Elasticsearch) -> None:
    """Request lines, and JSON that is JSON: on one line each where the Console takes lines."""
    done = sample_cli.here("plan", "red cable")
    assert '"""' not in done.out
    blocks = re.split(r"\n\n", done.out.strip())
    assert len(blocks) == 2
    for block in blocks:
        first, _, rest = block.partition("\n")
        assert re.fullmatch(r"GET [^ /]+/_(msearch|search\?\S+)", first), first
        if "_msearch" in first:
            lines = [json.loads(line) for line in rest.split("\n")]
            assert len(lines) % 2 == 0
        else:
            assert isinstance(json.loads(rest), dict)


def test_an_index_of_a_shop_and_its_enrichment(
    es_url: str, bare_cli: Cli, index_prefix: str, client: Elasticsearch
) -> None:
    """The shop's own fields are shown, ours are hidden, and the enrichment is a run like any other."""
    name, audit = f"{index_prefix}own", f"{index_prefix}runs"
    make_shop(es_url, name, bare_cli.home / "own", count=4)
    cli = bare_cli.with_variables(ES_XMODAL_AUDIT="true", ES_XMODAL_AUDIT_INDEX=audit)
    maps = ("--map", "title=name", "--map", "images=photo_urls", "--map", "price=price")
    done = cli.json("enrich", name, *maps, "--images-root", bare_cli.home / "own")
    assert done["audit"] == {"index": audit, "documents": 1, "warning": None}
    client.indices.refresh(index=audit)
    (run,) = (hit["_source"] for hit in client.search(index=audit).body["hits"]["hits"])
    assert (run["command"], run["alias"], run["documents"]) == ("enrich", name, 4)
    assert "catalog" not in run
    assert run["coverage"]["text_vector"] == 1.0
    told = cli.here(
        "kibana", "export", "--index", name, "--image-url-template", "https://s.example/{{value}}"
    )
    assert told.err == ""
    found = read_export(told.out.encode())
    view, session = found[0], found[1]
    assert isinstance(view, DataView)
    assert isinstance(session, Session)
    assert session.attributes.columns == ["photo_urls", "name", "price"]
    body = session_request(session, view, types_of(client, name))
    hits = client.search(index=name, **body).body["hits"]["hits"]
    assert len(hits) == 4
    assert not any(field.startswith("es_xmodal") for hit in hits for field in hit["fields"])
    assert any(hit["fields"]["photo_urls"] for hit in hits)
