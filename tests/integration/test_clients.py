"""The clients of examples/clients: each against a real service, a busy one, a broken one, and none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import REPOSITORY, SAMPLE, Cli, Ran, Reply, http_server
from tests.support.nodes import require
from tests.support.served import serving

pytestmark = pytest.mark.integration

FOLDER = REPOSITORY / "examples" / "clients"
COMMANDS = {
    "search.sh": ["sh"],
    "search.py": [sys.executable],
    "search.mjs": ["node"],
    "search.php": ["php"],
    "Search.java": ["java"],
}
NOT_EVERYWHERE = {"search.php": "php"}
"""Runtimes that a machine of this project may lack, in CI too: their clients run where they are."""
KEY = "search-key-0123456789"
PHOTO = SAMPLE / "photos" / "yellow-chair.jpg"
BUSY_BODY = {"status": 503, "detail": "busy", "request_id": "r1"}
BUSY = Reply(status=503, body=BUSY_BODY, headers={"Retry-After": "1"})
ODD = '"leather" \\ sofa\n& @couch 沙发'
"""Words with everything in them that somebody might forget to escape."""
HIT = {"rank": 1, "id": "a", "source": {"title": 'Größe "L" \\ 红'}}


class Client:
    """One client, ready to be called."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        program = COMMANDS[name][0]
        if name in NOT_EVERYWHERE and shutil.which(program) is None:
            pytest.skip(f"{name} was not run: there is no {program} on this machine")
        require(
            shutil.which(program) is not None, f"{name} was not run: there is no {program} on this machine"
        )
        require(
            name != "search.sh" or shutil.which("jq") is not None, "search.sh was not run: there is no jq"
        )
        self.command = [*COMMANDS[name], str(FOLDER / name)]
        if name == "Search.java" and shutil.which("javac"):  # once, instead of at each start
            built = ["javac", "-Xlint:all", "-Werror", "-d", str(folder), str(FOLDER / name)]
            done = subprocess.run(built, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            self.command = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(folder), "Search"]

    def __call__(self, url: str, *args: str | Path, key: str = KEY) -> Ran:
        variables = {
            **os.environ,
            "SHOP_SEARCH_URL": url,
            "SHOP_SEARCH_KEY": key,
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            [*self.command, *map(str, args)], env=variables, capture_output=True, check=False
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module", params=COMMANDS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(request.param, tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def service(sample_cli: Cli) -> Iterator[str]:
    with serving(sample_cli, ES_XMODAL_SERVER_KEYS=f"search:{KEY}") as served:
        yield served.url


@pytest.fixture(scope="module")
def expected(sample_cli: Cli) -> dict[str, list[str]]:
    """What the command line finds, in the clients' form."""
    asked = {
        "words": ["leather couch"],
        "photo": ["--image", str(PHOTO)],
        "both": ["椅子", "--image", str(PHOTO)],
        "odd": [ODD],
        "odd and photo": [ODD, "--image", str(PHOTO)],
    }
    hits = {name: sample_cli.json("search", *args, "--size", "5")["hits"] for name, args in asked.items()}
    return {
        name: [f"{hit['rank']}. {hit['id']}  {hit['source']['title']}" for hit in found]
        for name, found in hits.items()
    }


def test_words_photo_and_both(client: Client, service: str, expected: dict[str, list[str]]) -> None:
    assert expected["words"][0].startswith("1. leather-sofa  ")
    assert expected["photo"][0].startswith("1. chair-yellow  ")
    asked: dict[str, list[str | Path]] = {
        "words": ["leather couch"],
        "photo": ["", PHOTO],
        "both": ["椅子", PHOTO],
        "odd": [ODD],
        "odd and photo": [ODD, PHOTO],
    }
    for name, args in asked.items():
        done = client(service, *args)
        assert (done.code, done.err) == (0, ""), done
        assert done.out.splitlines() == expected[name]


def complaint(client: Client, done: Ran, code: int) -> str:
    """One line on standard error, with nothing on the other stream."""
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done
    assert done.err.startswith(f"{client.name}: ")
    return done.err[len(client.name) + 2 : -1]


def test_what_is_wrong_is_one_line(client: Client, service: str, tmp_path: Path) -> None:
    (tmp_path / "no picture;type=x.jpg").write_text("words")
    said = complaint(client, client(service, "", tmp_path / "no picture;type=x.jpg"), 1)
    assert re.fullmatch(r"422 .*picture.* \(request \w+\)", said)
    assert re.fullmatch(
        r"401 this needs an API key \(request \w+\)", complaint(client, client(service, "x", key="no"), 1)
    )


def test_a_busy_service_is_asked_again(client: Client) -> None:
    asked: list[str] = []

    def answer(path: str) -> Reply:
        asked.append(path)
        return BUSY if len(asked) == 1 else Reply(body={"hits": [HIT]})

    with http_server(answer) as url:
        done = client(url, "chair")
    assert (done.code, done.out) == (0, '1. a  Größe "L" \\ 红\n'), done
    assert len(asked) == 2


def test_a_service_that_stays_busy_is_left_alone(client: Client) -> None:
    asked: list[str] = []

    def answer(path: str) -> Reply:
        asked.append(path)
        return BUSY

    with http_server(answer) as url:
        assert complaint(client, client(url, "chair"), 3) == "503 busy (request r1)"
        assert len(asked) == 3


def test_a_photo_that_is_not_there(client: Client, tmp_path: Path) -> None:
    done = client("http://127.0.0.1:9", "", tmp_path / "none.jpg")
    assert "none.jpg" in complaint(client, done, 1)


def test_what_is_no_answer(client: Client) -> None:
    with http_server(lambda path: Reply(status=502, body=b"<html>bad gateway</html>")) as url:
        assert complaint(client, client(url, "chair"), 3) == "502, and no problem document"
    assert complaint(client, client("http://127.0.0.1:9", "chair"), 3) == "no answer from http://127.0.0.1:9"


def test_every_client_is_called_here_and_told_of() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.name.lower().startswith("search.")}
    assert files == set(COMMANDS)
    page = (REPOSITORY / "docs" / "clients.md").read_text(encoding="utf-8")
    for name in files:
        assert f"examples/clients/{name}" in page
