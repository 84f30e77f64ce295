"""The command line: every error is one line and the right exit code."""

from __future__ import annotations

import io
import sys

import click
import pytest

from es_xmodal import errors
from es_xmodal.cli.common import echo_json
from es_xmodal.cli.main import COMMANDS, LazyGroup, root, run

pytestmark = pytest.mark.unit


def failing(error: Exception) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (errors.QueryError("is empty", field="text"), 2, "es-xmodal: text: is empty"),
        (errors.ClusterUnreachableError("no answer", hint="start it"), 3, "no answer (start it)"),
        (errors.UsageError("a\x1b[31mb\nc"), 2, "a\N{REPLACEMENT CHARACTER}[31mb c"),
        (errors.MissingExtraError("Parquet", extra="parquet"), 2, "pip install 'es-xmodal[parquet]'"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors(error: Exception, code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(error), []) == code
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.strip().count("\n") == 0
    assert printed.out == ""


def test_the_code_of_a_command_is_the_exit_code() -> None:
    @click.command()
    def command() -> int:
        return 1

    assert run(command, []) == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, ["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_every_command_can_be_loaded() -> None:
    assert isinstance(root, LazyGroup)
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert command.name == name


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, ["serch"]) == 2
    assert "Did you mean search?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["search", "x", "--size", "many"], "'many' is not a valid integer. (see `es-xmodal search --help`)"),
        (["search", "x", "--fusion", "borda"], "'borda' is not one of"),
        (["search", "x", "--size", "3\x9b31m"], "is not a valid integer"),
        (["ingest"], "Missing argument 'CATALOG'"),
        (["index", "swp"], "'swp'"),
    ],
)
def test_a_wrong_call_is_one_line(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, args) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_text_that_the_terminal_cannot_show(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def command() -> None:
        print("红 mug")
        echo_json({"title": "红"})

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert run(command, []) == 0
    sys.stdout.flush()
    assert raw.getvalue().splitlines() == [b"\\u7ea2 mug", '{"title":"红"}'.encode()]


def test_every_error_of_the_tree_is_in_its_docstring() -> None:
    tree = errors.__doc__ or ""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(kind.__name__ in tree for kind in kinds)
