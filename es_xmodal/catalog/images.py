"""Pictures of a row: references, or objects with a role and a weight; and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from es_xmodal.catalog.product import ImageNote
from es_xmodal.catalog.values import FieldProblem, show, word

MAX_WEIGHT: Final = 1000.0
MAX_ROLE_CHARS: Final = 64
_KEYS: Final = ("ref", "url", "role", "weight")
_FRAME: Final = re.compile(r"#t=\d+(\.\d+)?$")
"""What stands behind the reference of a video for one frame of it."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def read_images(value: Any) -> tuple[tuple[str, ...], dict[str, ImageNote]]:
    """Read the field `images`.

    Args:
        value: a path, address or object, or a list of them; None counts as absent.

    Returns:
        The references in order, and what is said about them; of a reference that comes twice, what is said
        first counts.

    Raises:
        FieldProblem: an item is neither, or its role or weight cannot be used.
    """
    items = value if isinstance(value, (list, tuple)) else [value]
    references: list[str] = []
    notes: dict[str, ImageNote] = {}
    for at, item in enumerate(items):
        field = f"images[{at}]"
        ref, note = _read(item, field)
        if ref:
            references.append(ref)
            if note:
                notes.setdefault(ref, note)
    return tuple(references), notes


def write_images(images: Iterable[str], notes: Mapping[str, ImageNote]) -> list[str | dict[str, Any]]:
    """Write pictures as a row has them.

    Args:
        images: references.
        notes: what is said about them.

    Returns:
        A reference each, or an object where there is something to say.
    """
    return [_written(ref, notes.get(ref)) for ref in images]


def from_stored(images: Iterable[Any]) -> list[str | dict[str, Any]]:
    """Turn the `images` of a document back into those of a row.

    Args:
        images: references or objects, with vectors or without.

    Returns:
        As `write_images` gives them; of several frames of one picture one stays.
    """
    found: list[str | dict[str, Any]] = []
    for one in images:
        if isinstance(one, Mapping):
            note = ImageNote(role=one.get("role"), weight=one.get("weight"))
            written = _written(plain_ref(one["ref"]), note)
            if written in found:
                continue
            found.append(written)
        else:
            found.append(one)
    return found


def plain_ref(ref: str) -> str:
    """Return the reference of a video for that of one of its frames; any other reference as it is."""
    return _FRAME.sub("", ref)


def primary_image(images: Iterable[Any]) -> str | None:
    """Choose the picture that stands for a product.

    Args:
        images: of a document or a row.

    Returns:
        Reference of the first one of the role `main`, else of the first one that is searched, else of the
        first one; None where there is none.
    """
    rows = [one if isinstance(one, Mapping) else {"ref": one} for one in images]
    searched = [one for one in rows if one.get("weight") != 0] or rows
    chosen = next((one for one in searched if one.get("role") == "main"), next(iter(searched), None))
    return None if chosen is None else str(chosen["ref"])


def _written(ref: str, note: ImageNote | None) -> str | dict[str, Any]:
    said = {} if note is None else {"role": note.role, "weight": note.weight}
    known = {name: value for name, value in said.items() if value is not None}
    return {"ref": ref, **known} if known else ref


def _read(item: Any, field: str) -> tuple[str, ImageNote | None]:
    if not isinstance(item, dict):
        return _reference(item, field), None
    unknown = next((key for key in item if key not in _KEYS), None)
    if unknown is not None:
        raise FieldProblem(
            field, "wrong_type", f"{field} has {show(unknown)}; it may have {', '.join(_KEYS)}"
        )
    ref = _reference(item.get("ref"), f"{field}.ref") or _reference(item.get("url"), f"{field}.url")
    if not ref:
        raise FieldProblem(field, "missing", f"{field} has no ref")
    role = word(item.get("role"), f"{field}.role")
    if role and len(role) > MAX_ROLE_CHARS:
        raise FieldProblem(f"{field}.role", "too_long", f"{field}.role has over {MAX_ROLE_CHARS} characters")
    note = ImageNote(
        role=role.lower() if role else None, weight=_weight(item.get("weight"), f"{field}.weight")
    )
    return ref, note if note != ImageNote() else None


def _reference(item: Any, field: str) -> str:
    if item is not None and not isinstance(item, str):
        raise FieldProblem(field, "wrong_type", f"{field} must be a path or an address, not {show(item)}")
    # A file may well have a zero-width character in its name, so only what no name can carry goes.
    return _CONTROL.sub(lambda c: "\ufffd" if c.group() >= "\ud800" else "", item or "").strip()


def _weight(value: Any, field: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_WEIGHT:
        text = f"{field} must be a number from 0 to {MAX_WEIGHT:.0f}, not {show(value)}"
        raise FieldProblem(field, "wrong_type", text)
    return float(value)
