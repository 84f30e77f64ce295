"""Reading the counts of facets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_xmodal.query.facets import PlannedFacet, Scope

PARTS = 5
"""Ranges that are made of a number where none are given, about."""
FEW = 10
"""Values of an attribute that are told beside its name; so many may be all different."""
LONG = 40
"""Characters of a value on average beyond which an attribute is a text to read, nothing to choose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FacetValue:
    """One value, or one range of a number.

    Attributes:
        value: the value, spelt as one product of the shop spells it; for a range `LOW..HIGH`.
        count: products that have it.
        low, high: the ends of a range; the lower one is included, the upper one is not; None: no end.
        values: where the value is an attribute: its own values, the most frequent first.
        other: how often values occur that are not among `values`.
    """

    value: str | bool
    count: int
    low: float | None = None
    high: float | None = None
    values: tuple[FacetValue, ...] = ()
    other: int = 0

    @property
    def is_range(self) -> bool:
        """Whether it stands for a range."""
        return self.low is not None or self.high is not None

    def to_json(self) -> dict[str, Any]:
        """The value as JSON values."""
        ends = {"from": self.low, "to": self.high} if self.is_range else {}
        within = (
            {"values": [one.to_json() for one in self.values], "other": self.other} if self.values else {}
        )
        return {"value": self.value, **ends, "count": self.count, **within}


@dataclass(frozen=True, kw_only=True, slots=True)
class FacetCounts:
    """The counts of one facet.

    Attributes:
        scope: what was counted: `lexical`, `window` or `filter`.
        values: the most frequent first, ties by value; ranges from low to high.
        other: how often values occur that are not among `values`.
        exact: False where an index of several shards has so many values that counts may be too low.
    """

    scope: Scope
    values: tuple[FacetValue, ...]
    other: int = 0
    exact: bool = True

    def to_json(self) -> dict[str, Any]:
        """The facet as JSON values."""
        values = [one.to_json() for one in self.values]
        return {"scope": self.scope, "values": values, "other": self.other, "exact": self.exact}


def read_facets(facets: Sequence[PlannedFacet], answer: Mapping[str, Any]) -> dict[str, FacetCounts]:
    """Read the counts.

    Args:
        facets: as the request was made of.
        answer: of the request that ranks.

    Returns:
        Field, as it was asked for, to its counts.
    """
    found = answer.get("aggregations", {})
    return {one.facet.field: _counts(one, found[f"facet{number}"]) for number, one in enumerate(facets)}


def _counts(one: PlannedFacet, aggregation: Mapping[str, Any]) -> FacetCounts:
    within = aggregation.get("in", aggregation)
    counted = within["values"]
    if one.kind == "double":
        return FacetCounts(scope=one.scope, values=tuple(_ranges(one, counted["buckets"])))
    if one.all_attributes:
        return _attributes(one, within)
    return FacetCounts(
        scope=one.scope,
        values=tuple(
            FacetValue(value=_value(one, bucket), count=bucket["doc_count"]) for bucket in counted["buckets"]
        ),
        other=counted["sum_other_doc_count"],
        exact=counted["doc_count_error_upper_bound"] == 0,
    )


def _attributes(one: PlannedFacet, within: Mapping[str, Any]) -> FacetCounts:
    """Which attributes there are, the one that most products have first.

    There is nothing to choose where all have the same value, one product alone has any, nearly each has its
    own (a number), or the values are whole texts.
    """
    counted = within["values"]
    names, texts = _spellings(one, within.get("spelt", {}))
    odd = [name for name in names if "=" in name]
    named: dict[str, list[tuple[str, int]]] = {}
    for bucket in counted["buckets"]:
        key = str(bucket["key"])
        name = next((name for name in odd if key.startswith(f"{name}=")), key.partition("=")[0])
        named.setdefault(name, []).append((key[len(name) + 1 :], int(bucket["doc_count"])))
    found = [
        _attribute(names.get(name, name), [(texts.get((name, text), text), count) for text, count in values])
        for name, values in named.items()
        if _chooses(values, int(within["doc_count"]))
    ]
    found.sort(key=lambda attribute: (-attribute.count, str(attribute.value)))
    return FacetCounts(
        scope=one.scope,
        values=tuple(found[: one.facet.size]),
        other=sum(attribute.count for attribute in found[one.facet.size :]) + counted["sum_other_doc_count"],
        exact=counted["doc_count_error_upper_bound"] == 0,
    )


def _chooses(values: Sequence[tuple[str, int]], products: int) -> bool:
    given = sum(count for _, count in values)
    if sum(len(value) * count for value, count in values) > LONG * given:
        return False
    if len(values) == 1:
        return 1 < given < products
    return len(values) <= FEW or 2 * len(values) <= given


def _attribute(name: str, values: Sequence[tuple[str, int]]) -> FacetValue:
    given = sum(count for _, count in values)
    shown = tuple(FacetValue(value=text, count=count) for text, count in values[:FEW])
    return FacetValue(
        value=name, count=given, values=shown, other=given - sum(value.count for value in shown)
    )


def _spellings(
    one: PlannedFacet, top: Mapping[str, Any]
) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Attributes, and pairs of attribute and value, in lower case, to how the shop spells name and value."""
    names: dict[str, str] = {}
    texts: dict[tuple[str, str], str] = {}
    for hit in top.get("hits", {}).get("hits", []):
        attributes: Mapping[str, Any] = one.names.inside(hit["_source"]).get("attributes") or {}
        for name, values in attributes.items():
            names.setdefault(name.lower(), name)
            for text in map(str, _many(values)):
                texts.setdefault((name.lower(), text.lower()), text)
    return names, texts


def _value(one: PlannedFacet, bucket: Mapping[str, Any]) -> str | bool:
    if one.kind == "boolean":
        return bool(bucket["key"])
    key: str = bucket["key"]
    hits = bucket.get("one", {}).get("hits", {}).get("hits", [])
    source: Mapping[str, Any] = one.names.inside(hits[0]["_source"]) if hits else {}
    if one.attribute is None:
        return _spelt(key, _many(source.get(one.source)))
    value = key[len(one.attribute) + 1 :]
    attributes: Mapping[str, Any] = source.get("attributes") or {}
    named = [texts for name, texts in attributes.items() if name.lower() == one.attribute]
    return _spelt(value, (text for texts in named for text in _many(texts)))


def _spelt(key: str, texts: Iterable[Any]) -> str:
    """The text that is the key in lower case; the key where Elasticsearch lowers a letter in another way."""
    return next((text for text in texts if isinstance(text, str) and text.lower() == key), key)


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _ranges(one: PlannedFacet, buckets: Sequence[Mapping[str, Any]]) -> Iterator[FacetValue]:
    counted = [(bucket.get("from"), bucket.get("to"), int(bucket["doc_count"])) for bucket in buckets]
    if one.facet.edges:
        ends = [
            0,
            len(counted) - 1,
        ]  # what lies outside of the given ranges is shown where there is something
        kept = [part for place, part in enumerate(counted) if part[2] or place not in ends]
    else:
        kept = join_ranges(counted)
    for low, high, count in kept:
        yield FacetValue(value=f"{_end(low)}..{_end(high)}", count=count, low=low, high=high)


def _end(edge: float | None) -> str:
    return "" if edge is None else f"{edge:.12g}"


Range = tuple[float | None, float | None, int]


def join_ranges(counted: Sequence[Range], parts: int = PARTS) -> list[Range]:
    """Join small ranges to a few that hold about as many products each.

    Args:
        counted: (low, high, count), each beginning where the one before ends.
        parts: how many are wanted, about.

    Returns:
        Ranges without gaps and without empty ones at either end; their counts add up to the same.
    """
    used = [place for place, part in enumerate(counted) if part[2]]
    if not used:
        return []
    left = sum(part[2] for part in counted)
    joined: list[Range] = []
    low, count = counted[used[0]][0], 0
    for one in counted[used[0] : used[-1] + 1]:
        # A range that would overshoot by more than it lacks now begins the next part.
        fair = left / max(1, parts - len(joined))
        if count and count + one[2] - fair > fair - count and len(joined) < parts - 1:
            joined.append((low, one[0], count))
            low, left, count = one[0], left - count, 0
        count += one[2]
    return [*joined, (low, counted[used[-1]][1], count)]
