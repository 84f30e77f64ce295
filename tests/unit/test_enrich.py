"""Enrichment without a server: what is read, what is added, how far it got, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.shop import pick, read_shop, shop_document
from es_xmodal.enrich.copy import copy_body
from es_xmodal.enrich.layout import Layout, check_name_is_free, check_room, choose_layout, choose_paths
from es_xmodal.enrich.options import EnrichOptions
from es_xmodal.enrich.pace import Pace
from es_xmodal.enrich.place import ShopIndex, check_open, check_source, find_shop_index
from es_xmodal.enrich.run import run_enrich
from es_xmodal.enrich.undo import run_undo
from es_xmodal.enrich.walk import Progress, Seen, later_than
from es_xmodal.errors import (
    CatalogError,
    ClusterRefusedError,
    ForeignIndexError,
    IndexStateError,
    SettingsError,
    XModalError,
)
from es_xmodal.index.body import IndexOptions, build_body
from es_xmodal.index.following import Marks
from es_xmodal.index.shop import ShopMeta, parse_shop
from es_xmodal.ingest.options import Parts
from es_xmodal.media.source import PictureSource
from es_xmodal.query.fields import Fields
from es_xmodal.query.filters import parse_filter
from es_xmodal.query.model import Query
from es_xmodal.query.plan import build_plan
from es_xmodal.query.view import IndexView, Signals
from es_xmodal.resources import index_template
from es_xmodal.store.vectors import VectorStore
from tests.support.encoders import HashEncoder
from tests.support.enriching import MAP, shop_mapping
from tests.support.fake_node import Answer, Asked, fake_client
from tests.support.ingesting import ANALYZER

pytestmark = pytest.mark.unit

MAPPINGS: dict[str, Any] = {
    **shop_mapping()["mappings"],
    "properties": {
        **shop_mapping()["mappings"]["properties"],
        "colour": {"type": "text"},
        "variants": {"type": "nested", "properties": {"brand": {"type": "keyword"}}},
        "hidden": {"type": "keyword", "doc_values": False},
        "raw": {"type": "object", "enabled": False},
    },
}
OURS: Mapping[str, Any] = build_body(index_template(), encoder=HashEncoder().info, options=IndexOptions())[
    "mappings"
]["properties"]


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_no_second_sees_more_documents_than_allowed() -> None:
    clock = Clock()
    pace = Pace(50, clock=clock, sleep=clock.sleep)
    times = []
    for number in range(200):
        if number == 100:
            clock.now += 60  # a pause earns no burst
        pace.take()
        times.append(clock.now)
    busiest = max(sum(start <= one < start + 0.999 for one in times) for start in times)
    assert busiest == 50
    assert times[99] - times[0] == pytest.approx(99 / 50)


def test_without_a_limit_nothing_waits() -> None:
    clock = Clock()
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    for _ in range(1000):
        pace.take()
    assert clock.now == 100.0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "Mug"),
        ("vendor.label", "Nuvola"),
        ("flat.key", 3),
        ("pictures.url", ["a.jpg", "b.jpg", "c.jpg"]),
        ("vendor.nothing", None),
        ("nothing", None),
        ("name.deeper", None),
    ],
)
def test_values_at_paths(path: str, value: Any) -> None:
    source = {
        "name": "Mug",
        "vendor": {"label": "Nuvola"},
        "flat.key": 3,
        "pictures": [{"url": "a.jpg"}, {"url": ["b.jpg", "c.jpg"]}, {"other": 1}],
    }
    assert pick(source, path) == value


def test_a_document_is_read_as_a_product() -> None:
    source = {
        "name": ["Mug"],
        "photo_urls": "a.jpg",
        "vendor": {"label": "Nuvola"},
        "sku": 7,
        "colour": "red",
    }
    found = read_shop(source, id_="1", line=3, paths=MAP)
    assert isinstance(found, Product)
    assert (found.id, found.title, found.images, found.brand) == ("1", "Mug", ("a.jpg",), "Nuvola")
    assert found.identifiers == {"sku": "7"}
    assert found.attributes == {"colour": ("red",)}
    refused = read_shop({"sku": 7}, id_="2", line=4, paths=MAP)
    assert isinstance(refused, Reject)
    assert (refused.id, refused.field, refused.code) == ("2", "title", "missing")
    assert "--map title=name" in refused.reason


def test_a_document_is_shown_with_everything_of_the_shop() -> None:
    source = {"name": "Mug", "photo_urls": ["a.jpg"], "images": 5, "price": 3.5, "stock": {"left": 4}}
    document = shop_document(source, id_="1", paths={**MAP, "price": "price"})
    assert document["title"] == "Mug"
    assert document["images"] == [{"ref": "a.jpg"}]
    assert document["extra"] == {
        "name": "Mug",
        "photo_urls": ["a.jpg"],
        "replaced.images": 5,
        "stock": {"left": 4},
    }
    broken = shop_document({"id": "x", "stock": 1}, id_="9", paths=MAP)
    assert broken == {"id": "9", "extra": {"stock": 1}}


def test_paths_are_those_named_and_those_of_the_same_name() -> None:
    found = choose_paths("shop", MAP, MAPPINGS)
    assert found == {"price": "price", **MAP}
    assert choose_paths("shop", {"title": "raw.name"}, MAPPINGS)["title"] == "raw.name"


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (
            {"title": "nmae"},
            SettingsError,
            r"--map title=nmae: index shop has no field nmae.*nearest is name",
        ),
        ({"titel": "name"}, CatalogError, r"no field titel.*nearest is title"),
        ({"images": "photo_urls"}, SettingsError, r"no field is named for the title.*--map title=name"),
        ({"title": "name", "deleted": "in_stock"}, SettingsError, "--map deleted"),
    ],
)
def test_a_wrong_map_is_one_line(asked: dict[str, str], error: type[XModalError], says: str) -> None:
    with pytest.raises(error, match=says):
        choose_paths("shop", asked, MAPPINGS)


def layout(**asked: str) -> Layout:
    return choose_layout(choose_paths("shop", {"title": "name", **asked}, MAPPINGS), MAPPINGS, OURS)


def test_the_shops_fields_serve_where_they_can() -> None:
    one = choose_layout(choose_paths("shop", MAP, MAPPINGS), MAPPINGS, OURS)
    assert one.own == {
        "title": "name",
        "brand": "vendor.label.raw",
        "brand.text": "vendor.label",
        "price": "price",
        "group_id": "model",
        "available": "in_stock",
    }
    assert set(one.properties) == {
        "id", "tokens", "images", "row_hash", "collapse_key", "text_vector", "attributes",
        "attribute_pairs", "identifier_keys", "identifiers", "currency",
    }  # fmt: skip
    # a number is no keyword, so the identifier is kept beside it
    assert set(one.properties["identifiers"]["properties"]) == {"sku"}


def test_what_does_not_serve_is_kept_beside() -> None:
    assert "brand" in layout(brand="variants.brand").properties  # inside nested objects
    assert "brand" in layout(brand="hidden").properties  # without doc values
    assert "brand" in layout(brand="colour").properties  # text alone
    assert layout(brand="colour").own["brand.text"] == "colour"
    german = layout(title_de="colour", description_de="blurb")
    assert set(german.properties["titles"]["properties"]) == {"de"}
    assert set(german.properties["descriptions"]["properties"]) == {"de"}
    assert "title" in choose_layout({"title": "model"}, MAPPINGS, OURS).properties  # a keyword is no text


def test_only_what_is_kept_beside_is_written() -> None:
    one = layout(brand="colour", **{"identifiers.sku": "sku"})
    document = {
        "title": "Mug",
        "brand": "N",
        "price": 3,
        "identifiers": {"sku": "7", "ean": "1"},
        "tokens": {},
    }
    assert one.copies(document) == {"brand": "N", "identifiers": {"sku": "7"}, "tokens": {}}


def test_a_clash_names_the_field_and_both_types() -> None:
    one = layout()
    for there, says in (
        ({"type": "keyword"}, r"field es_xmodal of its own, as keyword, where an object"),
        ({"properties": {"score": {"type": "long"}}}, r"es_xmodal of its own, as an object with fields"),
    ):
        with pytest.raises(IndexStateError, match=says):
            check_room("shop", {"properties": {"es_xmodal": there}}, one)
    ours = {"properties": {**one.properties, "text_vector": {"type": "dense_vector", "dims": 9}}}
    says = (
        r"es_xmodal\.text_vector is there as dense_vector of 9 dimensions, and dense_vector of 24.*--to NEW"
    )
    with pytest.raises(IndexStateError, match=says):
        check_room("shop", {"properties": {"es_xmodal": ours}}, one)
    check_room("shop", {"properties": {"es_xmodal": {"properties": one.properties}}}, one)
    check_name_is_free("shop", MAPPINGS)


def shop_index(body: dict[str, Any]) -> ShopIndex:
    return ShopIndex(name="shop", index="shop-1", body=body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"settings": {"index": {"blocks": {"write": "true"}}}}, r"index\.blocks\.write"),
        ({"settings": {"index": {"blocks": {"read_only_allow_delete": "true"}}}}, "read_only_allow_delete"),
        ({"mappings": {"_source": {"enabled": False}}}, "_source is disabled"),
        (
            {"mappings": {"_source": {"excludes": ["blurb"]}}},
            r"_source\.excludes.*lose the shop's own fields",
        ),
    ],
)
def test_an_index_that_cannot_be_added_to(body: dict[str, Any], says: str) -> None:
    with pytest.raises(IndexStateError, match=says):
        check_open(shop_index(body))
        check_source(shop_index(body))


def found(bodies: dict[str, Any]) -> Any:
    return fake_client(lambda asked: Answer(body=bodies))[0]


def body_of(mappings: Mapping[str, Any] = MAPPINGS, **more: Any) -> dict[str, Any]:
    index = {"number_of_shards": "1", "uuid": "u"}
    return {"aliases": {}, "mappings": dict(mappings), "settings": {"index": index}, **more}


def test_data_streams_and_several_indices_are_refused() -> None:
    with pytest.raises(IndexStateError, match="data stream logs"):
        find_shop_index(found({".ds-logs-1": body_of(data_stream="logs")}), "logs")
    with pytest.raises(IndexStateError, match="stands for 2 indices: a, b"):
        find_shop_index(found({"a": body_of(), "b": body_of()}), "shop")
    assert find_shop_index(found({"a": body_of()}), "shop").index == "a"


def test_an_index_of_an_ingest_needs_no_enrichment() -> None:
    meta = {"_meta": {"es_xmodal": ingested_meta()}}
    with pytest.raises(ForeignIndexError, match="made by an ingest"):
        _ = shop_index({"mappings": meta}).meta


def ingested_meta() -> dict[str, Any]:
    builder = {"host": "h", "pid": 1, "run_id": "r", "started": 0.0, "machine": "m"}
    encoder: dict[str, Any] = {"spec": "hash", "fingerprint": "f", "text_space": None, "spaces": {}}
    return {
        "format": 1,
        "version": "0",
        "state": "complete",
        "encoder": encoder,
        "text": {"fingerprint": "t"},
        "layout": "l",
        "created": "",
        "lease": 0,
        "builder": builder,
    }


def test_undo_of_what_was_never_enriched() -> None:
    with pytest.raises(IndexStateError, match="never enriched"):
        run_undo(found({"a": body_of()}), "shop")


def test_the_description_is_read_as_it_was_written() -> None:
    marks = Marks(index="a", uuid="u", numbers=(4, 7))
    for walked in (None, marks):
        one = ShopMeta(paths={"title": "name"}, own={"price": "cost"}, walked=walked)
        assert parse_shop(one.to_json()) == one


def seen(number: int, shard: int = 0, **more: Any) -> Seen:
    defaults = {"source": {}, "term": 1, "routing": None}
    return Seen(id=f"{shard}-{number}", number=number, shard=shard, **{**defaults, **more})


def test_progress_is_what_is_confirmed_and_not_what_is_read() -> None:
    progress = Progress(Marks(index="a", uuid="u", numbers=(9, 5)), None)
    for number in (1, 3, 6):
        progress.read(seen(number))
    progress.read(seen(2, shard=1))
    assert progress.marks.numbers == (-1, -1)
    progress.settled("0-3")
    assert progress.marks.numbers == (0, -1)  # 1 is not confirmed
    progress.settled("0-1")
    assert progress.marks.numbers == (5, -1)  # all before 6
    progress.finished(0)
    progress.settled("0-6")
    assert progress.marks.numbers == (9, -1)
    progress.finished(1)
    assert progress.marks.numbers == (9, 1)
    progress.settled("1-2")
    assert progress.marks.numbers == (9, 5)


def test_what_this_run_wrote_is_not_looked_at_again() -> None:
    progress = Progress(Marks(index="a", uuid="u", numbers=(2, 2)), None)
    for shard in (0, 1):
        for number in (0, 2):
            progress.read(seen(number, shard=shard))
            progress.settled(f"{shard}-{number}", written=number == 2)
        progress.finished(shard)
    progress.pass_over_ours(Marks(index="a", uuid="u", numbers=(3, 4)))
    assert progress.marks.numbers == (3, 2)  # somebody else wrote to the second shard


def test_what_is_written_after_the_beginning_is_for_the_next_run() -> None:
    progress = Progress(Marks(index="a", uuid="u", numbers=(4,)), Marks(index="a", uuid="u", numbers=(2,)))
    progress.read(seen(8))
    progress.settled("0-8")
    assert progress.marks.numbers == (4,)


def test_a_document_that_is_read_again_holds_its_place() -> None:
    progress = Progress(Marks(index="a", uuid="u", numbers=(9,)), None)
    for number in (1, 2):
        progress.read(seen(number))
    progress.conflict("0-1")
    assert [one.number for one in progress.take_again()] == [1]
    assert progress.take_again() == []
    progress.read(Seen(id="0-1", source={}, shard=0, number=40, term=1, routing=None))
    assert progress.of("0-1").number == 40
    progress.settled("0-2")
    assert progress.marks.numbers == (0,)
    progress.settled("0-1")
    assert progress.marks.numbers == (1,)


def test_a_write_holds_for_the_state_that_was_read() -> None:
    assert seen(5).meta == {"if_seq_no": 5, "if_primary_term": 1}
    assert seen(5, routing="r").meta["routing"] == "r"
    assert later_than(None, 0) == {"match_all": {}}
    clauses = later_than(Marks(index="a", uuid="u", numbers=(4, 7)), 1)["bool"]["should"]
    assert clauses[0] == {"range": {"_seq_no": {"gt": 7}}}


def test_a_copy_has_the_shops_own_body_and_room() -> None:
    settings = {
        "uuid": "u",
        "creation_date": "1",
        "provided_name": "shop",
        "version": {"created": "8"},
        "blocks": {"write": "true"},
        "analysis": {"analyzer": {}},
        "mapping": {"total_fields": {"limit": "25"}, "nested_fields": {"limit": "0"}},
    }
    mappings = {**MAPPINGS, "_meta": {"owner": "shop", "es_xmodal": {}}}
    mappings["properties"] = {**MAPPINGS["properties"], "es_xmodal": {"properties": {}}}
    body = copy_body(shop_index({"settings": {"index": settings}, "mappings": mappings}))
    limits = body["settings"]["index"].pop("mapping")
    assert body["settings"]["index"] == {"analysis": {"analyzer": {}}}
    assert limits["total_fields"]["limit"] > 200
    assert limits["nested_fields"]["limit"] == 2
    assert body["mappings"] == {**MAPPINGS, "_meta": {"owner": "shop"}}


def forbidden(action: str, privileges: str) -> Answer:
    """What a server with security answers; the words are those of Elasticsearch 8 and 9."""
    reason = (
        f"action [{action}] is unauthorized for user [shop] with effective roles [reader] on indices"
        f" [shop-1], this action is granted by the index privileges [{privileges}]"
    )
    cause = {"type": "security_exception", "reason": reason}
    return Answer(status=403, body={"error": {"root_cause": [cause], **cause}, "status": 403})


_STATS = {
    "_shards": {"total": 1, "successful": 1, "failed": 0},
    "indices": {
        "shop-1": {
            "uuid": "u",
            "shards": {"0": [{"routing": {"primary": True}, "seq_no": {"global_checkpoint": 0}}]},
        }
    },
}
_HIT = {"_id": "1", "_seq_no": 0, "_primary_term": 1, "_source": {"name": "Mug"}, "sort": [0]}


def node(refuse: str, answer: Answer, *, bulk: Any = None) -> Any:
    """A node with one document that refuses requests whose path ends so."""
    pages = [[_HIT], []]

    def play(asked: Asked) -> Answer:
        path = asked.target.partition("?")[0]
        key = f"{asked.method} {path}"
        if refuse and key.endswith(refuse):
            return answer
        fixed = {
            "GET /shop": {"shop-1": body_of()},
            "GET /shop-1/_mapping": {"shop-1": {"mappings": dict(MAPPINGS)}},
            "GET /shop-1/_stats/docs": _STATS,
            "POST /shop-1/_pit": {"id": "point"},
            "POST /shop-1/_count": {"count": 1},
            "GET /shop-1/_settings/index.number_of_shards": {"shop-1": body_of()},
            "GET /_nodes/_local": {"nodes": {"n": {"version": "9.5.3", "roles": ["data"]}}},
        }
        if path == "/_search":
            hits = pages.pop(0) if pages else []
            return Answer(body={"_shards": {"failed": 0}, "timed_out": False, "hits": {"hits": hits}})
        if path.endswith("_bulk"):
            return Answer(body={"items": [{"update": bulk}]})
        return Answer(body=fixed.get(key, {"acknowledged": True}))

    return fake_client(play)[0]


@pytest.mark.parametrize(
    ("refuse", "action", "privileges", "doing"),
    [
        ("GET /shop", "indices:admin/get", "view_index_metadata,manage,all", "looking up index shop"),
        ("PUT /shop-1/_mapping", "indices:admin/mapping/put", "manage,all", "adding the field es_xmodal"),
        ("POST /shop-1/_pit", "indices:data/read/open_point_in_time", "read,all", "point in time of shop-1"),
        ("POST /shop-1/_refresh", "indices:admin/refresh", "maintenance,manage,all", "refreshing shop-1"),
        (
            "GET /shop-1/_stats/docs",
            "indices:monitor/stats",
            "monitor,manage,all",
            "where the shards of shop-1",
        ),
        ("/_bulk", "indices:data/write/bulk", "create,index,write,all", "writing to shop-1"),
    ],
)
def test_a_missing_privilege_is_named(
    refuse: str, action: str, privileges: str, doing: str, tmp_path: Path
) -> None:
    client = node(refuse, forbidden(action, privileges))
    names = privileges.replace(",", ", ")
    says = rf"{doing}.*the missing index privilege on shop-1 is one of: {names}"
    with pytest.raises(ClusterRefusedError, match=says):
        enrich(client, tmp_path)


def test_a_missing_privilege_of_one_document_is_named(tmp_path: Path) -> None:
    reason = forbidden("indices:data/write/update", "index,write,all").body["error"]["reason"]
    item = {"status": 403, "error": {"type": "security_exception", "reason": reason}}
    client = node("", Answer(), bulk=item)
    with pytest.raises(ClusterRefusedError, match=r"writing to shop-1.*privileges \[index,write,all\]"):
        enrich(client, tmp_path)


def enrich(client: Any, home: Path) -> None:
    with VectorStore.open(home / "vectors") as store:
        parts = Parts(
            client=client,
            encoder=HashEncoder(),
            analyzer=ANALYZER,
            store=store,
            pictures=PictureSource(home),
            template=index_template(),
        )
        run_enrich(parts, EnrichOptions(index="shop", paths={"title": "name"}, rejects=home / "r.jsonl"))


def test_where_scripts_run_the_key_itself_is_taken_out() -> None:
    pages = [[_HIT], [{**_HIT, "_id": "2"}], []]
    sent: list[Any] = []

    def play(asked: Asked) -> Answer:
        path = asked.target.partition("?")[0]
        if path == "/shop":
            ours = {"es_xmodal": {"properties": {"row_hash": {"type": "keyword"}}}}
            return Answer(body={"shop-1": body_of({"properties": ours})})
        if path == "/_search":
            hits = pages.pop(0) if pages else []
            return Answer(body={"_shards": {"failed": 0}, "timed_out": False, "hits": {"hits": hits}})
        if path.endswith("_bulk"):
            sent.extend(asked.lines())
            return Answer(body={"items": [{"update": {"status": 200, "result": "updated"}}]})
        fixed = {
            "/shop-1/_mapping": {"shop-1": {"mappings": {}}},
            "/shop-1/_stats/docs": _STATS,
            "/shop-1/_settings/index.number_of_shards": {"shop-1": body_of()},
            "/shop-1/_pit": {"id": "point"},
        }
        return Answer(body=fixed.get(path, {"acknowledged": True}))

    client, asked, _ = fake_client(play)
    report = run_undo(client, "shop")
    assert report.script
    assert report.undone == 2
    assert [one.target.partition("?")[0] for one in asked].count("/shop-1/_update/1") == 1
    assert sent[1] == {"script": {"lang": "painless", "source": "ctx._source.remove('es_xmodal')"}}
    assert len(report.left) == 1


def names_in(body: Any, keys: tuple[str, ...] = ("field", "path")) -> set[str]:
    """Every field that a request names."""
    if isinstance(body, Mapping):
        here = {str(body[key]) for key in keys if isinstance(body.get(key), str)}
        if isinstance(body.get("fields"), list):
            here |= {str(one).partition("^")[0] for one in body["fields"]}
        for kind in ("term", "terms", "range", "prefix"):
            one = body.get(kind)
            here |= {name for name in one if name != "field"} if isinstance(one, Mapping) else set()
        return here.union(*(names_in(one) for one in body.values()))
    return set().union(*(names_in(one) for one in body)) if isinstance(body, (list, tuple)) else set()


def test_a_plan_for_an_enriched_index_names_only_its_fields() -> None:
    one = choose_layout(choose_paths("shop", MAP, MAPPINGS), MAPPINGS, OURS)
    names = Fields(prefix="es_xmodal.", own=one.own)
    fields = {
        "id": "keyword", "tokens.title": "text", "tokens.description": "text", "tokens.attributes": "text",
        "images": "nested", "images.joint": "dense_vector", "text_vector": "dense_vector",
        "identifier_keys": "keyword", "collapse_key": "keyword", "attribute_pairs": "keyword",
        "title": "text", "brand": "keyword", "brand.text": "text", "price": "double", "available": "boolean",
    }  # fmt: skip
    view = IndexView(alias="shop", shards=1, fields=fields, names=names)
    vector = HashEncoder().encode_texts(["mug"])
    signals = Signals(terms=("mug",), vectors={"text": vector["text"][0], "image": vector["joint"][0]})
    filters = tuple(
        parse_filter(text)
        for text in ("brand=Nuvola|Qu", "price>=3", "available=true", "attributes.colour=red", "images=*")
    )
    plan = build_plan(Query(text="mug SKU-7", filters=filters, collapse=True), signals, view)
    asked = names_in(list(plan.retrieve.bodies))
    own = {"name", "vendor.label.raw", "vendor.label", "price", "in_stock"}
    assert {name for name in asked if not name.startswith("es_xmodal.")} == own
    assert {"es_xmodal.images", "es_xmodal.images.joint", "es_xmodal.text_vector"} <= asked
    assert {"es_xmodal.tokens.title", "es_xmodal.attribute_pairs", "es_xmodal.identifier_keys"} <= asked
