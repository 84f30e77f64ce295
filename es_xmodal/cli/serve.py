"""`es-xmodal serve`: the service as a process."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from es_xmodal.cli.common import index_option, profile_option, settings_for, url_option
from es_xmodal.errors import MissingExtraError, SettingsError
from es_xmodal.settings import secret_file

PREFIX = "ES_XMODAL_SERVER_"


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. [default: 8000]")
@index_option
@click.option("--encoder", metavar="SPEC", help="Where the index's encoder has another SPEC here.")
@profile_option
@click.option("--cors", "cors_origins", multiple=True, metavar="ORIGIN", help="Whose pages may call.")
@click.option("--running", type=int, metavar="N", help="Requests worked on at once. [default: 8]")
@click.option("--waiting", type=int, metavar="N", help="Requests that wait for a place. [default: 64]")
@click.option("--rate", "rate_per_s", type=float, metavar="R", help="Requests a second of one caller.")
@click.option("--images-root", metavar="DIR", help="Where the products' pictures lie, to show them.")
@click.option("--log-queries", is_flag=True, default=None, help="Write the words of queries to the log.")
@click.option("--quiet", is_flag=True, help="No line for each request; what goes wrong is still said.")
@click.option("--open", "shown", is_flag=True, help="Open the page in a browser, where there is a display.")
@url_option
def serve(
    *,
    index: str,
    encoder: str | None,
    profile: Path | None,
    url: str | None,
    quiet: bool,
    shown: bool,
    **asked: Any,
) -> int:
    """Search over HTTP, for shops in any language; the page is at `/`.

    Keys come from ES_XMODAL_SERVER_KEYS (search:KEY,admin:KEY). Without keys it listens on loopback only.
    Every option is also a variable, ES_XMODAL_SERVER_RUNNING and so on; docs/service.md lists them.
    """
    try:
        import fastapi
        import prometheus_client
        import python_multipart
        import uvicorn
    except ImportError:
        raise MissingExtraError("the service", extra="server") from None
    del fastapi, prometheus_client, python_multipart
    options = server_options(asked, os.environ)
    from es_xmodal.server.listener import address_of, listen
    from es_xmodal.server.run import start
    from es_xmodal.server.traces import exporting

    settings = settings_for(url, profile=profile)
    _log_to_stderr(logging.WARNING if quiet else logging.INFO)
    with _told_to_end(), contextlib.closing(listen(options.host, options.port)) as listener:
        address = f"http://{address_of(listener)}"
        click.echo(f"{address} serves the index {index}", err=True)
        if shown and _has_display():
            _open_browser(f"{address}/")
        with exporting(os.environ):
            uvicorn.Server(start(options, settings, index=index, encoder=encoder)).run(sockets=[listener])
    return 0


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """SIGTERM ends the command with 0, before the service has started too.

    uvicorn finishes what runs and then raises the signal again, for whoever was there before. The first
    process of a container needs a handler at all: the kernel ignores a signal that it has none for.
    """
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _has_display() -> bool:
    """Whether a browser would be seen; without one, text browsers would take the terminal."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _open_browser(address: str) -> None:
    """In a thread, since some desktops wait for the browser; the socket listens: no request is too early."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _log_to_stderr(level: int) -> None:
    """A line for each request, also without --verbose: whoever runs a service wants to see that it works."""
    logger = logging.getLogger("es_xmodal.server")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


def server_options(asked: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """Options of the command line, then the environment, then the defaults.

    Args:
        asked: name to value; None, or an empty list, is not given.
        environment: of the process.

    Returns:
        `ServerOptions`.

    Raises:
        SettingsError: a value cannot be used; the message names the variable.
    """
    from es_xmodal.server.options import ServerOptions, parse_keys

    given: dict[str, Any] = {}
    for one in fields(ServerOptions):
        text = environment.get(f"{PREFIX}{one.name.upper()}")
        if one.name == "keys":
            given["keys"] = parse_keys(secret_file(f"{PREFIX}KEYS", environment) or text or "")
        elif text:
            given[one.name] = _read(one.name, text, one.default)
    given |= {name: value for name, value in asked.items() if value not in (None, ())}
    return ServerOptions(**given)


def _read(name: str, text: str, default: Any) -> Any:
    """A variable's text as the kind of value that the default is."""
    try:
        if isinstance(default, bool):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
                text.strip().lower()
            ]
        if isinstance(default, tuple):
            return tuple(filter(None, (part.strip() for part in text.split(","))))
        return type(default)(text)
    except (ValueError, KeyError):
        raise SettingsError(f"{PREFIX}{name.upper()}: {text!r} is no such value") from None
