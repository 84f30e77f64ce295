"""A profile reaches search, plan and evaluate, by option, variable, file and in Python, on a real cluster."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from es_xmodal import Shop
from es_xmodal.errors import QueryError
from es_xmodal.query.profile import DEFAULT_PROFILE, Profile
from tests.support.cli import WRONG, Cli, refused
from tests.support.nodes import delete_everything_named
from tests.support.shops import write_shop

pytestmark = pytest.mark.integration

MINE = """format = 1
name = "mine"
[weights.convex.short]
text = 0
image = 0
[weights.convex.image]
visual = 0
"""
QUERIES = "qid\tmode\tlang\ttext\timage\ttags\nq1\ttext\ten\tmug\t\t\n"


@pytest.fixture(scope="module")
def cli(es_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    home = tmp_path_factory.mktemp("profile")
    prefix = f"t{secrets.token_hex(5)}-"
    found = Cli(home=home, options=("--index", f"{prefix}shop"), variables={"ES_XMODAL_URL": es_url})
    write_shop(home)
    files = {"mine.toml": MINE, "wrong.toml": "format = 1\n[weights.convex.sort]\n", "queries.tsv": QUERIES}
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8")
    (home / "qrels.txt").write_text("q1 0 mug-red 1\nq1 0 mug-blue 1\n")
    assert found.here("ingest", "catalog.jsonl").code == 0
    yield found
    delete_everything_named(es_url, prefix)


def test_the_option_changes_search_and_plan(cli: Cli) -> None:
    plain = cli.json("search", "mug")
    assert plain["plan"]["class"] == "short"
    assert plain["plan"]["profile"] == DEFAULT_PROFILE.label.to_json()
    assert plain["plan"]["legs"] == ["lexical", "text", "image"]
    found = cli.json("search", "mug", "--profile", "mine.toml")
    assert found["plan"]["profile"]["name"] == "mine"
    assert found["plan"]["legs"] == ["lexical"]
    assert {hit["id"] for hit in found["hits"]} == {"mug-red", "mug-blue"}
    planned = cli.json("plan", "mug", "--profile", "mine.toml")
    assert planned["legs"] == [{"name": "lexical", "weight": 0.4}]
    assert planned["profile"] == found["plan"]["profile"]
    assert planned["class"] == "short"
    photo = cli.json("search", "--image", "images/sofa-0.png", "--profile", "mine.toml")
    assert (photo["plan"]["legs"], photo["plan"]["class"]) == (["image"], "image")


def test_the_settings_name_a_profile_and_the_option_wins(cli: Cli) -> None:
    by_variable = cli.with_variables(ES_XMODAL_PROFILE="mine.toml")
    assert by_variable.json("search", "mug")["plan"]["profile"]["name"] == "mine"
    (cli.home / "all.toml").write_text(replace(cli, options=()).here("profile", "show").out)
    shown = by_variable.json("search", "mug", "--profile", "all.toml")["plan"]
    assert shown["profile"] == DEFAULT_PROFILE.label.to_json()


def test_a_page_of_another_profile_is_refused(cli: Cli) -> None:
    cursor = cli.json("search", "mug", "--size", "1")["cursor"]
    assert cli.json("search", "mug", "--size", "1", "--cursor", cursor)["hits"][0]["rank"] == 2
    done = cli.here("search", "mug", "--size", "1", "--cursor", cursor, "--profile", "mine.toml")
    refused(done, WRONG, "cursor: it belongs to another query, index or profile")


@pytest.mark.parametrize("command", [["search", "mug"], ["plan", "mug"]])
def test_a_wrong_profile_is_one_line(cli: Cli, command: list[str]) -> None:
    done = cli.here(*command, "--profile", "wrong.toml")
    refused(done, WRONG, "profile wrong.toml: weights.convex.sort: there is no such key (the nearest is weig")
    refused(cli.here(*command, "--profile", "none.toml"), WRONG, "profile none.toml: cannot be read")


def test_evaluate_with_a_profile_for_each_configuration(cli: Cli) -> None:
    (cli.home / "sub").mkdir(exist_ok=True)
    (cli.home / "sub" / "mine.toml").write_text(MINE)
    configs = {
        "default": {},
        "mine": {"profile": "mine.toml"},
        "both": {"profile": "mine.toml", "window": 10},
    }
    (cli.home / "sub" / "configs.json").write_text(json.dumps(configs))
    call = ["evaluate", "--queries", "queries.tsv", "--qrels", "qrels.txt"]
    outs = ["--configs", "sub/configs.json", "--run-out", "run.txt"]
    assert set(cli.json(*call, *outs)) == {"default", "mine", "both"}
    files = ["run.txt", *(f"run-{name}.txt" for name in list(configs)[1:])]
    found = [len((cli.home / name).read_text().splitlines()) for name in files]
    assert found == [6, 2, 2], "the profile's words alone find two products"
    cli.json(*call, "--run-out", "run.txt", "--profile", "mine.toml")
    assert len((cli.home / "run.txt").read_text().splitlines()) == 2
    (cli.home / "sub" / "configs.json").write_text(json.dumps({"a": {"profile": 1}}))
    refused(cli.here(*call, "--configs", "sub/configs.json"), WRONG, "a: profile is the path of a profile")
    (cli.home / "sub" / "configs.json").write_text(json.dumps({"a": {"profile": "../wrong.toml"}}))
    refused(cli.here(*call, "--configs", "sub/configs.json"), WRONG, "wrong.toml: weights.convex.sort: there")


def test_in_python(cli: Cli, es_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index, path = cli.options[1], cli.home / "mine.toml"
    mine = Profile(name="python", convex={**DEFAULT_PROFILE.convex, "short": {"text": 0, "image": 0}})
    for given, name in ((path, "mine"), (str(path), "mine"), (mine, "python")):
        with Shop(es_url, index=index, profile=given) as shop:
            result = shop.search("mug")
            assert (result.profile.name, result.legs) == (name, ("lexical",))
            assert shop.profile.name == name
    with Shop(es_url, index=index) as shop:
        assert shop.search("mug").profile == DEFAULT_PROFILE.label
        first = shop.search("mug", size=1, profile=mine)
        assert first.legs == ("lexical",)
        assert shop.search("mug", size=1, profile=mine, cursor=first.cursor).hits[0].rank == 2
        assert [leg.name for leg in shop.plan("mug", profile=mine).plan.legs] == ["lexical"]
        with pytest.raises(QueryError, match="profile"):
            shop.search("mug", size=1, cursor=first.cursor)
    monkeypatch.setenv("ES_XMODAL_PROFILE", str(path))
    with Shop(es_url, index=index) as shop:
        assert shop.profile.name == "mine"


def test_a_folder_is_no_profile(tmp_path: Path) -> None:
    refused(Cli(home=tmp_path).here("profile", "show", "--profile", "."), WRONG, "directory")
