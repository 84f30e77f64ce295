"""Requests as text for Kibana's Console, and as plain JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from es_xmodal.query.plan import Request


def console_text(alias: str, request: Request) -> str:
    """Write a request so that it runs when pasted into Kibana's Console.

    Args:
        alias: the index to ask.
        request: the request.

    Returns:
        Method, path and body; no line break at the end.
    """
    index = quote(alias, safe="")
    if request.endpoint == "_msearch":
        lines = [json.dumps(part, ensure_ascii=False) for part in msearch_lines(request)]
        return "\n".join([f"GET {index}/_msearch", *lines])
    body = json.dumps(request.bodies[0], ensure_ascii=False, indent=2)
    # Vectors on one line each: a number a line would make a page of hundreds of lines.
    return f"GET {index}/_search?{urlencode(request.params)}\n{_join_numbers(body)}"


def msearch_lines(request: Request) -> list[dict[str, Any]]:
    """Header and body in turn, as `_msearch` takes them."""
    return [part for body in request.bodies for part in (dict(request.params), body)]


def _join_numbers(text: str) -> str:
    joined: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        number = bare.rstrip(",").replace(".", "", 1).replace("-", "").replace("e", "").isdigit()
        closes = bare.startswith("]") and joined and joined[-1].rstrip()[-1:].isdigit()
        if (number or closes) and joined:
            joined[-1] += (" " if number and not joined[-1].endswith("[") else "") + bare
        else:
            joined.append(line)
    return "\n".join(joined)
