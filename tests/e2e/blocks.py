"""Code blocks of a Markdown page, and what a comment above each says of its test.

    <!-- test -->                                             the block ends with 0
    <!-- test: out="leather-sofa" out="ranked" -->            and standard output has these texts
    <!-- test: exit=1 err="did not make it" file=demo.png --> exit code, standard error, a non-empty file
    <!-- no test: needs a fresh machine -->                   it is not run; the reason is required

Only blank lines may stand between the comment and the block.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_COMMENT = re.compile(r"<!--\s*(?P<kind>test|no test)(?::\s*(?P<rest>.*?))?\s*-->")
_FENCE = re.compile(r"(?P<indent> *)(?P<mark>```+)(?P<language>\S*).*")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What running a block must come to."""

    code: int = 0
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        where: page and line of the fence.
        language: what stands behind the fence.
        expected: None where the block is not run.
        excuse: why it is not run; empty where nothing is said.
    """

    where: str
    language: str
    text: str
    expected: Expected | None = None
    excuse: str = ""
    marked: bool = field(default=False)


def read_blocks(path: Path) -> list[Block]:
    """All blocks of a page, marked or not."""
    return list(_blocks(path.name, path.read_text(encoding="utf-8").split("\n")))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    marker: re.Match[str] | None = None
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        if fence := _FENCE.fullmatch(line):
            where = f"{page}:{number}"
            text = "\n".join(_inside(numbered, fence, where))
            yield _block(where, fence["language"], text, marker)
            marker = None
        elif line.strip():
            marker = _COMMENT.fullmatch(line.strip())


def _inside(lines: Iterator[tuple[int, str]], fence: re.Match[str], where: str) -> Iterator[str]:
    indent = len(fence["indent"])
    for _, line in lines:
        if line.strip() == fence["mark"]:
            return
        yield line[indent:] if line[:indent].isspace() else line
    raise ValueError(f"{where}: the block has no end")


def _block(where: str, language: str, text: str, marker: re.Match[str] | None) -> Block:
    if marker is None:
        return Block(where=where, language=language, text=text)
    rest = marker["rest"] or ""
    if marker["kind"] == "no test":
        if not rest:
            raise ValueError(f"{where}: say why there is no test")
        return Block(where=where, language=language, text=text, excuse=rest, marked=True)
    return Block(where=where, language=language, text=text, expected=_expected(where, rest), marked=True)


def _expected(where: str, rest: str) -> Expected:
    found: dict[str, list[str]] = {"exit": [], "out": [], "err": [], "file": []}
    for part in shlex.split(rest):
        name, sign, value = part.partition("=")
        if name not in found or not sign or not value:
            raise ValueError(f"{where}: {part!r} is none of {', '.join(f'{key}=…' for key in found)}")
        found[name].append(value)
    return Expected(
        code=int((found["exit"] or ["0"])[-1]),
        out=tuple(found["out"]),
        err=tuple(found["err"]),
        files=tuple(found["file"]),
    )
