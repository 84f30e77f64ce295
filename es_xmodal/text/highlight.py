"""Marks on the original text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape as html_escape


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans in order, with those that overlap or touch made one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def mark_spans(text: str, spans: Iterable[tuple[int, int]], *, pre: str, post: str, escape: bool) -> str:
    """Return `text` with `pre` and `post` around the spans, its own characters unchanged or escaped."""
    show = html_escape if escape else str
    parts, last = [], 0
    for start, end in merged(spans):
        parts += [show(text[last:start]), pre, show(text[start:end]), post]
        last = end
    return "".join([*parts, show(text[last:])])
