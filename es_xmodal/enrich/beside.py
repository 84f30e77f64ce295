"""Enrich a copy of the shop's index, for a mapping that cannot take our fields."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from es_xmodal.enrich.copy import Copy, move_alias
from es_xmodal.enrich.layout import check_name_is_free
from es_xmodal.enrich.move import ROUNDS
from es_xmodal.enrich.options import EnrichOptions
from es_xmodal.enrich.place import check_source, find_shop_index
from es_xmodal.enrich.report import EnrichReport
from es_xmodal.enrich.run import OnProgress, run_enrich
from es_xmodal.errors import IndexStateError
from es_xmodal.ingest.options import Parts


def run_beside(
    parts: Parts,
    options: EnrichOptions,
    new: str,
    *,
    swap: bool = False,
    on_progress: OnProgress = lambda tally: None,
) -> EnrichReport:
    """Copy the shop's index into a new one that has room, enrich that, and let the alias stand for it.

    What the shop writes meanwhile is copied after it, until nothing new comes; what it writes between the
    last look and the moment in which its programs write to the copy is taken by the next run.

    Args:
        parts: as for `run_enrich`.
        options: as for `run_enrich`; the index is the one that is copied.
        new: name of the copy; one that an earlier run began is gone on with.
        swap: the alias moves to the copy when it is complete.
        on_progress: as for `run_enrich`.

    Returns:
        What was done.

    Raises:
        IndexStateError: there is no such index, the new name is taken, or `swap` has no alias to move.
        XModalError: as `run_enrich`.
    """
    shop = find_shop_index(parts.client, options.index)
    check_source(shop)
    check_name_is_free(shop.index, shop.mappings)
    if swap and shop.name == shop.index:
        raise IndexStateError(
            f"--swap: {shop.name} is an index and no alias, so its name cannot stand for another one",
            hint="leave --swap out; the command to give it an alias is printed at the end",
        )
    meta = shop.meta
    paths = {**(meta.shop.paths if meta and meta.shop else {}), **options.paths}
    inner = replace(options, index=new, paths=paths, rejects=options.rejects_path)
    copy = Copy(parts.client, shop, new, docs_per_second=options.docs_per_second, options=options.sender)
    copied = copy.run().written
    report = run_enrich(parts, inner, on_progress=on_progress)
    for _ in range(ROUNDS):
        more = copy.run()
        copied += more.written
        if not (more.written or more.deleted):
            break
        later = replace(inner, rejects=Path(f"{options.rejects_path}.later"))
        report = run_enrich(parts, later, on_progress=on_progress).after(report)
    copy.close()
    swapped = move_alias(parts.client, shop, new) if swap else None
    return replace(report, name=options.index, copied_from=shop.index, copied=copied, swapped=swapped)
