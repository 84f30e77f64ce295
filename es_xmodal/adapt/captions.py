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
        self._counts = Counter(value for product in products for value in set(_values(product)))

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
        shared = [value for value in _values(product) if self._counts[value] > 1]
        phrases = [kind] if kind else []
        for _ in range(_PHRASES if shared else 0):
            few = min(len(shared), int(rng.integers(1, 3)))
            chosen = sorted(rng.choice(len(shared), few, replace=False).tolist())
            phrases.append(" ".join([*(shared[at] for at in chosen), kind]).strip())
        return phrases


def _values(product: Product) -> list[str]:
    """Attributes and short words of the row's own fields, in their order, the brand last."""
    named: Mapping[str, object] = {**product.extra, **product.attributes}
    found = []
    for value in named.values():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, str) and 1 < len(one) <= _LONGEST_VALUE and not one.isdigit():
                found.append(one.lower())
    brand = [product.brand.lower()] if product.brand else []
    return list(dict.fromkeys([*found, *brand]))


def _shortened(text: str, rng: np.random.Generator) -> str:
    pieces = _PIECES.findall(text)
    kept = [piece for piece in pieces if rng.random() >= _DROPPED]
    if not kept:
        return text
    return ("" if _HAN.search(text) else " ").join(kept)
