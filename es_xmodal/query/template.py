"""The shop's own Query DSL as the lexical leg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_xmodal.errors import QueryError

PLACEHOLDER = "{{query}}"
_FIELD = "lexical_query"


def fill_template(template: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Put the words of a query into the shop's own query.

    The template is JSON already, so the words can only become part of a string and never of its structure.

    Args:
        template: Query DSL, or a search body with a `query`; strings may hold `{{query}}`.
        text: the words.

    Returns:
        A query clause.

    Raises:
        QueryError: it is not an object with one query, or it nowhere holds `{{query}}`.
    """
    clause = template.get("query", template)
    if not isinstance(clause, Mapping) or len(clause) != 1:
        raise QueryError(
            "must be one query as an object", field=_FIELD, hint='{"match": {"title": "{{query}}"}}'
        )
    if "query" in template and len(template) > 1:
        extra = ", ".join(sorted(set(template) - {"query"}))
        raise QueryError(f"only a query can be a leg, not {extra}", field=_FIELD, hint="leave the rest out")
    filled = _fill(clause, text)
    if filled == clause:
        raise QueryError(f"it nowhere holds {PLACEHOLDER}", field=_FIELD, hint="put it where the words go")
    return dict(filled)


def _fill(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, text)
    if isinstance(value, Mapping):
        return {key: _fill(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, text) for one in value]
    return value
