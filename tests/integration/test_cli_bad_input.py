"""Bad input to the command line, in real processes: one line on standard error and the right exit code."""

from __future__ import annotations

import json
import socket

import pytest

from tests.support.cli import ELASTIC, UNREACHABLE, WRONG, Cli, Reply, http_server, refused

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def closed_port() -> str:
    """An address on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, closed_port: str) -> Cli:
    """The command line where no cluster is, in a folder of files that are no good."""
    home = tmp_path_factory.mktemp("alone")
    (home / "catalog.jsonl").write_text('{"id": "1", "title": "mug"}\n')
    (home / "folder").mkdir()
    queries, qrels = home / "queries.tsv", home / "qrels.txt"
    queries.write_text("qid\tmode\tlang\ttext\timage\ttags\nq1\ttext\ten\tmug\t\t\n")
    qrels.write_text("q1 0 1 1\n")
    (home / "other-qrels.txt").write_text("q2 0 1 1\n")
    (home / "broken-qrels.txt").write_text("q1 0 1\n")
    (home / "no-header.tsv").write_text("q1\ttext\n")
    (home / "mode.tsv").write_text("qid\tmode\tlang\ttext\timage\ttags\nq1\tsmell\ten\tmug\t\t\n")
    (home / "latin.tsv").write_bytes(queries.read_bytes() + b"caf\xe9")
    for name, configs in (
        ("list", []),
        ("knob", {"a": {"weight": {}}}),
        ("weights", {"a": {"weights": [1]}}),
        ("leg", {"a": {"weights": {"imag": 1}}}),
        ("window", {"a": {"window": "many"}}),
        ("fusion", {"a": {"fusion": "borda"}}),
    ):
        (home / f"{name}.json").write_text(json.dumps(configs))
    return Cli(home=home, variables={"ES_XMODAL_URL": closed_port})


def evaluation(queries: str = "queries.tsv", qrels: str = "qrels.txt") -> list[str]:
    return ["evaluate", "--queries", queries, "--qrels", qrels]


# Each is refused before a cluster is asked; `--url` in front of it would only hide that.
WITHOUT_A_CLUSTER = {
    "unknown command": (["serch", "mug"], "Did you mean search?"),
    "unknown option": (["search", "mug", "--sise", "3"], "--sise"),
    "unknown index command": (["index", "swp"], "swp"),
    "no catalogue given": (["ingest"], "'CATALOG'"),
    "empty query": (["search"], "the query is empty (give words, a picture, or both)"),
    "query of blanks": (["search", " \t "], "the query is empty"),
    "query of controls": (["search", "\x01\x1b"], "the query is empty"),
    "empty plan": (["plan", ""], "the query is empty"),
    "size no number": (["search", "mug", "--size", "many"], "'many' is not a valid integer"),
    "size 0": (["search", "mug", "--size", "0"], "size: must be 1 to"),
    "window 0": (["search", "mug", "--window", "0"], "window: must be 10 to 1000"),
    "weight no pair": (["search", "mug", "--weight", "image"], "'image' is not a weight (write LEG=W"),
    "weight no number": (["search", "mug", "--weight", "image=lots"], "'image=lots' is not a weight"),
    "weight NaN": (["search", "mug", "--weight", "image=nan"], "weights.image: a weight is a number"),
    "weight negative": (["search", "mug", "--weight", "image=-1"], "weights.image: a weight is"),
    "weight of no leg": (["search", "mug", "--weight", "imag=1"], "text, image, visual, fused, ocr)"),
    "filter no pair": (["search", "mug", "--filter", "brand"], "'brand' is not a filter (write FIELD=VALUE)"),
    "filter no value": (["search", "mug", "--filter", "brand="], "filters.brand: a value is missing"),
    "filter range": (["search", "mug", "--filter", "price=9..1"], "the range 9..1 is upside down"),
    "filter no number": (["search", "mug", "--filter", "price>cheap"], "filters.price: 'cheap' is not a"),
    "fusion": (["search", "mug", "--fusion", "borda"], "'borda' is not one of"),
    "url is no address": (["search", "mug", "--url", "elastic"], "write it as http://HOST:PORT or https://"),
    "url without host": (["search", "mug", "--url", "http://"], "url: http: is not an address (write it as"),
    "url's port": (["search", "mug", "--url", "http://127.0.0.1:99999"], "is not an address: Port out of"),
    "index pattern": (["search", "mug", "--index", "a*"], "index: 'a*' cannot name an index"),
    "index upper case": (["search", "mug", "--index", "Mugs"], "'Mugs' cannot name an index"),
    "two standard inputs": (["search", "--image", "-", "--image", "-"], "standard input is given twice"),
    "empty standard input": (["search", "--image", "-"], "standard input is empty"),
    "map no pair": (["ingest", "catalog.jsonl", "--map", "title"], "--map 'title' is no pair (write --map"),
    "images root": (["ingest", "catalog.jsonl", "--images-root", "nowhere"], "'nowhere' does not exist"),
    "shards": (["ingest", "catalog.jsonl", "--shards", "0"], "'--shards'"),
    "queries missing": (evaluation("no.tsv", "qrels.txt"), "no.tsv: cannot be read"),
    "queries not UTF-8": (evaluation("latin.tsv", "qrels.txt"), "latin.tsv: cannot"),
    "queries header": (evaluation("no-header.tsv", "qrels.txt"), "the header lacks"),
    "queries mode": (evaluation("mode.tsv", "qrels.txt"), "mode.tsv, line 2: a query"),
    "qrels broken": (evaluation("queries.tsv", "broken-qrels.txt"), "line 1: not `qid"),
    "qrels of others": (evaluation("queries.tsv", "other-qrels.txt"), "judges no query"),
    "demo's folder": (["demo", "--out", "nowhere/demo.png"], "nowhere/demo.png: there is no such folder"),
    "up version": (["up", "--version", "7.17"], "there is no local Elasticsearch 7.17 (choose one of"),
    "status option": (["status", "--url", "x"], "--url"),
}


@pytest.mark.parametrize("case", WITHOUT_A_CLUSTER)
def test_refused_before_a_cluster_is_asked(alone: Cli, case: str) -> None:
    args, says = WITHOUT_A_CLUSTER[case]
    # Two of three in this process: they differ in the cause, not in the way out.
    call_it = alone.here if list(WITHOUT_A_CLUSTER).index(case) % 3 else alone.process
    refused(call_it(*args), WRONG, says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--run-out", "nowhere/run.txt"], "there is no such folder (give --run-out"),
        (["--per-query"], "--per-query goes with --json only"),
        (["--configs", "list.json"], "list.json: not an object of configurations"),
        (["--configs", "knob.json"], "knob.json: a: unknown weight (knobs: fusion, weights, window"),
        (["--configs", "weights.json"], "weights.json: a: weights is an object of numbers"),
        (["--configs", "leg.json"], "leg.json: a: weights.imag: there is no such leg (legs: "),
        (["--configs", "window.json"], "window.json: a: window is a whole number"),
        (["--configs", "fusion.json"], "fusion.json: a: fusion: 'borda' is not one of convex"),
        (["--configs", "knob.json", "--weight", "image=1"], "do not go with --configs"),
        (["--configs", "knob.json", "--fusion", "boost"], "do not go with --configs"),
        (["--configs", "qrels.txt"], "qrels.txt: cannot be read as JSON"),
        (["--by", "tag,price"], "--by: 'price' is none of mode, lang, tag"),
        (["--by", "tag", "--json"], "--by does not go with --json"),
        (["--run", "qrels.txt"], "--run 'qrels.txt' is no run (write --run NAME=FILE)"),
        (["--run", "theirs=none.txt"], "none.txt: cannot be read"),
        (["--run", "theirs=qrels.txt"], "qrels.txt, line 1: 4 columns, not 6"),
        (["--run", "default=qrels.txt"], "there is a configuration or run of that name already"),
        (["--worst", "0"], "'--worst'"),
    ],
)
def test_evaluations_that_make_no_sense(alone: Cli, options: list[str], says: str) -> None:
    refused(alone.here(*evaluation(), *options), WRONG, says)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ES_XMODAL_TIMEOUT_S", "soon", "timeout_s: "),
        ("ES_XMODAL_WINDOW", "5", "window: "),
        ("ES_XMODAL_VECTOR_INDEX", "bbq", "vector_index: "),
        ("ES_XMODAL_CONFIG", "no.toml", "ES_XMODAL_CONFIG names no.toml, which is not a file"),
        ("ES_XMODAL_CONFIG", "qrels.txt", "qrels.txt is not valid TOML"),
        ("ES_XMODAL_USERNAME", "shop", "username and password belong together"),
    ],
)
def test_settings_that_cannot_be_used(alone: Cli, variable: str, value: str, says: str) -> None:
    refused(alone.with_variables(**{variable: value}).here("search", "mug"), WRONG, says)


def test_no_address_is_known(alone: Cli) -> None:
    lost = Cli(home=alone.home)
    refused(lost.process("search", "mug"), WRONG, "no address of an Elasticsearch is known", "`es-xmodal up`")


COMMANDS = {
    "search": ["search", "mug"],
    "plan": ["plan", "mug", "--json"],
    "ingest": ["ingest", "catalog.jsonl"],
    "evaluate": evaluation(),
    "index list": ["index", "list"],
    "index check": ["index", "check", "--json"],
    "index swap": ["index", "swap", "1"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_cluster(alone: Cli, closed_port: str, command: str) -> None:
    call_it = alone.process if command in ("search", "ingest") else alone.here
    done = call_it(*COMMANDS[command], ES_XMODAL_USERNAME="shop", ES_XMODAL_PASSWORD="hunter2")
    refused(done, UNREACHABLE, f"no answer from {closed_port}", "Connection refused", "check the address")
    assert "hunter2" not in done.err


def test_credentials_in_the_address_are_not_shown(alone: Cli, closed_port: str) -> None:
    address = closed_port.replace("//", "//shop:hunter2@")
    done = alone.process("search", "mug", "--url", address)
    refused(done, UNREACHABLE, f"no answer from {closed_port}")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("command", ["search", "ingest", "index list"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<h1>It works</h1>", headers={"Content-Type": "text/html"}),
        Reply(body={"hello": "world"}, headers={"Content-Type": "application/json"}),
        Reply(status=404, body=b"not found", headers={"Content-Type": "text/plain"}),
    ],
    ids=["html", "json", "404"],
)
def test_not_an_elasticsearch(alone: Cli, reply: Reply, command: str) -> None:
    call_it = alone.process if command == "search" else alone.here
    with http_server(lambda path: reply) as url:
        done = call_it(*COMMANDS[command], "--url", url)
    refused(done, UNREACHABLE, f"{url} is not an Elasticsearch", "check the address, the port and the path")


def security(status: int, reason: str) -> Reply:
    """As Elasticsearch writes it."""
    error = {"type": "security_exception", "reason": reason}
    body = {"error": {"root_cause": [error], **error}, "status": status}
    return Reply(status, body, {**ELASTIC, "WWW-Authenticate": 'Basic realm="security", charset="UTF-8"'})


MISSING = security(401, "missing authentication credentials for REST request [/]")
FORBIDDEN = security(
    403,
    "action [indices:admin/get] is unauthorized for user [shop] with effective roles [reader] on indices"
    " [products], this action is granted by the index privileges [view_index_metadata,manage,all]",
)


@pytest.mark.parametrize("command", ["search", "plan", "ingest", "evaluate", "index list"])
def test_wrong_credentials(alone: Cli, command: str) -> None:
    call_it = alone.process if command in ("search", "ingest") else alone.here
    with http_server(lambda path: MISSING) as url:
        done = call_it(*COMMANDS[command], "--url", url, ES_XMODAL_API_KEY="hunter2")
    refused(done, UNREACHABLE, f"{url} does not accept these credentials (401)", "ES_XMODAL_API_KEY")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("command", ["search", "ingest", "index list"])
def test_credentials_that_may_not(alone: Cli, command: str) -> None:
    with http_server(lambda path: FORBIDDEN) as url:
        done = alone.process(*COMMANDS[command], "--url", url)
    refused(
        done,
        UNREACHABLE,
        f"{url} knows these credentials, and they may not do this (403)",
        "privilege on products is one of: view_index_metadata, manage, all",
    )
