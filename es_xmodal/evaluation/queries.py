"""Queries and judgements: `queries.tsv` and TREC `qrels.txt`."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from es_xmodal.errors import UsageError

COLUMNS = ("qid", "mode", "lang", "text", "image", "tags")
MODES = {"text": "text", "image": "image", "text+image": "text+image", "composed": "text+image"}
_EXCLUDE = "exclude="
_GRADE = re.compile("-?[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedQuery:
    """One query of a test collection.

    Attributes:
        qid: its name.
        mode: `text`, `image` or `text+image`.
        lang: language of the words; empty when there are none.
        text: the words.
        image: path of the picture; None when there is none.
        tags: what kind of query it is.
        exclude: products to leave out of the ranking, such as the one that the picture shows.
    """

    qid: str
    mode: str
    lang: str
    text: str
    image: Path | None
    tags: tuple[str, ...]
    exclude: frozenset[str]


def read_queries(path: Path) -> list[JudgedQuery]:
    """Read `queries.tsv`: a header, tabs, no quoting; pictures are relative to the file.

    Args:
        path: the file.

    Returns:
        The queries, in the order of the file.

    Raises:
        UsageError: it cannot be read, lacks a column, has an unknown mode or a qid twice; names the line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(
                    f"{path}: the header lacks {', '.join(missing)}",
                    hint=f"it must be {' '.join(COLUMNS)}, with tabs",
                )
            queries = [_query(row, path, line) for line, row in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    lines: dict[str, int] = {}
    for line, query in enumerate(queries, start=2):
        if lines.setdefault(query.qid, line) != line:
            raise UsageError(f"{path}, line {line}: qid {query.qid} is that of line {lines[query.qid]} too")
    return queries


def _query(row: Mapping[str, str | None], path: Path, line: int) -> JudgedQuery:
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    if cells["mode"] not in MODES or not cells["qid"]:
        raise UsageError(
            f"{path}, line {line}: a query needs a qid and a mode", hint=f"modes: {', '.join(MODES)}"
        )
    tags = tuple(tag.strip() for tag in re.split("[;,]", cells["tags"]) if tag.strip())
    return JudgedQuery(
        qid=cells["qid"],
        mode=MODES[cells["mode"]],
        lang=cells["lang"],
        text=cells["text"],
        image=path.parent / cells["image"] if cells["image"] else None,
        tags=tuple(tag for tag in tags if not tag.startswith(_EXCLUDE)),
        exclude=frozenset(tag.removeprefix(_EXCLUDE) for tag in tags if tag.startswith(_EXCLUDE)),
    )


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read TREC judgements: `qid 0 docid grade`.

    Args:
        path: the file.

    Returns:
        qid to (product id to grade).

    Raises:
        UsageError: it cannot be read, a line has no four columns, or a pair has two grades; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    judged: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines, start=1):
        columns = line.split()
        if not columns:
            continue
        if len(columns) != 4 or not _GRADE.fullmatch(columns[3]):
            raise UsageError(f"{path}, line {number}: not `qid 0 docid grade`")
        qid, _, product, grade = columns
        if judged.setdefault(qid, {}).setdefault(product, int(grade)) != int(grade):
            raise UsageError(f"{path}, line {number}: {product} has another grade for {qid} above")
    return judged
