"""The command `es-xmodal`: finds the command that was asked for, and turns errors into one line."""

from __future__ import annotations

import difflib
import importlib
import io
import logging
import sys
from collections.abc import Sequence

import click

from es_xmodal._version import __version__
from es_xmodal.errors import XModalError

# Command -> where it lives and one line about it. Written here, so that `--help` imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("es_xmodal.cli.node:up", "Start a real local Elasticsearch, for trying and testing."),
    "down": ("es_xmodal.cli.node:down", "Stop the local Elasticsearch that `up` started."),
    "status": ("es_xmodal.cli.node:status", "Say what the local Elasticsearch is doing."),
    "ingest": ("es_xmodal.cli.ingest:ingest", "Turn a catalogue into an index."),
    "enrich": ("es_xmodal.cli.enrich:enrich", "Add pictures and vectors to an index that the shop has."),
    "search": ("es_xmodal.cli.search:search", "Search by words, by picture, or by both."),
    "plan": ("es_xmodal.cli.search:plan", "Print the requests of a search, to paste into Kibana."),
    "evaluate": ("es_xmodal.cli.evaluate:evaluate", "Measure the ranking on queries with judgements."),
    "adapt": ("es_xmodal.cli.adapt:adapt", "Learn from the shop's own titles and pictures."),
    "profile": (
        "es_xmodal.cli.profile:profile",
        "Show the boosts and weights of the ranking, as a file to edit.",
    ),
    "encoders": ("es_xmodal.cli.encoders:encoders", "List the encoders, or say what one of them is."),
    "encode": ("es_xmodal.cli.encode:encode", "Print the vectors of texts and pictures."),
    "export": ("es_xmodal.cli.export:export", "Write an encoder as ONNX, to run without torch."),
    "index": ("es_xmodal.cli.index:index", "List, check, rebuild, compare, swap and roll back indices."),
    "store": ("es_xmodal.cli.store:store", "Look after the stored vectors: size, what may go, checksums."),
    "doctor": ("es_xmodal.cli.doctor:doctor", "Say what the cluster can do and what is wrong with an index."),
    "bench": ("es_xmodal.cli.bench:bench", "Measure kinds of vector index on the shop's own vectors."),
    "serve": ("es_xmodal.cli.serve:serve", "Search over HTTP, for shops in any language."),
    "kibana": ("es_xmodal.cli.kibana:kibana", "Look at an index and its ingests in Kibana."),
    "demo": ("es_xmodal.cli.demo:demo", "Start, ingest the sample catalogue, show three searches."),
}


# A group called without a command shows its help; before click 8.2 without an exception.
_HELP: tuple[type[click.ClickException], ...] = tuple(
    kind for kind in (getattr(click.exceptions, "NoArgsIsHelpError", None),) if kind
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and name the nearest command."""
        near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args else []
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="es-xmodal")
@click.option("--verbose", "-v", is_flag=True, help="Log what is done to standard error.")
def root(verbose: bool) -> None:
    """Search by words, by photo, or by both, in the Elasticsearch a shop already runs.

    Exit codes: 0 done, 1 done with rejects or misses, 2 wrong call or bad input, 3 the cluster could not be
    reached or refused.
    """
    if verbose:
        logging.getLogger(_TRANSPORT).setLevel(logging.NOTSET)
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
        )


_TRANSPORT = "elastic_transport"


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(root, args))


def run(command: click.Command, args: Sequence[str] | None = None, *, name: str = "es-xmodal") -> int:
    """Run one command; every expected error becomes one line on standard error.

    Args:
        command: the command or group.
        args: its arguments; None: those of the process.
        name: how the program calls itself.

    Returns:
        The exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A title in Chinese on a terminal that has no Chinese is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    # It says at each attempt that a node has failed; ours says once that something takes long, and why.
    logging.getLogger(_TRANSPORT).setLevel(logging.ERROR)
    try:
        code = command.main(
            args=list(args) if args is not None else None, prog_name=name, standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except XModalError as error:
        click.echo(f"{name}: {_printable(str(error))}", err=True)
        return error.exit_code
    except _HELP as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"{name}: {_printable(_one_line(error))}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted", err=True)
        return 130
    except SystemExit:
        # The reader of the output has gone, as with `| head`: so click and rich leave, and it is no fault.
        return 0


def _one_line(error: click.ClickException) -> str:
    """What click would say in four lines, and where to read more."""
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return f"{message} (see `{context.command_path} --help`)" if context else message


def _printable(text: str) -> str:
    """Without control characters: a message may quote what stood in a catalogue."""
    return "".join(
        letter if letter.isprintable() or letter == " " else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
