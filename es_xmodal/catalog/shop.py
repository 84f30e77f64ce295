"""Between a shop's own Elasticsearch documents and products. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from es_xmodal.catalog.deletion import Deletion
from es_xmodal.catalog.document import to_document
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.catalog.row import parse_row

_ABSENT: Any = object()


def pick(source: Any, path: str) -> Any:
    """Return what a document has at a dotted path.

    Args:
        source: `_source` of a document; its keys may hold dots, as Elasticsearch allows.
        path: such as `vendor.name`.

    Returns:
        The value, of a list of objects a list of theirs; None where there is none.
    """
    found = _pick(source, path)
    return None if found is _ABSENT else found


def _pick(value: Any, path: str) -> Any:
    if isinstance(value, list):
        parts = [part for part in (pick(item, path) for item in value) if part is not None]
        flat = [one for part in parts for one in (part if isinstance(part, list) else [part])]
        return flat or _ABSENT
    if not isinstance(value, Mapping):
        return _ABSENT
    if path in value:
        return value[path]
    for at in (at for at, letter in enumerate(path) if letter == "."):
        head, rest = path[:at], path[at + 1 :]
        if head in value:
            found = _pick(value[head], rest)
            if found is not _ABSENT:
                return found
    return _ABSENT


def read_shop(
    source: Mapping[str, Any], *, id_: str, line: int, paths: Mapping[str, str]
) -> Product | Reject:
    """Read a shop's document as a product.

    Args:
        source: `_source`, or the part of it that `paths` name.
        id_: `_id` of the document.
        line: its number, for rejects.
        paths: field of the catalogue format to the dotted path that it has in the documents.

    Returns:
        The product, its id that of the document unless `paths` names another; or a reject that names the
        field and the reason.
    """
    row: dict[str, Any] = {"id": id_}
    for field, path in paths.items():
        value = pick(source, path)
        if value is not None:
            row[field] = _single(value) if field not in _SEVERAL else value
    found = parse_row(row, line=line, sources=paths)
    assert not isinstance(found, Deletion)  # no path names `deleted`, which says that a row is one
    return found


_SEVERAL = frozenset({"category", "images", "attributes", "identifiers"})


def _single(value: Any) -> Any:
    """Elasticsearch takes a list wherever it takes a value; a list of one is that value."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def shop_document(source: Mapping[str, Any], *, id_: str, paths: Mapping[str, str]) -> dict[str, Any]:
    """Show a shop's document in the form of our own.

    Args:
        source: `_source` without what this project wrote.
        id_: `_id` of the document.
        paths: as for `read_shop`.

    Returns:
        A document for `from_document`: the parts of the product by their names, all fields of the shop beside
        them under theirs; a field of the shop that has the name of a part and is not one is under
        `replaced.NAME`. A document that cannot be read as a product has its id and its own fields.
    """
    product = read_shop(source, id_=id_, line=0, paths=paths)
    if not isinstance(product, Product):
        return {"id": id_, "extra": {key: value for key, value in source.items() if key != "id"}}
    document = to_document(product)
    document.pop("extra", None)
    if product.images:
        document["images"] = [{"ref": ref} for ref in product.images]
    return {**document, "extra": dict(_beside(source, document, paths))}


def _beside(
    source: Mapping[str, Any], document: Mapping[str, Any], paths: Mapping[str, str]
) -> Iterable[tuple[str, Any]]:
    for key, value in source.items():
        if paths.get(key) == key:  # it is that part
            continue
        yield (f"replaced.{key}" if key in document else key), value
