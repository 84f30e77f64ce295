"""The lexical leg: BM25 over the token fields and, always beside them, over the un-tokenised text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from es_xmodal.query.profile import Profile

Clause = dict[str, Any]
_CHARS_A_TERM = 8


def lexical_clause(text: str, terms: Iterable[str], profile: Profile) -> Clause:
    """Build the keyword part of a query.

    The token fields hold what the tokeniser made of a product. The un-tokenised fields are analysed by
    Elasticsearch's `standard` analyzer, which makes every Chinese character a word of its own: what a title
    has inside one word, a query may name alone. Both together rank better than either (docs/text.md), so
    the second is part of every query and not a rescue for empty results.

    Args:
        text: the query as typed, cleaned.
        terms: what the tokeniser made of it.
        profile: boosts.

    Returns:
        A `bool` clause; it matches when any part of it does.
    """
    words = list(terms)[: profile.max_terms]
    original = text[: profile.max_terms * _CHARS_A_TERM]
    parts = [_match(" ".join(words), profile.field_boosts)] if words else []
    parts.append(_match(original, profile.original_boosts))
    return {"bool": {"should": parts, "minimum_should_match": 1}}


def _match(query: str, boosts: Mapping[str, float]) -> Clause:
    fields = [f"{name}^{boost:g}" for name, boost in boosts.items()]
    return {"multi_match": {"query": query, "fields": fields, "type": "most_fields"}}
