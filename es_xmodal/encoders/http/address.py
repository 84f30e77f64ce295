"""Where an embedding service is, read from a SPEC that is stored in indices and printed in messages."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from es_xmodal.errors import EncoderSpecError
from es_xmodal.vectors import MAX_DIM

_HINT: Final = "write http:URL, as in http:http://127.0.0.1:8080 or http:https://HOST/v1#model=NAME"
_KNOWN: Final = ("model", "dimensions", "side", "fingerprint")
_MAX_SIDE: Final = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """An embedding service.

    Args:
        url: without the part behind `#`, and without a slash at the end.
        model: name of the model where the service speaks OpenAI's protocol; empty for our own.
        dimensions: asked of an OpenAI service; None: what the model gives by itself.
        side: pixels a side that an OpenAI service's picture tower sees.
        fingerprint: stands in for the probe of an OpenAI service; empty: probe.
    """

    url: str
    model: str = ""
    dimensions: int | None = None
    side: int = 224
    fingerprint: str = ""

    @property
    def spec(self) -> str:
        """The SPEC that loads it again."""
        parts = [("model", self.model), ("dimensions", self.dimensions), ("fingerprint", self.fingerprint)]
        parts += [("side", self.side)] if self.side != 224 else []
        options = "&".join(f"{name}={value}" for name, value in parts if value)
        return f"http:{self.url}#{options}" if options else f"http:{self.url}"

    @property
    def loopback(self) -> bool:
        """Whether the service runs on this machine; no proxy stands before it."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def parse_address(argument: str) -> Address:
    """Read what stands behind `http:`.

    Args:
        argument: `URL`, or `URL#model=NAME` with `&dimensions=N`, `&side=PIXELS`, `&fingerprint=NAME`.

    Raises:
        EncoderSpecError: it is no address, or holds something that must not be stored.
    """
    # `http://HOST` names this kind and an address at once.
    text = f"http:{argument}" if argument.startswith("//") else argument.strip()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise EncoderSpecError(f"encoder http:{_shown(text)}: {error}", hint=_HINT) from None
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise EncoderSpecError(f"encoder http:{_shown(text)} has no address of a service", hint=_HINT)
    if parts.username is not None or parts.password is not None or parts.query:
        raise EncoderSpecError(
            f"encoder http:{parts.scheme}://{host}: user, password and ?query do not stand in a SPEC, which"
            " every index keeps",
            hint="put the key into ES_XMODAL_ENCODER_API_KEY",
        )
    options = _options(parts.fragment, f"http:{parts.scheme}://{host}")
    return Address(
        url=f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"),
        model=options.get("model", ""),
        dimensions=_number(options, "dimensions", MAX_DIM),
        side=_number(options, "side", _MAX_SIDE) or 224,
        fingerprint=options.get("fingerprint", ""),
    )


def _options(fragment: str, shown: str) -> dict[str, str]:
    options = dict(parse_qsl(fragment, keep_blank_values=True))
    wrong = sorted(set(options) - set(_KNOWN)) or [name for name, value in options.items() if not value]
    if wrong or (fragment and not options):
        what = wrong[0] if wrong else fragment
        raise EncoderSpecError(
            f"encoder {shown}: {what!r} behind # says nothing",
            hint=f"known: {', '.join(_KNOWN)}, as model=NAME",
        )
    if options and "model" not in options:
        raise EncoderSpecError(
            f"encoder {shown}: {next(iter(options))} belongs to a model", hint="write #model=NAME first"
        )
    return options


def _number(options: dict[str, str], name: str, most: int) -> int | None:
    if name not in options:
        return None
    text = options[name]
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise EncoderSpecError(f"encoder http: {name}={_shown(text)} is no number from 1 to {most}")
    return int(text)


def _shown(text: str) -> str:
    """Short, and without what may be a password."""
    head, sign, tail = text.rpartition("@")
    return repr((f"...@{tail}" if sign and head else text)[:120])
