"""What of an index is for people's eyes: the picture, the title, the price; and what is not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from es_xmodal.errors import SettingsError
from es_xmodal.index.body import PICTURE_FIELD
from es_xmodal.query.fields import OBJECT

SIDE_PX: Final = 96
"""Of a thumbnail, at most."""
_OURS: Final = {
    "images": PICTURE_FIELD,
    "title": "title",
    "price": "price",
    "currency": "currency",
    "brand": "brand",
    "category": "category",
    "url": "url",
}
_COLUMNS: Final = ("title", "price", "currency", "brand", "category", "url")
_INTERNAL: Final = ("tokens.*", "row_hash", "identifier_keys", "collapse_key")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """The fields of an index, by what they are for."""

    parts: Mapping[str, str]
    """`images`, `title`, `price` and so on -> field; a part that Discover cannot show is left out."""
    hidden: tuple[str, ...]
    """Fields, also with `*`, that tell a person nothing."""

    @property
    def picture(self) -> str | None:
        """Field of the pictures' references."""
        return self.parts.get("images")

    @property
    def columns(self) -> list[str]:
        """Of a table of products, the picture first."""
        found = [self.parts[part] for part in _COLUMNS if part in self.parts]
        return [self.picture, *found] if self.picture else found

    def formats(self, *, pictures: bool, template: str | None) -> dict[str, Any]:
        """Return how fields are shown.

        Args:
            pictures: whether the references can be shown as pictures.
            template: address of a picture, with `{{value}}` or `{{rawValue}}`; None: the reference is one.

        Returns:
            Field -> formatter of a data view.
        """
        found: dict[str, Any] = {}
        if self.picture and pictures:
            size = {"width": SIDE_PX, "height": SIDE_PX}
            address = {"urlTemplate": template} if template else {}
            found[self.picture] = {"id": "url", "params": {"type": "img", **size, **address}}
        if "price" in self.parts:
            found[self.parts["price"]] = {"id": "number", "params": {"pattern": "0,0.00"}}
        if "url" in self.parts:
            found[self.parts["url"]] = {"id": "url", "params": {"type": "a"}}
        return found


def shown_fields(fields: Mapping[str, str], paths: Mapping[str, str] | None) -> Shown:
    """Tell which fields are what.

    Args:
        fields: dotted name -> type, of the whole index.
        paths: part of a product -> field, of an index that a shop made; None: an index of our own.

    Returns:
        What can be shown. Discover shows nothing of what lies within a nested field.
    """
    asked = _OURS if paths is None else paths
    nested = [name for name, kind in fields.items() if kind == "nested"]
    parts = {
        part: field
        for part, field in asked.items()
        if part in _OURS and field in fields and not any(field.startswith(f"{one}.") for one in nested)
    }
    vectors = [name for name, kind in fields.items() if kind == "dense_vector"]
    if paths is None:
        internal = [one for one in _INTERNAL if one.partition(".")[0] in fields]
        return Shown(parts=parts, hidden=(*internal, *vectors))
    own = [name for name in vectors if not name.startswith(f"{OBJECT}.")]
    return Shown(parts=parts, hidden=(OBJECT, f"{OBJECT}.*", *own))


def check_template(template: str) -> str:
    """Return the template of a picture's address if Kibana can fill it.

    Args:
        template: such as `https://shop.example/img/{{rawValue}}`.

    Raises:
        SettingsError: it is no address, or has no place for the reference.
    """
    places = ("{{value}}", "{{rawValue}}")
    if not template.startswith(("http://", "https://")) or not any(one in template for one in places):
        raise SettingsError(
            f"--image-url-template {template!r} is no address with a place for the reference",
            hint="write such as https://shop.example/img/{{rawValue}}, or {{value}} for it percent-encoded",
        )
    return template
