"""What could be said of a product: its titles, its titles with words missing, and its attributes.

A shopper leaves most of a title out, and says "blue shirt" where the title has a brand and a model: heads
that saw whole titles alone are worse at that.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from es_xmodal.adapt.words import HAN, joined, learn_words
from es_xmodal.catalog.product import Product

_PIECES = re.compile(r"[^\W\u3400-\u9fff]+|[\u3400-\u9fff]{2}|[\u3400-\u9fff]")
_DROPPED = 0.3
_SHORTENED = 2
_PHRASES = 3
_MOST_ATTRIBUTES = 3
_LONGEST_VALUE = 30
_CHARS = 300
_SPOKEN = 0.25
_TITLE, _SHORT, _FULL, _FEW, _KIND = 2.5, 0.75, 1.0, 0.34, 0.25
"""How often a title is drawn, one with words missing, the longest phrase, a shorter one, the kind alone."""
_MAIN = ""
"""Stands for the language of the catalogue's own titles."""
_PLURALS = {"ies": "y", "sses": "ss", "shes": "sh", "ches": "ch", "xes": "x", "ss": "ss", "s": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """A text about a product, and how often it is drawn against the others of that product."""

    text: str
    weight: float = 1.0


class Captions:
    """Writes captions; looks at the whole catalogue to tell an attribute from a free text, and for its words.

    Args:
        products: of the catalogue.
        seed: for what is left to chance.
    """

    def __init__(self, products: Sequence[Product], *, seed: int = 0) -> None:
        self._seed = seed
        self._fields = _spoken(products)
        values = [self._values(product) for product in products]
        self._counts = Counter(value for owned in values for value in owned)
        owned = [{*found, _kind(product)} - {""} for found, product in zip(values, products, strict=True)]
        self._words: dict[str, Mapping[str, str]] = {}
        for language in sorted({name for product in products for name in _titles(product)}):
            rows = [row for row, product in enumerate(products) if language in _titles(product)]
            titles = [_titles(products[row])[language] for row in rows]
            self._words[language] = learn_words(titles, [owned[row] for row in rows])

    def of(self, product: Product) -> list[Caption]:
        """Return the captions of a product: the same ones every time, its title first.

        Args:
            product: of the catalogue, or one like it.
        """
        # By id, so that the order of the products changes no caption.
        rng = np.random.default_rng([self._seed, *product.id.encode()])
        found: defaultdict[str, float] = defaultdict(float)
        titles = {language: title[:_CHARS] for language, title in _titles(product).items()}
        for title in titles.values():
            found[title] += _TITLE
        for title in [*titles.values(), _without(product.brand, product.title[:_CHARS])]:
            for _ in range(_SHORTENED):
                found[_shortened(title, rng)] += _SHORT
        for language in titles:
            self._phrases(product, language, found, rng)
        return [Caption(text=text, weight=weight) for text, weight in found.items() if text]

    def _phrases(
        self, product: Product, language: str, found: dict[str, float], rng: np.random.Generator
    ) -> None:
        """The kind of thing, alone and with attributes: 'shirt', 'blue shirt', 'men blue shirt'."""
        kinds = self._kinds(product, language)
        for kind in kinds:
            found[kind] += _KIND / len(kinds)
        said = self._said(product, language)
        if not said:
            return
        # What titles speak of most, but in the order of the row.
        places = sorted(range(len(said)), key=lambda at: (-self._fields[said[at][0]], at))
        longest = sorted(places[:_MOST_ATTRIBUTES])
        for kind in kinds or [""]:
            found[joined([*(said[at][1] for at in longest), kind])] += _FULL / max(1, len(kinds))
        shares = np.array([self._fields[name] for name, _ in said])
        for _ in range(_PHRASES):
            few = min(len(said), int(rng.integers(1, _MOST_ATTRIBUTES + 1)))
            chosen = sorted(rng.choice(len(said), few, replace=False, p=shares / shares.sum()).tolist())
            kind = kinds[int(rng.integers(len(kinds)))] if kinds else ""
            found[joined([*(said[at][1] for at in chosen), kind])] += _FEW

    def _kinds(self, product: Product, language: str) -> list[str]:
        """What the kind of thing is called: the category, one of it, and as titles have it."""
        kind = _kind(product)
        named = [kind, _singular(kind)] if language == _MAIN else []
        return [one for one in dict.fromkeys([*named, self._words[language].get(kind, "")]) if one]

    def _said(self, product: Product, language: str) -> list[tuple[str, str]]:
        """Attributes that other products share: the name, and the value in the words of a language."""
        words = self._words[language]
        # A value that no other product has (a number, a sentence) is not what people ask for.
        shared = [(name, value) for value, name in self._values(product).items() if self._counts[value] > 1]
        said = [(name, value if language == _MAIN else words.get(value, "")) for name, value in shared]
        return [(name, word) for name, word in said if word]

    def _values(self, product: Product) -> dict[str, str]:
        """Its attributes that count, each once: value to name."""
        found: dict[str, str] = {}
        for name, values in _named(product).items():
            for value in values if name in self._fields else ():
                found.setdefault(value, name)
        return found


def _titles(product: Product) -> dict[str, str]:
    """The title, and those of other languages that say something else."""
    others = {name: title for name, title in product.titles.items() if title and title != product.title}
    return {_MAIN: product.title, **others}


def _kind(product: Product) -> str:
    return product.category[-1].lower() if product.category else ""


def _singular(kind: str) -> str:
    """One of an English plural; another language's word loses an s at most, and stands as it is beside."""
    for plural, one in _PLURALS.items():
        if kind.endswith(plural) and len(kind) > len(plural) + 2:
            return kind[: -len(plural)] + one
    return kind


def _without(brand: str | None, title: str) -> str:
    if not brand:
        return title
    left = re.sub(rf"(?<!\w){re.escape(brand)}(?!\w)", " ", title, flags=re.IGNORECASE)
    return " ".join(left.split()) or title


def _spoken(products: Sequence[Product]) -> dict[str, float]:
    """The attributes whose values often stand in titles, as people speak of them; all where none does.

    Returns:
        Name to the share of titles with the product's own value.
    """
    there: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for product in products:
        title = " ".join(_titles(product).values()).lower()
        for name, values in _named(product).items():
            there[name] += 1
            said[name] += any(_in(value, title) for value in values)
    spoken = {name: said[name] / there[name] for name in there if said[name] >= _SPOKEN * there[name]}
    return spoken or dict.fromkeys(there, 1.0)


def _in(value: str, title: str) -> bool:
    """Whether a title says it: as a word of its own, but in Chinese, where words do not stand apart."""
    return value in title and (
        bool(HAN.search(value)) or bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", title))
    )


def _named(product: Product) -> dict[str, list[str]]:
    """Attributes and short words of the row's own fields, in their order; no brand: titles have it."""
    named: Mapping[str, object] = {**product.extra, **product.attributes}
    found: dict[str, list[str]] = {}
    for name, value in named.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, str) and 1 < len(one) <= _LONGEST_VALUE and not one.isdigit():
                found.setdefault(name, []).append(one.lower())
    return found


def _shortened(text: str, rng: np.random.Generator) -> str:
    pieces = _PIECES.findall(text)
    kept = [piece for piece in pieces if rng.random() >= _DROPPED]
    if not kept:
        return text
    return ("" if HAN.search(text) else " ").join(kept)
