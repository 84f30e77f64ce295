"""From catalogue, photos and clicks to rows that can be learned from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from es_xmodal.adapt.captions import Captions
from es_xmodal.adapt.contrast import Examples
from es_xmodal.adapt.features import Features, Said
from es_xmodal.adapt.pairs import Click, Photo
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.errors import CatalogError

MAX_PRODUCTS = 20_000
"""Larger catalogues are learned from by a sample: heads of this size learn nothing more from the rest."""
MAX_CLICKS = 20
"""Queries a product that are learned from, those clicked most first."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was there, and what could not be used."""

    products: int = 0
    rejected: int = 0
    sampled: int = 0
    pictures: int = 0
    photos: int = 0
    photos_of_other_split: int = 0
    photos_of_unknown_products: int = 0
    clicks: int = 0
    clicks_of_unknown_products: int = 0
    unusable_pictures: int = 0
    without_picture: int = 0
    captions: int = 0
    first_failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """What is learned from.

    Args:
        products: those with a usable picture or photo.
        pictures: what the base says of each picture.
        contents: content hash of each picture.
        owners: number of the product on each picture: shape [pictures].
        is_photo: whether a picture is a photo from outside the catalogue: shape [pictures].
        texts: what the base says of each text.
        text_owners: number of the product of each text, ascending.
        text_weights: how often a text is drawn.
        titles: row in `texts` of each product's title: shape [products].
        counts: what could not be used.
    """

    products: Sequence[Product]
    pictures: Said
    contents: Sequence[str]
    owners: np.ndarray
    is_photo: np.ndarray
    texts: Said
    text_owners: np.ndarray
    text_weights: np.ndarray
    titles: np.ndarray
    counts: Counts

    def examples(self, pictures: np.ndarray) -> Examples:
        """Return what heads are trained on.

        Args:
            pictures: rows that may be learned from; texts of their products alone come with them.
        """
        # Every photo searches for the few catalogue pictures, so these must be learned well.
        pictures = np.concatenate(
            [pictures, np.repeat(pictures[~self.is_photo[pictures]], self._again(pictures))]
        )
        owned = np.unique(self.owners[pictures])
        number = np.full(len(self.products), -1)
        number[owned] = np.arange(len(owned))
        texts = np.flatnonzero(number[self.text_owners] >= 0)
        return Examples(
            pictures=self.pictures.features[pictures],
            products=number[self.owners[pictures]],
            texts=self.texts.features[texts],
            text_products=number[self.text_owners[texts]],
            text_weights=self.text_weights[texts].astype(np.float32),
        )

    def _again(self, pictures: np.ndarray) -> int:
        """How often more a catalogue picture is shown: a quarter as often as photos of its product."""
        photos = int(self.is_photo[pictures].sum())
        return max(0, round(photos / max(1, len(pictures) - photos) / 4) - 1)


def gather(
    rows: Iterable[Product | Reject],
    photos: Sequence[Photo],
    clicks: Sequence[Click],
    features: Features,
    *,
    seed: int,
) -> Gathered:
    """Read everything and ask the base about it.

    Args:
        rows: the catalogue.
        photos: of products, beside the catalogue's pictures.
        clicks: queries that led to products.
        features: asks the base.
        seed: for captions, and for the sample of a large catalogue.

    Raises:
        CatalogError: no product has a usable picture.
        EncoderError: the base fails.
        StoreError: the vector store cannot be used.
    """
    counts = Counts()
    products = _products(rows, counts, seed)
    known = {product.id for product in products}
    shown = [(product.id, ref, False) for product in products for ref in dict.fromkeys(product.images)]
    shown += [(photo.product, photo.path, True) for photo in dict.fromkeys(photos) if photo.product in known]
    counts.photos_of_unknown_products = sum(photo.product not in known for photo in photos)
    seen = features.pictures([ref for _, ref, _ in shown])
    usable = [(at, row) for at, row in enumerate(seen.rows.tolist()) if row >= 0]
    counts.unusable_pictures = len(shown) - len(usable)
    counts.first_failures = list(seen.failures[:3])
    with_picture = {shown[at][0] for at, _ in usable}
    counts.without_picture = sum(product.id not in with_picture for product in products)
    products = [product for product in products if product.id in with_picture]
    if not products:
        first = f", for example: {seen.failures[0]}" if seen.failures else ""
        raise CatalogError(
            f"no product of the catalogue has a picture that can be used{first}",
            hint="--images-root names the folder that the pictures' paths start from",
        )
    numbers = {product.id: number for number, product in enumerate(products)}
    order = np.array([row for _, row in usable], np.int64)
    texts, owners, weights = _texts(products, clicks, counts, seed)
    is_photo = np.array([shown[at][2] for at, _ in usable])
    counts.pictures, counts.photos = int((~is_photo).sum()), int(is_photo.sum())
    return Gathered(
        products=products,
        pictures=seen.said.take(order),
        contents=[seen.contents[row] for row in order.tolist()],
        owners=np.array([numbers[shown[at][0]] for at, _ in usable], np.int64),
        is_photo=is_photo,
        texts=features.texts(texts),
        text_owners=owners,
        text_weights=weights,
        # The title is the first text of its product.
        titles=np.searchsorted(owners, np.arange(len(products))),
        counts=counts,
    )


def _products(rows: Iterable[Product | Reject], counts: Counts, seed: int) -> list[Product]:
    """All products, or a fair sample of `MAX_PRODUCTS` (Vitter's algorithm R)."""
    rng = np.random.default_rng(seed)
    kept: list[Product] = []
    for row in rows:
        if isinstance(row, Reject):
            counts.rejected += 1
            continue
        counts.products += 1
        if len(kept) < MAX_PRODUCTS:
            kept.append(row)
        elif (place := int(rng.integers(0, counts.products))) < MAX_PRODUCTS:
            kept[place] = row
    counts.sampled = len(kept)
    return kept


def _texts(
    products: Sequence[Product], clicks: Sequence[Click], counts: Counts, seed: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts of all products in their order, whose they are, and their weights."""
    asked: dict[str, dict[str, float]] = {product.id: {} for product in products}
    for click in clicks:
        if click.product in asked:
            queries = asked[click.product]
            queries[click.query] = queries.get(click.query, 0.0) + click.weight
        else:
            counts.clicks_of_unknown_products += 1
    captions = Captions(products, seed=seed)
    texts: list[str] = []
    owners: list[int] = []
    weights: list[float] = []
    for number, product in enumerate(products):
        written = captions.of(product)
        most = sorted(asked[product.id].items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_CLICKS]
        counts.clicks += len(most)
        # What people asked for counts as much as all that we wrote ourselves.
        total = sum(weight for _, weight in most)
        texts += [caption.text for caption in written] + [query for query, _ in most]
        weights += [caption.weight for caption in written]
        all_written = sum(caption.weight for caption in written)
        weights += [weight / total * all_written for _, weight in most]
        owners += [number] * (len(written) + len(most))
    counts.captions = len(texts)
    return texts, np.array(owners, np.int64), np.array(weights)
