"""Pictures that many products share: most often the "no image" placeholder of a shop.

Counting every picture of five million products would take their hashes into memory. Only what is frequent
matters, and for that a fixed number of counters is enough: Misra and Gries, "Finding repeated elements",
Science of Computer Programming 2 (1982). A picture that more than one in `COUNTERS` products has is
found for certain; its count is never too high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COUNTERS: Final = 1000
LEAST_PRODUCTS: Final = 20
LEAST_SHARE: Final = 0.01
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedPicture:
    """A picture that many products have.

    Args:
        ref: as the first of them writes it.
        content: SHA-256 of its bytes, hexadecimal.
        products: how many have it, at least; variants of one group count once in a row.
    """

    ref: str
    content: str
    products: int


@dataclass(slots=True)
class _Counter:
    ref: str
    group: str
    count: int = 1


class SharedPictures:
    """Counts in bounded memory which pictures are shared."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}
        self._products = 0

    def product(self) -> None:
        """Count a product."""
        self._products += 1

    def picture(self, *, content: str, ref: str, group: str) -> None:
        """Count a picture of a product.

        Args:
            content: hash of its bytes.
            ref: as the product writes it.
            group: the product's group, or its id.
        """
        counter = self._counters.get(content)
        if counter is not None:
            if counter.group != group:
                counter.group, counter.count = group, counter.count + 1
            return
        if len(self._counters) < COUNTERS:
            self._counters[content] = _Counter(ref, group)
            return
        for key in list(self._counters):
            self._counters[key].count -= 1
            if not self._counters[key].count:
                del self._counters[key]

    def found(self) -> tuple[SharedPicture, ...]:
        """Return the pictures that look like placeholders, the most frequent first, at most five."""
        least = max(LEAST_PRODUCTS, LEAST_SHARE * self._products)
        frequent = [
            SharedPicture(ref=one.ref, content=content, products=one.count)
            for content, one in self._counters.items()
            if one.count >= least
        ]
        return tuple(sorted(frequent, key=lambda one: (-one.products, one.content))[:_SHOWN])
