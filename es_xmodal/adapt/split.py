"""Which products and photos are kept out of the training, so that the gain can be measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from es_xmodal.adapt.gather import Gathered

_SHARE = 0.2
_MOST_PRODUCTS = 1000
_MOST_PHOTOS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows of pictures.

    Args:
        training: rows that are learned from.
        products: numbers of the products that the training does not see at all.
        photos: rows of photos of products that it sees in other pictures.
    """

    training: np.ndarray
    products: np.ndarray
    photos: np.ndarray


def split_pairs(gathered: Gathered, *, seed: int) -> Split:
    """Keep a fifth of the products out, and a fifth of the other products' photos.

    Products that are variants of each other, or share a picture, are kept out together.

    Args:
        gathered: all pairs.
        seed: the same seed and catalogue give the same split.
    """
    rng = np.random.default_rng([seed, 1])
    groups = _groups(gathered)
    names = np.unique(groups)
    wanted = min(_MOST_PRODUCTS, round(_SHARE * len(groups)))
    out = np.zeros(len(groups), bool)
    for name in rng.permutation(names):
        if out.sum() >= wanted:
            break
        out |= groups == name
    held_photos = []
    for number in np.flatnonzero(~out):
        rows = np.flatnonzero((gathered.owners == number) & gathered.is_photo)
        if len(rows) > 1:
            held_photos += rng.permutation(rows)[: max(1, round(_SHARE * len(rows)))].tolist()
    photos = np.sort(rng.permutation(np.array(held_photos, np.int64))[:_MOST_PHOTOS])
    training = ~out[gathered.owners]
    # The same file may stand twice under photos; what is tested must not be learned from.
    tested = {gathered.contents[row] for row in photos.tolist()}
    training &= np.array([content not in tested for content in gathered.contents])
    training |= ~gathered.is_photo & ~out[gathered.owners]
    return Split(training=np.flatnonzero(training), products=np.flatnonzero(out), photos=photos)


def _groups(gathered: Gathered) -> np.ndarray:
    """Number of each product's group: union of those that share a group_id or a picture."""
    parent = list(range(len(gathered.products)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[tuple[str, str], int] = {}
    links = [(number, ("group", product.group_id)) for number, product in enumerate(gathered.products)]
    pictures = zip(gathered.owners.tolist(), gathered.contents, strict=True)
    for number, (kind, name) in [*links, *((owner, ("picture", content)) for owner, content in pictures)]:
        if name:
            other = first.setdefault((kind, name), number)
            parent[root(number)] = root(other)
    return np.array([root(number) for number in range(len(parent))])
