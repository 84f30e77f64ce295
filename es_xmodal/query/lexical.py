"""The lexical leg: BM25 over the token fields and, always beside them, over the un-tokenised text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from es_xmodal.query.fields import OUR_OWN, Fields
from es_xmodal.query.profile import Profile

Clause = dict[str, Any]
_CHARS_A_TERM = 8
_MIN_TYPO_CHARS = 4


def lexical_clause(
    text: str,
    terms: Iterable[str],
    profile: Profile,
    *,
    missing: Collection[str] = (),
    names: Fields = OUR_OWN,
) -> Clause:
    """Build the keyword part of a query.

    The token fields hold what the tokeniser made of a product. The un-tokenised fields are analysed by
    Elasticsearch's `standard` analyzer, which makes every Chinese character a word of its own: what a title
    has inside one word, a query may name alone. Both together rank better than either (docs/text.md), so
    the second is part of every query and not a rescue for empty results.

    Args:
        text: the query as typed, cleaned.
        terms: what the tokeniser made of it.
        profile: boosts.
        missing: fields that the index lacks.
        names: what the index calls its fields.

    Returns:
        A `bool` clause; it matches when any part of it does.
    """
    words = list(terms)[: profile.max_terms]
    original = text[: profile.max_terms * _CHARS_A_TERM]
    boosts = _there(profile.field_boosts, missing, names)
    parts = [_match(" ".join(words), boosts)] if words else []
    originals = _there(profile.original_boosts, missing, names)
    parts += [_match(original, originals)] if originals else []
    typed = [word for word in words if _may_be_mistyped(word)]
    if typed and profile.typo_boost > 0:
        parts.append(_fuzzy(" ".join(typed), boosts, profile.typo_boost))
    return {"bool": {"should": parts, "minimum_should_match": 1}} if parts else {"match_none": {}}


def strict_clause(
    terms: Iterable[str], profile: Profile, *, missing: Collection[str] = (), names: Fields = OUR_OWN
) -> Clause | None:
    """Build what a product must match to be relevant by its words: most of them, as the tokeniser cut them.

    Args:
        terms: what the tokeniser made of the query.
        profile: field names and the share of the words.
        missing: fields that the index lacks.
        names: what the index calls its fields.

    Returns:
        A clause; None where the query has no words.
    """
    words = list(terms)[: profile.max_terms]
    if not words:
        return None
    return {
        "multi_match": {
            "query": " ".join(words),
            "fields": [
                name for name, boost in _there(profile.field_boosts, missing, names).items() if boost > 0
            ],
            "type": "cross_fields",
            "minimum_should_match": profile.relevant_words,
        }
    }


def _there(boosts: Mapping[str, float], missing: Collection[str], names: Fields) -> dict[str, float]:
    return {names.at(name): boost for name, boost in boosts.items() if name not in missing}


def _may_be_mistyped(word: str) -> bool:
    return len(word) >= _MIN_TYPO_CHARS and word.isascii() and word.isalpha()


def _fuzzy(query: str, boosts: Mapping[str, float], boost: float) -> Clause:
    """Latin words within one or two edits; the first letter must be right."""
    return {
        "multi_match": {
            "query": query,
            "fields": _boosted(boosts),
            "type": "best_fields",
            "fuzziness": f"AUTO:{_MIN_TYPO_CHARS},8",
            "prefix_length": 1,
            "max_expansions": 20,
            "boost": boost,
        }
    }


def _match(query: str, boosts: Mapping[str, float]) -> Clause:
    return {"multi_match": {"query": query, "fields": _boosted(boosts), "type": "most_fields"}}


def _boosted(boosts: Mapping[str, float]) -> list[str]:
    return [f"{name}^{boost:g}" for name, boost in boosts.items() if boost > 0]
