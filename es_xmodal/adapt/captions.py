"""What could be said of a product: its titles, its titles with words missing, and its attributes.

A shopper leaves most of a title out, and says "blue shirt" where the title has a brand and a model: heads
that saw whole titles alone are worse at that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from es_xmodal.catalog.product import Product

_PIECES = re.compile(r"[^\W\u3400-\u9fff]+|[\u3400-\u9fff]{2}|[\u3400-\u9fff]")
_HAN = re.compile("[\u3400-\u9fff]")
_DROPPED = 0.3
_SHORTENED = 2
_PHRASES = 4
_LONGEST_VALUE = 30
_CHARS = 300
_SPOKEN = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """A text about a product, and how often it is drawn against the others of that product."""

    text: str
    weight: float = 1.0


class Captions:
    """Writes captions; looks at the whole catalogue to tell an attribute from a free text.

    Args:
        products: of the catalogue.
        seed: for what is left to chance.
    """

    def __init__(self, products: Sequence[Product], *, seed: int = 0) -> None:
        self._seed = seed
        self._fields = _spoken(products)
        self._counts = Counter(value for product in products for value in self._values(product))

    def of(self, product: Product) -> list[Caption]:
        """Return the captions of a product: the same ones every time, in the order of importance.

        Args:
            product: of the catalogue, or one like it.
        """
        # By id, so that neither the order nor the number of products changes a caption.
        rng = np.random.default_rng([self._seed, *product.id.encode()])
        titles = list(dict.fromkeys([product.title, *product.titles.values()]))
        texts = [title[:_CHARS] for title in titles]
        short = [_shortened(text, rng) for text in texts for _ in range(_SHORTENED)]
        found = dict.fromkeys([*texts, *short, *self._phrases(product, rng)])
        return [Caption(text=text) for text in found if text]

    def _phrases(self, product: Product, rng: np.random.Generator) -> list[str]:
        """The kind of thing, alone and with attributes: 'shirt', 'blue shirt', 'men blue shirt'."""
        kind = product.category[-1].lower() if product.category else ""
        # A value that no other product has (a number, a sentence) is not what people ask for.
        shared = [value for value in self._values(product) if self._counts[value] > 1]
        phrases = [kind] if kind else []
        for _ in range(_PHRASES if shared else 0):
            few = min(len(shared), int(rng.integers(1, 3)))
            chosen = sorted(rng.choice(len(shared), few, replace=False).tolist())
            phrases.append(" ".join([*(shared[at] for at in chosen), kind]).strip())
        return phrases

    def _values(self, product: Product) -> list[str]:
        """Its attributes that count, each once."""
        named = _named(product)
        return list(dict.fromkeys(one for name in named if name in self._fields for one in named[name]))


def _spoken(products: Sequence[Product]) -> set[str]:
    """The attributes whose values often stand in titles, as people speak of them; all where none does."""
    there: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for product in products:
        title = " ".join([product.title, *product.titles.values()]).lower()
        for name, values in _named(product).items():
            there[name] += 1
            said[name] += any(value in title for value in values)
    return {name for name in there if said[name] >= _SPOKEN * there[name]} or set(there)


def _named(product: Product) -> dict[str, list[str]]:
    """Attributes and short words of the row's own fields, in their order, the brand last."""
    named: Mapping[str, object] = {**product.extra, **product.attributes, "brand": product.brand}
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
    return ("" if _HAN.search(text) else " ").join(kept)
