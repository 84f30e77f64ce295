"""The lexical leg: BM25 over the token fields, with the un-tokenised field as fall-back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from es_xmodal.query.profile import Profile

Clause = dict[str, Any]


def lexical_clause(text: str, terms: Iterable[str], profile: Profile) -> Clause:
    """Build the keyword part of a query.

    The token fields hold what the tokeniser made of a product. The un-tokenised fields are analysed by
    Elasticsearch's `standard` analyzer, which makes every Chinese character a word of its own; so a query
    that the tokeniser cut differently than the title still finds it.

    Args:
        text: the query as typed, cleaned.
        terms: what the tokeniser made of it.
        profile: boosts.

    Returns:
        A `bool` clause; it matches when any part of it does.
    """
    words = list(terms)[: profile.max_terms]
    parts: list[Clause] = []
    if words:
        parts.append(
            {
                "multi_match": {
                    "query": " ".join(words),
                    "fields": [f"{name}^{boost:g}" for name, boost in profile.field_boosts.items()],
                    "type": "best_fields",
                    "tie_breaker": profile.tie_breaker,
                }
            }
        )
    parts.append(
        {
            "multi_match": {
                "query": text[: profile.max_terms * 8],
                "fields": ["title", "titles.*"],
                "type": "best_fields",
                "minimum_should_match": "3<75%",
                "boost": profile.original_boost,
            }
        }
    )
    return {"bool": {"should": parts, "minimum_should_match": 1}}
