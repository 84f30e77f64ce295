"""Runs in TREC's format: `qid Q0 docid rank score tag`, a line a hit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from es_xmodal.errors import UsageError

FORM = "qid Q0 docid rank score tag"


def trec_lines(run: Mapping[str, Mapping[str, float]], tag: str) -> list[str]:
    """Write a run.

    Args:
        run: qid to (product id to score), best first.
        tag: name of the run; white space in it becomes `_`.

    Returns:
        The lines.

    Raises:
        UsageError: a product id has white space in it, which the format cannot hold.
    """
    name = "_".join(tag.split())
    lines = []
    for qid, ranking in run.items():
        for rank, (product, score) in enumerate(ranking.items(), start=1):
            if len(product.split()) != 1:
                raise UsageError(f"product id {product!r} has white space in it, so a run cannot hold it")
            lines.append(f"{qid} Q0 {product} {rank} {score:g} {name}")
    return lines


def read_run(path: Path) -> dict[str, list[str]]:
    """Read a run that was made elsewhere.

    As trec_eval does, the order is that of the scores; equal scores are ordered by the rank.

    Args:
        path: the file.

    Returns:
        qid to product ids, best first.

    Raises:
        UsageError: it cannot be read, holds nothing, or a line is not in the format; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        qid, product, score, rank = _read_line(line, f"{path}, line {number}")
        ranking = found.setdefault(qid, {})
        if product in ranking:
            raise UsageError(f"{path}, line {number}: {product} is a hit of {qid} twice")
        ranking[product] = (-score, rank)
    if not found:
        raise UsageError(f"{path}: holds no hit", hint=f"a line is `{FORM}`")
    return {qid: sorted(ranking, key=ranking.__getitem__) for qid, ranking in found.items()}


def _read_line(line: str, where: str) -> tuple[str, str, float, int]:
    columns = line.split()
    if len(columns) != 6:
        raise UsageError(f"{where}: {len(columns)} columns, not 6", hint=f"a line is `{FORM}`")
    qid, _, product, rank, score, _ = columns
    try:
        numbers = float(score), int(rank)
    except ValueError:
        raise UsageError(f"{where}: rank {rank!r} or score {score!r} is not a number") from None
    if not math.isfinite(numbers[0]):
        raise UsageError(f"{where}: score {score!r} is not a finite number")
    return qid, product, *numbers
