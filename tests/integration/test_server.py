"""The service on a real index: every route, every error, keys, limits, and a whole process of it."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from es_xmodal.encoders import registry
from es_xmodal.server.batching import BatchingEncoder
from es_xmodal.server.factory import create_app
from es_xmodal.server.options import ServerOptions, parse_keys
from es_xmodal.settings import load_settings
from es_xmodal.shop import Shop
from tests.support.encoders import HashEncoder
from tests.support.nodes import delete_everything_named
from tests.support.shops import ingest_shop, write_shop

pytestmark = pytest.mark.integration

SEARCH, ADMIN = "search-key-0123456789", "admin-key-0123456789"
KEYS = parse_keys(f"search:{SEARCH},admin:{ADMIN}")


@pytest.fixture(scope="module")
def index(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("shop")
    prefix = f"t{os.urandom(5).hex()}-"
    ingest_shop(es_url, write_shop(folder), f"{prefix}served")
    yield f"{prefix}served"
    delete_everything_named(es_url, prefix)


@contextmanager
def served(es_url: str, index: str, **options: Any) -> Iterator[TestClient]:
    with TestClient(app_for(es_url, index, **options), raise_server_exceptions=False) as client:
        yield client


def app_for(es_url: str, index: str, **options: Any) -> FastAPI:
    shop = Shop(
        settings=load_settings(url=es_url),
        index=index,
        around_encoder=lambda encoder: BatchingEncoder(encoder, wait_ms=1),
    )
    return create_app(shop, ServerOptions(**options))


@pytest.fixture(scope="module", autouse=True)
def without_a_model() -> Iterator[None]:
    before = dict(registry._LOADERS)
    registry._LOADERS["hash"] = lambda argument, options: HashEncoder()
    yield
    registry._LOADERS.clear()
    registry._LOADERS.update(before)


@pytest.fixture(scope="module")
def client(es_url: str, index: str) -> Iterator[TestClient]:
    with served(es_url, index) as one:
        yield one


def png(colour: tuple[int, int, int] = (200, 20, 30), side: int = 40) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(data, "PNG")
    return data.getvalue()


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:es-xmodal:problem:{kind}"
    assert found["status"] == status
    assert found["request_id"] == answer.headers["x-request-id"]
    assert "\n" not in found["detail"]
    return found


# --- what it answers ------------------------------------------------------------------------------------


def test_words_by_get_and_by_post_are_the_same_search(client: TestClient, es_url: str, index: str) -> None:
    by_get = client.get("/search", params={"q": "red mug", "size": 3})
    by_post = client.post("/search", json={"text": "red mug", "size": 3})
    assert ids(by_get) == ids(by_post)
    assert ids(by_get)[0] == "mug-red"
    with Shop(settings=load_settings(url=es_url), index=index) as shop:
        library = shop.search("red mug", size=3).to_json()
    answer = by_post.json()
    assert [hit["score"] for hit in answer["hits"]] == [hit["score"] for hit in library["hits"]]
    assert answer["plan"] == library["plan"]
    assert answer["hits"][0]["highlight"]["title"] == "<em>Red</em> ceramic <em>mug</em>"


def test_a_picture_comes_as_a_form_or_as_a_data_uri(client: TestClient) -> None:
    joint = {"weights": {"visual": 0}}  # that space of the double is noise
    form = client.post(
        "/search", data={"query": json.dumps(joint)}, files={"image": ("a.png", png(), "image/png")}
    )
    both = client.post(
        "/search",
        data={"query": json.dumps({"text": "mug", "size": 2})},
        files=[("image", ("a.png", png(), "image/png"))],
    )
    uri = client.post("/search", json={**joint, "images": [data_uri(png())]})
    assert ids(form) == ids(uri)
    assert set(ids(form)[:2]) == {"mug-red", "sofa"}
    assert ids(both)[0] == "mug-red"
    assert len(ids(both)) == 2
    words = client.post("/search", files={"text": (None, "green lamp")})
    assert ids(words)[0] == "lamp"


def test_pages_continue(client: TestClient) -> None:
    whole = ids(client.get("/search", params={"q": "mug", "size": 6}))
    first = client.get("/search", params={"q": "mug", "size": 2}).json()
    second = client.get("/search", params={"q": "mug", "size": 2, "cursor": first["cursor"]})
    assert [hit["id"] for hit in first["hits"]] + ids(second) == whole[:4]


def test_filters_facets_and_sort_by_get(client: TestClient) -> None:
    answer = client.get(
        "/search", params={"q": "mug", "filter": "price=..20", "facet": "brand", "sort": "-price"}
    )
    assert ids(answer)[0] == "mug-blue"
    assert "lamp" not in ids(answer)
    assert answer.json()["facets"]["brand"]
    alone = client.post("/facets", json={"text": "mug", "filters": ["price=..20"], "facets": ["brand"]})
    assert alone.json()["facets"] == answer.json()["facets"]
    assert set(alone.json()) == {"facets", "total"}


def test_explanations_add_up(client: TestClient) -> None:
    for answer in (
        client.post("/explain", json={"text": "red mug"}),
        client.post("/search", json={"text": "red mug", "explain": True}),
    ):
        for hit in answer.json()["hits"]:
            assert sum(leg["contribution"] for leg in hit["legs"].values()) == pytest.approx(
                hit["score"], abs=1e-6
            )
            assert hit["explain"]["score"] == hit["score"]
    assert client.post("/search", json={"text": "red mug"}).json()["hits"][0]["explain"] is None


def test_the_plan_can_be_pasted(client: TestClient, index: str) -> None:
    answer = client.post("/plan", json={"text": "red mug"}).json()
    assert [one["endpoint"] for one in answer["requests"]] == ["_msearch", "_search"]
    assert (
        answer["console"].startswith(f"GET {index}/_msearch")
        or "_msearch" in answer["console"].split("\n")[0]
    )


def test_products_and_what_is_like_them(client: TestClient) -> None:
    assert client.get("/products/mug-red").json()["title"] == "Red ceramic mug"
    assert "tokens" not in client.get("/products/mug-red").json()
    assert "mug-red" not in ids(client.get("/similar/mug-red", params={"size": 3}))
    for path in ("/products/none", "/similar/none"):
        problem(client.get(path), 404, "not-found")


def test_vectors(client: TestClient) -> None:
    answer = client.post("/encode", json={"texts": ["red", "blue"], "images": [data_uri(png())]}).json()
    assert answer["fingerprint"] == HashEncoder().info.fingerprint
    assert len(answer["texts"]["joint"]) == 2
    assert set(answer["images"]) == {"joint", "visual"}
    plain = HashEncoder().encode_texts(["red"])["joint"][0]
    assert answer["texts"]["joint"][0] == pytest.approx(plain.tolist(), abs=1e-6)


def test_health_needs_nothing_and_readiness_needs_the_index(
    client: TestClient, es_url: str, index: str
) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"ready": True, "index": index, "detail": "ready"}
    with served(es_url, f"{index}-none") as other:
        answer = other.get("/readyz")
        assert (answer.status_code, answer.json()["detail"]) == (503, "IndexMissingError")
    with served("http://127.0.0.1:9", index) as away:
        assert away.get("/readyz").status_code == 503
        assert away.get("/healthz").status_code == 200
        problem(away.get("/search", params={"q": "mug"}), 503, "cluster-unreachable")


def test_metrics_tell_stages_legs_and_empty_results(client: TestClient) -> None:
    client.get("/search", params={"q": "mug"})
    client.post("/search", json={"text": "mug", "filters": ["brand=none"]})
    text = client.get("/metrics").text
    for line in (
        r'es_xmodal_requests_total\{route="/search",status="200"\} \d+',
        r'es_xmodal_stage_seconds_count\{stage="encode"\} \d+',
        r'es_xmodal_stage_seconds_count\{stage="retrieve"\} \d+',
        r'es_xmodal_leg_seconds_count\{leg="lexical"\} \d+',
        r'es_xmodal_empty_results_total\{class="short"\} [1-9]',
        r"es_xmodal_running 0\.0",
    ):
        assert re.search(line, text), line


# --- what it refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "mug", "size": 0}, "size"),
        ({"text": "mug", "size": 500}, "size"),
        ({"text": "mug", "colour": "red"}, "colour"),
        ({"text": "mug", "filters": ["no_such_field=1"]}, "filters"),
        ({"text": "mug", "cursor": "rubbish"}, "cursor"),
        ({"text": "mug", "minus": ["image:/etc/passwd"]}, "minus"),
        ({"images": ["/etc/passwd"]}, "images"),
        ({"images": ["http://127.0.0.1/x.jpg"]}, "images"),
        ({"text": "mug", "weights": {"none": 1}}, "weights"),
        ([1], "body"),
    ],
)
def test_a_query_that_makes_no_sense_names_its_field(client: TestClient, body: Any, field: str) -> None:
    answer = client.post("/search", json=body)
    found = problem(answer, 422, "query")
    assert str(found["field"]).startswith(field)


def test_other_bad_requests(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    problem(client.post("/search", content=b"{", headers=headers), 400, "bad-json")
    problem(client.post("/search", content=b"[" * 100_000, headers=headers), 400, "bad-json")
    problem(
        client.post("/search", content=b"x", headers={"content-type": "text/plain"}),
        415,
        "unsupported-media-type",
    )
    form = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/search", content=b"rubbish", headers=form), 400, "bad-form")
    problem(client.post("/search", files={"picture": ("a.png", png())}), 422, "query")
    many = [("image", (f"{n}.png", png())) for n in range(5)]
    problem(client.post("/search", files=many), 422, "query")
    problem(client.get("/search"), 422, "query")
    problem(client.get("/nothing/here"), 404, "not-found")
    problem(client.put("/search"), 405, "http-405")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (png()[:60], 422),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
        (b"GIF89a" + b"<script>alert(1)</script>", 422),
        (b"%PDF-1.7" + png(), 422),
        (b"", 422),
    ],
)
def test_pictures_that_are_none(client: TestClient, data: bytes, status: int) -> None:
    answer = client.post("/search", files={"image": ("a.png", data)})
    assert problem(answer, status, "picture" if data else "query")


def test_a_body_that_is_too_large_is_not_read(es_url: str, index: str) -> None:
    with served(es_url, index, max_body_bytes=1000) as client:
        headers = {"content-type": "application/json"}
        problem(client.post("/search", content=b"x" * 2000, headers=headers), 413, "too-large")

        def drip() -> Iterator[bytes]:
            for _ in range(50):
                yield b"x" * 100

        problem(client.post("/search", content=drip(), headers=headers), 413, "too-large")
        form = {"image": ("a.png", b"x" * 5000)}
        problem(client.post("/search", files=form), 413, "too-large")
        assert client.get("/search", params={"q": "mug"}).status_code == 200


def test_no_route_but_health_without_a_key(es_url: str, index: str) -> None:
    with served(es_url, index, keys=KEYS) as client:
        app: Any = client.app
        paths = {(method.upper(), path) for path, one in app.openapi()["paths"].items() for method in one}
        assert len(paths) >= 11
        for method, path in [*paths, ("GET", "/openapi.json")]:
            answer = client.request(method, path.replace("{id_}", "mug-red"))
            if path in ("/healthz", "/readyz"):
                assert answer.status_code == 200
            else:
                assert "WWW-Authenticate" in answer.headers
                problem(answer, 401, "unauthorized")
        for headers in (
            {"authorization": f"Bearer {SEARCH}"},
            {"x-api-key": SEARCH},
            {"authorization": "Basic " + base64.b64encode(f"any:{SEARCH}".encode()).decode()},
        ):
            assert client.get("/search", params={"q": "mug"}, headers=headers).status_code == 200
            problem(client.get("/metrics", headers=headers), 403, "forbidden")
        assert client.get("/metrics", headers={"x-api-key": ADMIN}).status_code == 200
        for wrong in ("Bearer", "Basic ???", "Bearer wrong", "Digest x"):
            answer = client.get("/search", params={"q": "mug"}, headers={"authorization": wrong})
            problem(answer, 401, "unauthorized")
            assert SEARCH not in answer.text


def test_a_caller_that_comes_too_often(es_url: str, index: str) -> None:
    with served(es_url, index, rate_per_s=0.01, burst=2) as client:
        assert [client.get("/products/lamp").status_code for _ in range(3)] == [200, 200, 429]
        answer = client.get("/products/lamp")
        problem(answer, 429, "too-many-requests")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/healthz").status_code == 200


def test_a_full_queue_answers_503(es_url: str, index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_for(es_url, index, running=1, waiting=1, wait_s=30, keys=KEYS)
    service = app.state.service
    begun, go = threading.Event(), threading.Event()

    def slow(id_: str) -> dict[str, str]:
        begun.set()
        assert go.wait(60)
        return {"id": id_}

    monkeypatch.setattr(service.shop, "product", slow)
    headers = {"x-api-key": SEARCH}
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.get, "/products/a", headers=headers)
        assert begun.wait(60)
        second = pool.submit(client.get, "/products/b", headers=headers)
        while service.gate.waiting < 1:
            pass
        third = client.get("/products/c", headers=headers)
        problem(third, 503, "queue-full")
        assert third.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        go.set()
        assert [one.result().json()["id"] for one in (first, second)] == ["a", "b"]


def test_an_answer_that_takes_too_long_is_504(
    es_url: str, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_for(es_url, index, answer_s=0.05)
    go = threading.Event()
    monkeypatch.setattr(app.state.service.shop, "product", lambda id_: go.wait(60) and {"id": id_})
    with TestClient(app) as client:
        problem(client.get("/products/a"), 504, "timeout")
        go.set()


def test_what_is_unexpected_tells_the_caller_nothing(
    es_url: str, index: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_for(es_url, index)

    def broken(id_: str) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(app.state.service.shop, "product", broken)
    with TestClient(app, raise_server_exceptions=False) as client:
        found = problem(client.get("/products/a", headers={"x-request-id": "mine-1"}), 500, "internal")
    assert found["request_id"] == "mine-1"
    assert "secret" not in json.dumps(found)
    assert "secret inside" in caplog.text


def test_pages_of_other_origins_may_not_call_unless_named(es_url: str, index: str) -> None:
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    with served(es_url, index) as client:
        answer = client.options("/search", headers=headers)
        assert "access-control-allow-origin" not in answer.headers
    with served(es_url, index, cors_origins=("https://shop.example",)) as client:
        assert client.options("/search", headers=headers).headers["access-control-allow-origin"]
        other = {**headers, "origin": "https://other.example"}
        assert "access-control-allow-origin" not in client.options("/search", headers=other).headers


def test_queries_and_pictures_are_neither_logged_nor_kept(
    es_url: str, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "es_xmodal")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened: list[str] = []
    real = tempfile.TemporaryFile

    def opening(*args: Any, **options: Any) -> Any:
        opened.append("file")
        return real(*args, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", opening)
    noise = os.urandom(3 * 1024 * 1024)
    data = io.BytesIO()
    Image.frombytes("RGB", (1024, 1024), noise).save(data, "PNG")
    with served(es_url, index) as client:
        answer = client.post(
            "/search", data={"text": "unspeakable mug"}, files={"image": ("a.png", data.getvalue())}
        )
        assert answer.status_code == 200
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    assert "POST /search 200" in caplog.text
    assert "unspeakable" not in caplog.text


def test_headers_that_protect_a_page(client: TestClient) -> None:
    headers = client.get("/healthz").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


# --- the whole process ----------------------------------------------------------------------------------


@pytest.fixture
def process(es_url: str, index: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    repository = Path(__file__).resolve().parents[2]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ES_XMODAL_")}

    def start(*args: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "es_xmodal", "serve", "--url", es_url, "--index", index, *args]
        environment = {**kept, "PYTHONPATH": str(repository), **variables}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.wait()
        if one.stderr:
            one.stderr.close()


def test_a_process_listens_answers_and_ends_cleanly(process: Callable[..., Any]) -> None:
    service = process("--port", "0")
    line = service.stderr.readline()
    url = re.match(r"(http://127\.0\.0\.1:\d+) serves the index", line)[1]  # type: ignore[index]
    for _ in range(200):
        try:
            if httpx.get(f"{url}/readyz", timeout=30).status_code == 200:
                break
        except httpx.TransportError:
            continue
    assert httpx.get(f"{url}/products/lamp", timeout=30).json()["id"] == "lamp"
    # A port that is taken is one line.
    port = url.rpartition(":")[2]
    second = process("--port", port)
    assert "cannot listen on" in second.communicate()[1]
    assert second.returncode == 2
    service.send_signal(signal.SIGTERM)
    assert "Traceback" not in service.communicate(timeout=60)[1]
    assert service.returncode == 0


def test_a_process_logs_requests_and_words_only_when_asked(process: Callable[..., Any]) -> None:
    said = {}
    for option in ("", "--log-queries"):
        service = process("--port", "0", *filter(None, [option]))
        url = service.stderr.readline().split()[0]
        body = {"text": "unspeakable mug", "weights": {"text": 0, "image": 0}}
        answer = httpx.post(f"{url}/search", json=body, headers={"x-request-id": "mine-7"}, timeout=60)
        assert answer.status_code == 200, answer.text
        service.send_signal(signal.SIGTERM)
        said[option] = service.communicate(timeout=60)[1]
        assert re.search(r"POST /search 200 \d+ ms mine-7", said[option])
    assert "unspeakable" not in said[""]
    assert "unspeakable mug" in said["--log-queries"]


def test_a_process_without_a_key_stays_on_loopback(process: Callable[..., Any]) -> None:
    refused = process("--host", "0.0.0.0", "--port", "0")
    said = refused.communicate(timeout=120)[1]
    assert refused.returncode == 2
    assert said.count("\n") == 1
    assert "without a key" in said
