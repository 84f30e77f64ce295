"""`--encoder` of search, plan and evaluate: another name for the encoder of the index, never another one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_xmodal.encoders import registry
from es_xmodal.encoders.base import Encoder, EncoderOptions, Space
from es_xmodal.encoders.mini import load_mini
from es_xmodal.errors import MissingExtraError
from tests.support.cli import WRONG, Cli, refused
from tests.support.embedding import Fault, Service, embedding_service
from tests.support.encoders import HashEncoder
from tests.support.ingesting import rejects, shop_rows, write_rows
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.integration
KIND = "elsewhere"


def hashed(argument: str, options: EncoderOptions) -> Encoder:
    return HashEncoder()


@pytest.fixture(scope="module")
def built_elsewhere(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An index whose encoder has a SPEC that means nothing on this machine."""
    home = tmp_path_factory.mktemp("elsewhere")
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=home, variables={"ES_XMODAL_URL": es_url}, options=("--index", f"{prefix}shop"))
    write_rows(home, shop_rows(home, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._LOADERS, "hash", hashed)
        done = cli.here("ingest", "catalog.jsonl", "--encoder", "hash")
    assert done.code == 0, done
    yield cli
    delete_everything_named(es_url, prefix)


def calls(home: Path) -> list[list[str]]:
    """One call of every command that has the option."""
    lines = ["qid\tmode\tlang\ttext\timage\ttags", "q1\ttext\ten\tred mug\t\t"]
    (home / "queries.tsv").write_text("\n".join([*lines, ""]))
    (home / "qrels.txt").write_text("q1 0 p1 1\n")
    judged = ["evaluate", "--queries", "queries.tsv", "--qrels", "qrels.txt"]
    return [["search", "red mug"], ["plan", "red mug"], judged]


def test_an_encoder_that_is_not_here_is_named_with_the_option(
    built_elsewhere: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = built_elsewhere
    for call in calls(cli.home):
        refused(cli.here(*call), WRONG, "the encoder of the index, hash, cannot be loaded", "--encoder SPEC")
    monkeypatch.setitem(registry._LOADERS, KIND, hashed)
    for call in calls(cli.home):
        done = cli.here(*call, "--encoder", KIND)
        assert done.code == 0, done
    # The setting is that of ingest: an index is never searched with what happens to be set.
    refused(
        cli.with_variables(ES_XMODAL_ENCODER=KIND).here("search", "mug"), WRONG, "no encoder is called 'hash'"
    )


def test_an_encoder_of_other_vectors_is_refused(
    built_elsewhere: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = HashEncoder(fingerprint="hash-0000000000000002")
    monkeypatch.setitem(registry._LOADERS, KIND, lambda argument, options: other)
    for call in calls(built_elsewhere.home):
        refused(
            built_elsewhere.here(*call, "--encoder", KIND),
            WRONG,
            "another encoder",
            "hash-0000000000000001",
            "hash-0000000000000002",
        )
    assert other.calls == []


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("hsah", "no encoder is called 'hsah'"),
        ("http:none", "has no address of a service"),
        ("http:http://127.0.0.1:9", "cannot be reached"),
        ("needy", "pip install 'es-xmodal[clip]'"),
    ],
)
def test_an_option_that_names_none(
    built_elsewhere: Cli, monkeypatch: pytest.MonkeyPatch, spec: str, says: str
) -> None:
    def needy(argument: str, options: EncoderOptions) -> Encoder:
        raise MissingExtraError("needy models", extra="clip")

    monkeypatch.setitem(registry._LOADERS, "needy", needy)
    monkeypatch.setattr("es_xmodal.encoders.http.client.time.sleep", lambda seconds: None)
    code = 3 if "127.0.0.1" in spec else WRONG
    refused(built_elsewhere.here("search", "mug", "--encoder", spec), code, says)


def test_words_alone_load_no_encoder(built_elsewhere: Cli) -> None:
    weights = ["--weight", "text=0", "--weight", "image=0"]
    assert built_elsewhere.here("search", "mug", *weights).code == 0


def test_a_service_serves_the_encoder_of_the_index(sample_cli: Cli) -> None:
    """`mini` behind our protocol has the fingerprint of `mini`, and finds what it finds."""
    here = sample_cli.json("search", "a green plant", "--size", "20")
    with embedding_service(Service(encoder=load_mini())) as service:
        there = sample_cli.json("search", "a green plant", "--size", "20", "--encoder", f"http:{service.url}")
    assert service.paths == ["/", "/texts"]
    assert [hit["id"] for hit in there["hits"]] == [hit["id"] for hit in here["hits"]]
    for one, other in zip(here["hits"], there["hits"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


@pytest.fixture
def own(es_url: str, index_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line on an index of its own, with five rows and their pictures."""
    monkeypatch.setattr("es_xmodal.encoders.http.client.time.sleep", lambda seconds: None)
    monkeypatch.setitem(registry._LOADERS, "hash", hashed)
    write_rows(tmp_path, shop_rows(tmp_path, 5))
    return Cli(home=tmp_path, variables={"ES_XMODAL_URL": es_url}, options=("--index", f"{index_prefix}shop"))


def test_a_service_that_goes_away_ends_the_ingest_and_what_served_still_serves(own: Cli) -> None:
    with embedding_service(Service()) as service:
        spec = f"http:{service.url}"
        first = own.json("ingest", "catalog.jsonl", "--encoder", spec)
        assert (first["indexed"], first["encoded_images"]) == (5, 5)
        write_rows(own.home, shop_rows(own.home / "more", 9), name="more.jsonl")
        (own.home / "more.jsonl").rename(own.home / "more/more.jsonl")
        service.encoder = HashEncoder(fingerprint="hash-0000000000000002")
        service.spoil["/pictures"] = Fault(503, b"later")
        again = ["ingest", "more/more.jsonl", "--encoder", spec, "--rebuild"]
        refused(own.here(*again), 3, "503 Service Unavailable, 4 times")
        service.encoder = HashEncoder()
        assert {hit["id"] for hit in own.json("search", "red mug")["hits"]} == {f"p{n}" for n in range(5)}
        service.spoil.clear()
        assert own.json(*again)["indexed"] == 9


def test_a_service_that_refuses_a_picture_costs_that_picture(own: Cli) -> None:
    with embedding_service(Service(spoil={"/pictures": Fault(422, {"detail": "too red"})})) as service:
        report = own.json("ingest", "catalog.jsonl", "--encoder", f"http:{service.url}", code=1)
    assert (report["indexed"], report["encoded_images"]) == (5, 0)
    lines = rejects(own.home / "catalog.rejects.jsonl")
    assert [line["field"] for line in lines] == ["images[0]"] * 5
    assert all(line["stage"] == "encode" and "too red" in line["reason"] for line in lines)


def test_no_pictures_at_all(own: Cli) -> None:
    rows = [{**row, "images": []} for row in shop_rows(own.home, 5)]
    write_rows(own.home, rows)
    report = own.json("ingest", "catalog.jsonl", "--encoder", "hash")
    assert (report["indexed"], report["without_image"], report["encoded_images"]) == (5, 5, 0)
    assert len(own.json("search", "red mug")["hits"]) == 5
    nothing = own.json("search", "--image", "images/1.png")
    assert [hit["best_image"] for hit in nothing["hits"]] == []


def test_a_title_of_ten_megabytes(own: Cli) -> None:
    write_rows(own.home, [{"id": "long", "title": "red mug " * 1_250_000}, {"id": "short", "title": "mug"}])
    done = own.here("ingest", "catalog.jsonl", "--encoder", "hash", "--json")
    assert done.code in (0, 1), done
    assert "Traceback" not in done.err
    assert done.json["indexed"] + done.json["rejected"] == 2
    assert "short" in {hit["id"] for hit in own.json("search", "mug")["hits"]}


def test_more_dimensions_than_elasticsearch_takes(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def wide(argument: str, options: EncoderOptions) -> Encoder:
        Space(name="joint", dim=8192, modalities=frozenset({"text", "picture"}))
        raise AssertionError("a space of 8192 dimensions was made")

    monkeypatch.setitem(registry._LOADERS, "wide", wide)
    refused(own.here("ingest", "catalog.jsonl", "--encoder", "wide"), WRONG, "8192 dimensions", "4096")
