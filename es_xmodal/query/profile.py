"""The numbers behind the ranking: field boosts, leg weights, what is tolerated.

docs/ranking.md shows the table behind each default. `profile_file.py` reads and writes them as a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from es_xmodal.errors import SettingsError
from es_xmodal.query.model import CLIENT_FORMS, OWN_FUSIONS, Composed, Fusion, Query
from es_xmodal.query.recognise import recognise

Weights = Mapping[str, float]
QueryClass = Literal["text", "image", "text+image", "short", "long", "identifier"]
CLASSES: tuple[QueryClass, ...] = get_args(QueryClass)
OPTIONAL: tuple[QueryClass, ...] = ("short", "long", "identifier")
"""Classes whose row may be absent, and need only name what differs from `text`."""
MAX_NUMBER = 1e6
MAX_WORDS = 1024
"""Elasticsearch's smallest limit of clauses in one query."""

_WORDS_LEGS = ("lexical", "text", "image")
LEGS_OF: Mapping[str, tuple[str, ...]] = {
    "text": _WORDS_LEGS,
    "image": ("visual", "image", "ocr"),
    "text+image": (*_WORDS_LEGS, "visual", "ocr"),
    "short": _WORDS_LEGS,
    "long": _WORDS_LEGS,
    "identifier": _WORDS_LEGS,
}
"""Class of a query to the legs that can answer it."""
FUSED = "fused"
"""The leg of an index with one vector for text and pictures; a row may name it beside those of `LEGS_OF`."""
_STANDS_FOR = ("text", "image", "visual")
READ_FIELD = "tokens.ocr"
"""The words on the pictures, in an index that has them."""
TOKEN_FIELDS = ("tokens.title", "tokens.attributes", "tokens.description", READ_FIELD)
ORIGINAL_FIELDS = (
    "title",
    "titles.*",
    "brand.text",
    "category.text",
    "attribute_pairs.text",
    "description",
    "descriptions.*",
)
_SHARE = re.compile(r"(?:100|[1-9]?[0-9])%|[1-9][0-9]{0,2}")
_NAME = re.compile(r"[\w][\w.-]{0,63}")


def _convex() -> dict[str, Weights]:
    return {
        "text": {"lexical": 0.4, "text": 0.4, "image": 0.2},
        "image": {"visual": 0.8, "image": 0.2, "ocr": 0.4},
        "text+image": {"lexical": 0.2, "text": 0.2, "image": 0.2, "visual": 0.4, "ocr": 0.2},
        "long": {"lexical": 0.5, "text": 0.4, "image": 0.1},
    }


def _boost() -> dict[str, Weights]:
    # Raw scores: BM25 has no upper end, a cosine `_score` lies in [0, 1].
    return {
        "text": {"lexical": 1.0, "text": 20.0, "image": 10.0},
        "image": {"visual": 1.0, "image": 0.25, "ocr": 0.01},
        "text+image": {"lexical": 1.0, "text": 10.0, "image": 10.0, "visual": 20.0, "ocr": 0.2},
    }


def _original_boosts() -> dict[str, float]:
    return dict(zip(ORIGINAL_FIELDS, (3.0, 3.0, 1.5, 1.5, 1.5, 1.0, 1.0), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileName:
    """Which profile made a ranking.

    Attributes:
        name: what a person calls it.
        digest: of everything in it that has an effect.
    """

    name: str
    digest: str

    def to_json(self) -> dict[str, str]:
        """Name and digest."""
        return {"name": self.name, "digest": self.digest}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Field boosts and leg weights.

    Attributes:
        name: what a person calls it; has no effect on the ranking.
        field_boosts: token field to its boost in the lexical leg; 0 leaves it out.
        original_boosts: un-tokenised field to its boost; they cover what the token fields cover.
        relevant_words: share of the words that a product must have to be relevant by them (`cutoff`).
        typo_boost: boost of Latin words that differ by one or two letters; 0 leaves them out.
        convex: weights by class of query for the fusions `convex`, where they are divided by their sum, and
            `rrf`. The classes `text`, `image` and `text+image` (the modes) have a row; `short`, `long` and
            `identifier` may have one, which need only name what differs from `text`.
        boost: the same for the fusion `boost`.
        min_spreads: a vector leg whose best hit lies less than this many spreads above its floor
            does not reach a normalised score of 1.
        minus_weight: weight of a term to move away from, where it names none.
        composition: what `auto` means.
        pins: by fusion, the weight of a product whose identifier was asked for; more than all other legs.
        max_terms: words beyond these are left out of the lexical leg.
        short_terms: words of the class `short` are at most so many.
        long_terms: words of the class `long` are at least so many.

    Raises:
        SettingsError: a value makes no sense; the error names it.
    """

    name: str = "default"
    field_boosts: Mapping[str, float] = field(
        default_factory=lambda: dict(zip(TOKEN_FIELDS, (3.0, 1.5, 1.0, 0.5), strict=True))
    )
    original_boosts: Mapping[str, float] = field(default_factory=_original_boosts)
    relevant_words: str = "67%"
    typo_boost: float = 0.2
    convex: Mapping[str, Weights] = field(default_factory=_convex)
    boost: Mapping[str, Weights] = field(default_factory=_boost)
    min_spreads: float = 3.0
    pins: Mapping[Fusion, float] = field(default_factory=lambda: {"convex": 2.0, "rrf": 2.0, "boost": 1000.0})
    max_terms: int = 64
    minus_weight: float = 0.7
    composition: Composed = "early"
    short_terms: int = 2
    long_terms: int = 5
    label: ProfileName = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check()
        # The digest covers what has an effect on a ranking: two names for the same numbers are one profile.
        numbers = {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.init}
        packed = json.dumps({**numbers, "name": ""}, sort_keys=True).encode()
        digest = hashlib.sha256(packed).hexdigest()[:16]
        object.__setattr__(self, "label", ProfileName(name=self.name, digest=digest))

    def query_class(self, query: Query, terms: Sequence[str]) -> QueryClass:
        """What kind of query it is; pure.

        Args:
            query: what was asked.
            terms: its words, as the tokeniser cut them.

        Returns:
            The mode where there is a picture or a product in it; else `identifier`, `short`, `long`, or
            `text` for what lies between.
        """
        if query.mode != "text":
            return query.mode
        if recognise(query.text).kind in ("gtin", "identifier"):
            return "identifier"
        if len(terms) <= self.short_terms:
            return "short"
        return "long" if len(terms) >= self.long_terms else "text"

    def weights(self, query: Query, terms: Sequence[str]) -> dict[str, float]:
        """The weight of every leg for this query, in the order of the legs; pure.

        Args:
            query: its class chooses the row, its own weights win over the row's.
            terms: its words, as the tokeniser cut them.

        Returns:
            Leg name to weight; legs of weight 0 are left out.
        """
        table = self.boost if query.fusion == "boost" else self.convex
        pin = {"identifier": self.pins[CLIENT_FORMS.get(query.fusion, query.fusion)]} if query.text else {}
        row = {**table[query.mode], **table.get(self.query_class(query, terms), {})}
        merged = {**pin, **row, **query.weights}
        return {leg: weight for leg, weight in merged.items() if weight > 0}

    def fused_weights(self, query: Query, terms: Sequence[str]) -> dict[str, float]:
        """The same for an index in which one leg stands for `text`, `image` and `visual`; pure.

        Args:
            query: as for `weights`.
            terms: as for `weights`.

        Returns:
            Leg name to weight. Where neither the query nor the row names the leg `fused`, its weight is the
            sum of the weights of those that it stands for.
        """
        weights = self.weights(query, terms)
        stood_for = sum(weights.pop(leg, 0.0) for leg in _STANDS_FOR)
        named = FUSED in query.weights or FUSED in weights
        fused = weights.pop(FUSED, 0.0) if named else stood_for
        return {**weights, FUSED: fused} if fused > 0 else weights

    def _check(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise _wrong("name", "must be 1 to 64 letters, digits, dots or dashes")
        if not isinstance(self.relevant_words, str) or not _SHARE.fullmatch(self.relevant_words):
            raise _wrong("relevant_words", 'must be a share such as "67%", or a number of words such as "2"')
        if self.composition not in get_args(Composed):
            raise _wrong("composition", f"{self.composition!r} is not one of early, late")
        for key in ("typo_boost", "min_spreads"):
            _check_number(key, getattr(self, key))
        if _check_number("minus_weight", self.minus_weight) == 0:
            raise _wrong("minus_weight", "must be more than 0")
        for key, least in (("max_terms", 1), ("short_terms", 0), ("long_terms", 1)):
            _check_count(key, getattr(self, key), least)
        if self.short_terms >= self.long_terms:
            raise _wrong("long_terms", "must be more than short_terms")
        _check_table("field_boosts", self.field_boosts, TOKEN_FIELDS)
        _check_table("original_boosts", self.original_boosts, ORIGINAL_FIELDS)
        _check_table("pins", self.pins, OWN_FUSIONS, whole=True)
        for fusion, table in (("convex", self.convex), ("boost", self.boost)):
            self._check_rows(f"weights.{fusion}", table)

    @staticmethod
    def _check_rows(where: str, table: Mapping[str, Weights]) -> None:
        for row, legs in table.items():
            if row not in LEGS_OF:
                raise _wrong(f"{where}.{row}", "there is no such class of queries")
            base = table.get("text", {}) if row in OPTIONAL else {}
            _check_table(f"{where}.{row}", {**base, **legs}, (*LEGS_OF[row], FUSED))
        for row in CLASSES:
            if row not in table and row not in OPTIONAL:
                raise _wrong(f"{where}.{row}", "is missing")


def _plain(value: Any) -> Any:
    """Numbers in one form, so that 1 and 1.0 have one digest."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return float(value) if isinstance(value, int) else value


def _check_number(key: str, value: Any) -> float:
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not right or not 0 <= value <= MAX_NUMBER:  # NaN is not either
        raise _wrong(key, f"must be a number from 0 to {MAX_NUMBER:.0f}")
    return float(value)


def _check_count(key: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_WORDS:
        raise _wrong(key, f"must be a whole number from {least} to {MAX_WORDS}")


def _check_table(key: str, table: Mapping[Any, float], known: Sequence[str], *, whole: bool = False) -> None:
    for name, value in table.items():
        if name not in known:
            raise _wrong(f"{key}.{name}", f"is none of {', '.join(known)}")
        _check_number(f"{key}.{name}", value)
    missing = [name for name in known if name not in table] if whole else []
    if missing:
        raise _wrong(f"{key}.{missing[0]}", "is missing")
    if not whole and not any(value > 0 for value in table.values()):
        raise _wrong(key, "needs a number above 0")


def _wrong(key: str, why: str) -> SettingsError:
    return SettingsError(f"profile: {key}: {why}")


DEFAULT_PROFILE = Profile()
