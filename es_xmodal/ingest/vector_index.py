"""Which kind of vector index an ingest writes: what was asked for, what is there, or what the rule says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from es_xmodal.catalog.estimate import CatalogSize, estimate_size
from es_xmodal.cluster.capabilities import probe
from es_xmodal.errors import SettingsError
from es_xmodal.index.combining import Combining, vector_fields
from es_xmodal.index.quantisation import AUTO, KINDS, Choice, Facts, FieldFacts, choose, price, refusal
from es_xmodal.index.stored_vectors import count_vectors
from es_xmodal.index.target import Target, load_target

if TYPE_CHECKING:
    from es_xmodal.ingest.options import IngestOptions, Parts


def vector_index_for(
    parts: Parts, options: IngestOptions, combining: Combining, serving: Target | None
) -> Choice:
    """Choose the kind of vector index.

    An index that is brought up to date keeps the kind that it has: it cannot be changed in place.

    Args:
        parts: cluster and encoder.
        options: the catalogue, the kind that was asked for (`auto`: the rule), and the products to expect.
        combining: which vector fields there will be.
        serving: the index that is brought up to date; None: a new one is built.

    Returns:
        The kind and the reason.

    Raises:
        SettingsError: the server does not take the kind that was asked for, or `expect` would have no effect.
        CatalogError: the catalogue cannot be read.
    """
    asked = options.vector_index
    if asked != AUTO and options.expect is not None:
        raise SettingsError(
            f"expect {options.expect} has no effect on vector_index {asked}", hint="say vector_index auto"
        )
    if serving is not None:
        return _kept(asked, options.expect, serving)
    if asked != AUTO:
        facts = _facts(parts, combining, None)
        reason = refusal(asked, facts)
        if reason is not None:
            raise SettingsError(f"vector_index {asked} {reason}", hint="auto takes what the server has")
        cost = price(asked, facts)
        return Choice(type=asked, reason=f"asked for; {cost}" if cost else "asked for")
    size = _size_of_index(parts, options) or estimate_size(options.catalog, renames=options.renames)
    if options.expect is not None:
        size = size.scaled(options.expect)
    choice = choose(_facts(parts, combining, size))
    how = "expected" if options.expect is not None else "counted" if size.counted else "estimated"
    return Choice(type=choice.type, reason=f"{choice.reason}; {size.products:,} products {how}")


def _size_of_index(parts: Parts, options: IngestOptions) -> CatalogSize | None:
    """How much there is to index, where the rows are those of the version that serves."""
    if not options.from_index:
        return None
    target = load_target(parts.client, options.index)
    products, counts = count_vectors(parts.client, target)
    pictures = max((count for name, count in counts.items() if "." in name), default=products)
    return CatalogSize(products=products, pictures=pictures, several=pictures > products, counted=True)


def _kept(asked: str, expect: int | None, serving: Target) -> Choice:
    if expect is not None:
        raise SettingsError(
            f"expect {expect} has no effect on {serving.index}, whose kind of vector index is settled",
            hint="with --rebuild a new version is made beside it",
        )
    kinds = {str(one.get("type")) for one in serving.index_options.values()} & KINDS.keys()
    there = min(kinds, default="hnsw")
    if asked in (AUTO, there):
        return Choice(type=there, reason="what the index has; --rebuild chooses anew")
    return Choice(type=asked, reason="asked for")


def _facts(parts: Parts, combining: Combining, size: CatalogSize | None) -> Facts:
    able = probe(parts.client)
    info = parts.encoder.info
    fields = vector_fields(combining, info.spaces, info.text_space).values()
    return Facts(
        fields=tuple(
            FieldFacts(
                name=one.path,
                dims=one.dim,
                vectors=None if size is None else (size.pictures if "." in one.path else size.products),
                nested="." in one.path,
            )
            for one in fields
        ),
        version=able.version,
        license=able.active_license,
        several_pictures=size is not None and size.several and any("." in one.path for one in fields),
    )
