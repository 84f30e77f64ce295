"""Why a hit stands where it stands: the ledger, the words, the picture and the filters, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from es_xmodal.query.filters import ATTRIBUTES, IDENTIFIERS, Filter
from es_xmodal.query.fusion import LegScore
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.options import Token
from es_xmodal.text.scripts import char_classes

if TYPE_CHECKING:
    from es_xmodal.search.result import Hit

_WORD_FIELDS = ("title", "description", "brand", "category", "attributes", "identifiers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """One hit, explained.

    Attributes:
        legs: leg name to its part of the score; the contributions add up to `score`.
        ranks: leg name to the product's place among what that leg found by itself; None when the leg did
            not find it and its score was filled in.
        score: the hit's score.
        matched: field to the words that were asked for.
        best_image: the picture that fits best.
        filters: field of each filter that the hit meets, to the product's value.
    """

    legs: Mapping[str, LegScore]
    ranks: Mapping[str, int | None]
    score: float
    matched: Mapping[str, tuple[str, ...]]
    best_image: str | None
    filters: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        legs = {
            name: {
                "rank": self.ranks[name],
                "raw": leg.raw,
                "normalised": leg.normalised,
                "weight": leg.weight,
                "contribution": leg.contribution,
            }
            for name, leg in self.legs.items()
        }
        return {
            "score": self.score,
            "legs": legs,
            "matched": {name: list(words) for name, words in self.matched.items()},
            "best_image": self.best_image,
            "filters": dict(self.filters),
        }


def explain(hit: Hit, filters: Iterable[Filter] = ()) -> Explanation:
    """Explain one hit.

    Args:
        hit: of any search.
        filters: those of the query.

    Returns:
        The explanation.
    """
    return Explanation(
        legs=hit.ledger.legs,
        ranks={name: hit.leg_ranks.get(name) for name in hit.ledger.legs},
        score=hit.score,
        matched=hit.matched,
        best_image=hit.best_image,
        filters={one.field: _value(one.field, hit.source) for one in filters},
    )


def _value(field: str, source: Mapping[str, Any]) -> Any:
    if field.startswith(ATTRIBUTES):
        return source.get("attributes", {}).get(field[len(ATTRIBUTES) :])
    name = field.removeprefix("identifiers.")
    return source.get("identifiers", {}).get(name) if name in IDENTIFIERS else source.get(name)


def matched_words(
    analyzer: Analyzer, terms: frozenset[str], source: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """The words of a product that a query asked for.

    Where no word as a whole fits, single Chinese characters may: the un-tokenised fields are searched too.

    Args:
        analyzer: the index's tokeniser.
        terms: the query's normalised words.
        source: the product as a catalogue row.

    Returns:
        Field to its words, as the shop wrote them, each once; fields without one are absent.
    """
    texts = {name: text for name in source if (text := _text(name, source[name]))}
    found = {}
    for name, text in texts.items():
        words = [text[start:end] for start, end in _outermost(analyzer.tokens(text), terms)]
        if words:
            found[name] = tuple(dict.fromkeys(words))
    if found:
        return found
    letters = [letter for letter in dict.fromkeys("".join(sorted(terms))) if char_classes(letter) == "h"]
    by_letter = {name: tuple(one for one in letters if one in text) for name, text in texts.items()}
    return {name: hits for name, hits in by_letter.items() if hits}


def _outermost(tokens: Iterable[Token], terms: frozenset[str]) -> list[tuple[int, int]]:
    """Where the terms stand; a word inside a longer one that fits as well is left out."""
    spans: list[tuple[int, int]] = []
    for start, less in sorted((one.start, -one.end) for one in tokens if one.term in terms):
        if not spans or -less > spans[-1][1]:
            spans.append((start, -less))
    return spans


def _text(name: str, value: Any) -> str:
    """What of a field is searched as words."""
    if name.split("_", maxsplit=1)[0] not in _WORD_FIELDS:
        return ""
    return "\n".join(_strings(value))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _strings(part)]
    return [text for part in value for text in _strings(part)] if isinstance(value, (list, tuple)) else []
