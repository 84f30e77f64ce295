"""A shop whose products have none, one or several pictures, and what its vectors must be, by numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.catalog.product import Product
from es_xmodal.catalog.reader import read_catalog
from es_xmodal.errors import EncoderError
from es_xmodal.index.combining import Combining
from es_xmodal.ingest.document import text_for_vector
from es_xmodal.media.picture import decode_picture
from tests.support.encoders import HashEncoder

COUNT = 40
UNTOLD = "untold"
"""A text with this word cannot be encoded."""
Numbers = NDArray[np.float64]


class FussyEncoder(HashEncoder):
    """Cannot encode some texts."""

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, NDArray[np.floating]]:
        if any(UNTOLD in text for text in batch):
            raise EncoderError("this text cannot be encoded")
        return super()._text_batch(batch)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Products of which every fourth has no picture, the others one to three, some with role and weight."""
    made = []
    for number in range(COUNT):
        images: list[Any] = []
        for at in range(number % 4):
            ref = f"images/{number}-{at}.png"
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number * 37 % 256, number * 91 % 256, at * 80)).save(folder / ref)
            images.append(ref)
        if number % 4 == 3:
            images[1] = {"ref": images[1], "role": "Detail"}
            images[2] = {"ref": images[2], "role": "back", "weight": 0 if number % 8 == 3 else 2}
        colour = ("red", "green", "blue", "grey")[number % 4]
        made.append({"id": f"p{number:02d}", "title": f"{colour} thing number {number}", "images": images})
    made[5]["title"] = f"{UNTOLD} green thing"
    made[8]["title"] = f"{UNTOLD} red thing"  # and without a picture: it has no vector at all
    return made


def write(folder: Path) -> Path:
    """Write the catalogue and its pictures."""
    path = folder / "catalog.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(folder)), encoding="utf-8")
    return path


def unit(vector: Numbers) -> Numbers:
    length: Numbers = vector / np.linalg.norm(vector)
    return length


class Shop:
    """The products' vectors, embedded one by one."""

    def __init__(self, catalog: Path) -> None:
        self.encoder = FussyEncoder()
        self.root = catalog.parent
        self.products = [one for one in read_catalog(catalog) if isinstance(one, Product)]
        self._told = {one.id: self._text(text_for_vector(one)) for one in self.products}

    def _text(self, text: str) -> dict[str, Numbers]:
        if UNTOLD in text:
            return {}
        return {name: one[0].astype(float) for name, one in self.encoder.encode_texts([text]).items()}

    def words(self, text: str) -> dict[str, Numbers]:
        """Space to vector of a query's words."""
        return self._text(text)

    def photo(self, path: Path) -> dict[str, Numbers]:
        """Space to vector of a photo."""
        picture = decode_picture(path.read_bytes(), source=path.name, max_side=64)
        found = self.encoder.encode_pictures([self.encoder.prepare(picture)])
        return {name: one[0].astype(float) for name, one in found.items()}

    def texts(self, space: str) -> dict[str, Numbers]:
        """Product to the vector of its text."""
        return {product: told[space] for product, told in self._told.items() if told}

    def pictures(self, space: str, combining: Combining) -> dict[str, list[tuple[float, Numbers]]]:
        """Product to weight and vector of each picture that is searched."""
        found = {}
        for product in self.products:
            pairs = []
            for ref in product.images:
                note = product.image_notes.get(ref)
                role = note.role if note else None
                own = note.weight if note else None
                weight = combining.role_weights.get(role or "", 1.0) if own is None else own
                if weight > 0:
                    pairs.append((weight, self.photo(self.root / ref)[space]))
            if pairs:
                found[product.id] = pairs
        return found

    def means(self, space: str, combining: Combining) -> dict[str, Numbers]:
        """Product to the weighted mean of its pictures."""
        return {
            product: unit(np.sum([weight * vector for weight, vector in pairs], axis=0))
            for product, pairs in self.pictures(space, combining).items()
        }
