"""What is wrong here: the abilities of a cluster and the traps of an index.

Changes nothing, but that it lets writers back in whom a dead process held back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from elastic_transport import ObjectApiResponse
from elasticsearch import Elasticsearch

from es_xmodal.cluster.capabilities import Capabilities, survey
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.encoders.base import EncoderInfo
from es_xmodal.errors import ClusterAnswerError, EncoderError, ForeignIndexError, IndexStateError
from es_xmodal.index.abilities import ability_findings, disk_findings
from es_xmodal.index.advice import Diagnosis, found, good
from es_xmodal.index.check import Finding, check_index
from es_xmodal.index.foreign import foreign_findings
from es_xmodal.index.meta import IndexMeta, parse_meta
from es_xmodal.index.names import check_name
from es_xmodal.index.target import find_indices, load_target
from es_xmodal.index.traps import IndexFacts, look

# What `check_index` looks at -> the finding where it is not as it should be.
_CODES = {
    "state": "unfinished",
    "encoder": "encoder-mismatch",
    "tokeniser": "tokeniser-mismatch",
    "documents": "empty",
    "with a text vector": "no-text-vectors",
    "with a vector of text and pictures": "no-text-vectors",
    "other versions": "half-built",
    "writers": "held-back",
}
_NOT_TOLD = (400, 403, 404, 405, 410)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What an index is compared with."""

    encoder_for: Callable[[str], EncoderInfo]
    """Encoder SPEC of the index -> the encoder that a search would load."""
    text: str
    """Fingerprint of the tokeniser in use."""
    window: int
    """Candidates a leg."""


def diagnose_cluster(client: Elasticsearch) -> list[Diagnosis]:
    """Say what the cluster can do, what the rest costs, and how full its disks are.

    Args:
        client: see `connect`.

    Returns:
        What was found, good and bad.

    Raises:
        ClusterError: the cluster cannot be reached, is none, or is too old.
    """
    findings = ability_findings(survey(client))
    with cluster_errors(client, "asking for the free disk"):
        asking = client.options(ignore_status=_NOT_TOLD)
        nodes = _told(
            asking.nodes.stats(metric="fs", filter_path="nodes.*.name,nodes.*.roles,nodes.*.fs.total")
        )
        settings = _told(
            asking.cluster.get_settings(
                include_defaults=True, filter_path="*.cluster.routing.allocation.disk"
            )
        )
    if nodes is None or settings is None:
        return [*findings, found("not-asked", "disk", "how full the disks are is not known")]
    return [*findings, *disk_findings(nodes.get("nodes") or {}, settings)]


def diagnose_index(client: Elasticsearch, name: str, asked: Asked) -> list[Diagnosis]:
    """Check an index, this project's or any other, for everything that is known to go wrong.

    Args:
        client: see `connect`.
        name: alias or index.
        asked: what it is compared with.

    Returns:
        What was found, good and bad.

    Raises:
        SettingsError: the name can name no index.
        IndexMissingError: there is none.
        ClusterError: the cluster cannot be reached or refuses.
    """
    bodies = find_indices(client, check_name(name))
    if not bodies:
        load_target(client, name)  # raises, and names the nearest that there is
    capabilities = survey(client)
    findings: list[Diagnosis] = []
    if len(bodies) > 1:
        findings.append(found("alias-several", name, ", ".join(sorted(bodies))))
    for index, body in sorted(bodies.items()):
        alone = name if len(bodies) == 1 else index
        findings += _one_index(client, alone, index, body, capabilities=capabilities, asked=asked)
    return findings


def _one_index(
    client: Elasticsearch,
    name: str,
    index: str,
    body: Mapping[str, Any],
    *,
    capabilities: Capabilities,
    asked: Asked,
) -> list[Diagnosis]:
    mappings = body.get("mappings") or {}
    meta, encoder, findings = None, None, []
    unused: frozenset[str] = frozenset()
    documents: int | None = None
    try:
        meta = parse_meta(index, mappings)
    except ForeignIndexError:
        findings = foreign_findings(index, mappings)
    except IndexStateError as error:
        findings = [found("unreadable", index, str(error))]
    if meta is not None:
        encoder, findings = _encoder(meta, asked)
        checked = _checked(client, name, encoder, asked)
        if isinstance(checked, Diagnosis):
            findings.append(checked)
        else:
            findings += _from_check(checked)
            unused = frozenset(one.field for one in checked if one.field and not one.count)
            documents = next((one.count for one in checked if one.what == "documents"), None)
    health, stats, not_told = _state(client, index)
    facts = IndexFacts(
        index=index,
        body=body,
        capabilities=capabilities,
        meta=meta,
        encoder=encoder,
        health=health,
        stats=stats,
        unused=unused,
        documents=documents,
        window=asked.window,
    )
    found_all = [*findings, *look(facts), *not_told]
    return [_for_shop(one) for one in found_all] if meta and meta.shop else found_all


def _for_shop(one: Diagnosis) -> Diagnosis:
    """An index that a shop made is mended by `enrich`, not by `ingest`."""
    fix = one.fix.replace("es-xmodal ingest CATALOG --rebuild", "es-xmodal enrich INDEX --to NEW")
    return replace(one, fix=fix.replace("es-xmodal ingest CATALOG", "es-xmodal enrich INDEX --all"))


def _encoder(meta: IndexMeta, asked: Asked) -> tuple[EncoderInfo | None, list[Diagnosis]]:
    """The encoder that a search of this index would load."""
    try:
        return asked.encoder_for(meta.encoder.spec), []
    except EncoderError as error:
        return None, [found("encoder-missing", f"encoder {meta.encoder.spec}", str(error))]


def _checked(
    client: Elasticsearch, name: str, encoder: EncoderInfo | None, asked: Asked
) -> list[Finding] | Diagnosis:
    """What `check_index` finds; that shards are missing must not hide what else there is to say."""
    fingerprint = encoder.fingerprint if encoder else None
    try:
        return check_index(client, name, encoder=fingerprint, text=asked.text)
    except (ClusterAnswerError, IndexStateError) as error:
        return found("not-counted", name, str(error))


def _from_check(checked: list[Finding]) -> list[Diagnosis]:
    total = next((one.count for one in checked if one.what == "documents"), 0)
    findings = []
    for one in checked:
        if not one.ok:
            findings.append(found(_CODES[one.what], one.what, one.detail))
        elif one.field and one.field not in ("text_vector", "fused_vector") and one.count != total:
            findings.append(found("no-pictures", one.what, _share(one.count or 0, total or 0)))
        else:
            findings.append(good(one.what, one.detail))
    return findings


def _share(count: int, total: int) -> str:
    without = total - count
    return f"{count} of {total}; {without} products ({100 * without / max(total, 1):.0f} %) without"


def _state(client: Elasticsearch, index: str) -> tuple[Mapping[str, Any], Mapping[str, Any], list[Diagnosis]]:
    """Health and statistics; what may not be asked is a note."""
    with cluster_errors(client, f"asking how {index} is"):
        asking = client.options(ignore_status=_NOT_TOLD)
        health = _told(asking.cluster.health(index=index))
        stats = _told(
            asking.indices.stats(
                index=index,
                metric="docs,segments",
                filter_path="_all.primaries.docs,_all.primaries.segments.count",
            )
        )
    notes = [
        found("not-asked", what, f"{what} of {index} is not known")
        for what, answer in (("health", health), ("segments", stats))
        if answer is None
    ]
    return health or {}, ((stats or {}).get("_all") or {}).get("primaries") or {}, notes


def _told(answer: ObjectApiResponse[Any]) -> dict[str, Any] | None:
    return dict(answer.body) if answer.meta.status == 200 else None
