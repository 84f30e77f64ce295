"""`--encoder` of search, plan and evaluate: another name for the encoder of the index, never another one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_xmodal.encoders import registry
from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.encoders.mini import load_mini
from es_xmodal.errors import MissingExtraError
from tests.support.cli import WRONG, Cli, refused
from tests.support.embedding import Service, embedding_service
from tests.support.encoders import HashEncoder
from tests.support.ingesting import shop_rows, write_rows
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
