"""Is an index what it says it is?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import ClusterAnswerError, ClusterRefusedError, FingerprintMismatchError
from es_xmodal.index.closing import reopen_abandoned
from es_xmodal.index.meta import IndexMeta
from es_xmodal.index.names import base_name
from es_xmodal.index.target import Target, load_target
from es_xmodal.index.versions import Version, list_versions
from es_xmodal.query.legs import MEAN_FIELDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    field: str | None = None
    """The vector field that was counted."""
    count: int | None = None
    """Products, or products that have the field."""


def check_index(client: Elasticsearch, name: str, *, encoder: str | None, text: str | None) -> list[Finding]:
    """Look at everything that can be wrong with the index behind an alias.

    Args:
        client: see `connect`.
        name: the alias.
        encoder: fingerprint of the encoder in use; None: not compared.
        text: fingerprint of the tokeniser in use; None: not compared.

    Returns:
        What was found, good and bad.

    Raises:
        IndexMissingError: there is no such index.
        ForeignIndexError: it was not made by this project.
        ClusterAnswerError: a shard did not answer.
        ClusterError: the cluster cannot be reached or refuses.
    """
    target = load_target(client, name)
    versions = _versions(client, name, target)
    findings = [
        Finding(
            what="state", ok=target.meta.state == "complete", detail=f"{target.index}, {target.meta.state}"
        ),
        *_fingerprints(target.meta, encoder=encoder, text=text),
        Finding(what="vectors", ok=True, detail=str(target.meta.combining)),
        *_coverage(client, target),
    ]
    left = [one.index for one in versions if one.state == "abandoned"]
    detail = f"half built and abandoned: {', '.join(left)}" if left else "none half built"
    return [
        *findings,
        _writers(client, versions),
        Finding(what="other versions", ok=not left, detail=detail),
    ]


def _writers(client: Elasticsearch, versions: list[Version]) -> Finding:
    """Whether anybody holds writers back; who is dead does not any more."""
    try:
        reopened = reopen_abandoned(client, versions)
    except ClusterRefusedError as error:
        return Finding(what="writers", ok=False, detail=str(error))
    if reopened:
        detail = f"let in again to {', '.join(reopened)}: the process that held them back is dead"
        return Finding(what="writers", ok=True, detail=detail)
    waiting = [one for one in versions if one.meta and one.meta.closed]
    if waiting:
        detail = f"wait: another version is taking the place of {waiting[0].index}"
        return Finding(what="writers", ok=True, detail=detail)
    return Finding(what="writers", ok=True, detail="let in")


def _versions(client: Elasticsearch, name: str, target: Target) -> list[Version]:
    """Those of the alias; an index that was asked for by its own name has those of the alias in its name."""
    alias = base_name(name) if target.index == name else name
    return list_versions(client, alias) if alias else []


def _fingerprints(meta: IndexMeta, *, encoder: str | None, text: str | None) -> list[Finding]:
    found: list[Finding] = []
    for what, current, check, stored in (
        ("encoder", encoder, meta.check_encoder, meta.encoder.fingerprint),
        ("tokeniser", text, meta.check_text, meta.text_fingerprint),
    ):
        if current is None:
            continue
        try:
            check(current)
            found.append(Finding(what=what, ok=True, detail=stored))
        except FingerprintMismatchError as error:
            found.append(Finding(what=what, ok=False, detail=str(error)))
    return found


def _coverage(client: Elasticsearch, target: Target) -> list[Finding]:
    names = target.meta.names
    total = _count(client, target.index, {"match_all": {}})
    found = [Finding(what="documents", ok=total > 0, detail=str(total), count=total)]
    if "text_vector" in target.fields:
        count = _count(client, target.index, {"exists": {"field": names.at("text_vector")}})
        detail = f"{count} of {total}"
        found.append(
            Finding(
                what="with a text vector", ok=count == total, detail=detail, field="text_vector", count=count
            )
        )
    if "fused_vector" in target.fields:
        count = _count(client, target.index, {"exists": {"field": names.at("fused_vector")}})
        what = "with a vector of text and pictures"
        detail = f"{count} of {total}"
        found.append(Finding(what=what, ok=count == total, detail=detail, field="fused_vector", count=count))
    for field in ("images.joint", "images.visual", *MEAN_FIELDS.values()):
        if field in target.fields:
            exists: dict[str, Any] = {"exists": {"field": names.at(field)}}
            nested = {"nested": {"path": names.at("images"), "query": exists}}
            count = _count(client, target.index, nested if "." in field else exists)
            detail = f"{count} of {total}"
            found.append(Finding(what=f"with {field}", ok=True, detail=detail, field=field, count=count))
    return found


def _count(client: Elasticsearch, index: str, query: dict[str, Any]) -> int:
    """What a search would find now: no refresh before it, a check changes nothing."""
    with cluster_errors(client, f"counting in {index}"):
        answer = client.count(index=index, query=query).body
    failed = int(answer["_shards"]["failed"])
    if failed:
        raise ClusterAnswerError(
            f"counting in {index}: {failed} of {answer['_shards']['total']} shards failed"
        )
    return int(answer["count"])
