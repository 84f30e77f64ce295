"""What a cluster lacks and what that costs the caller. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from es_xmodal.cluster.capabilities import ANALYZERS, RETRIEVERS, Capabilities
from es_xmodal.index.advice import Diagnosis, found, good

_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}
_SIZE = re.compile(r"([\d.]+)\s*([kmgtp]?b)", re.IGNORECASE)
_BUILT_IN = ("english", "cjk")
"""Every distribution has these; the rest comes with plugins, and a shop has those that it needs."""
_MARKS = (("flood_stage", "disk-high"), ("high", "disk-high"), ("low", "disk-low"))


def ability_findings(capabilities: Capabilities) -> list[Diagnosis]:
    """Say what the cluster can do, and what each thing that it cannot do costs.

    Args:
        capabilities: see `es_xmodal.cluster.capabilities.survey`.

    Returns:
        One finding for each ability.
    """
    version = ".".join(map(str, capabilities.version))
    return [
        good("version", f"Elasticsearch {version}"),
        _nodes(capabilities),
        _retrievers(capabilities),
        _asked("scripts", capabilities.scripts, "no-scripts", "inline Painless"),
        _analyzers(capabilities),
        _there("base64 vectors", capabilities.base64_vectors, "no-base64", "base64 strings as vectors"),
        _there(
            "rescore_vector", capabilities.rescore_vector, "no-rescore", "exact scores of quantised vectors"
        ),
    ]


def _nodes(capabilities: Capabilities) -> Diagnosis:
    if capabilities.data_nodes is None:
        return found("not-asked", "nodes", "how many nodes there are is not known")
    detail = f"{capabilities.nodes} nodes, {capabilities.data_nodes} hold data"
    return found("one-node", "nodes", detail) if capabilities.data_nodes < 2 else good("nodes", detail)


def _retrievers(capabilities: Capabilities) -> Diagnosis:
    licence = f"licence {capabilities.license}" if capabilities.license else "no licence API"
    if capabilities.license_status not in (None, "active", "absent"):
        licence += f", {capabilities.license_status}"
    allowed = {name: capabilities.allows(name) for name in RETRIEVERS}
    lacking = [name for name, value in allowed.items() if value is False]
    if capabilities.refused:
        licence += f"; refused: {', '.join(sorted(capabilities.refused))}"
    if lacking:
        return found("no-retrievers", "licence", f"{licence}; without {', '.join(lacking)}")
    if None in allowed.values():
        return found("not-asked", "licence", "the licence may not be asked for; only trying tells")
    return good("licence", f"{licence}; {', '.join(allowed)}")


def _analyzers(capabilities: Capabilities) -> Diagnosis:
    if capabilities.analyzers is None:
        return found("not-asked", "analyzers", "which analyzers there are is not known")
    there = ", ".join(name for name in ANALYZERS if name in capabilities.analyzers)
    lacking = [name for name in _BUILT_IN if name not in capabilities.analyzers]
    if lacking:
        return found("few-analyzers", "analyzers", f"{there or 'none'}; without {', '.join(lacking)}")
    return good("analyzers", there)


def _asked(about: str, there: bool | None, code: str, what: str) -> Diagnosis:
    if there is None:
        return found("not-asked", about, f"whether there is {what} is not known")
    return _there(about, there, code, what)


def _there(about: str, there: bool, code: str, detail: str) -> Diagnosis:
    return good(about, detail) if there else found(code, about, f"no {detail}")


def disk_findings(nodes: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """Compare the free disk of each node with the watermarks.

    Args:
        nodes: `nodes` of `GET _nodes/stats/fs`.
        settings: `GET _cluster/settings?include_defaults`, not flat.

    Yields:
        One finding for each node that holds data; one in all where the watermarks are off.
    """
    disk = _disk_settings(settings)
    if str(disk.get("threshold_enabled", "true")) == "false":
        yield good("disk", "watermarks are switched off")
        return
    marks = disk.get("watermark") or {}
    for node in nodes.values():
        total = (node.get("fs") or {}).get("total") or {}
        size, free = int(total.get("total_in_bytes", 0)), int(total.get("available_in_bytes", 0))
        holds_data = any(str(role).startswith("data") for role in node.get("roles", ("data",)))
        if size <= 0 or not holds_data:
            continue
        about = f"disk of {node.get('name', 'a node')}"
        detail = f"{free / 2**30:.1f} of {size / 2**30:.1f} GiB free"
        for name, code in _MARKS:
            if free < _free_needed(size, marks.get(name), marks.get(f"{name}.max_headroom")):
                yield found(code, about, f"{detail}; watermark {name} {marks[name]}")
                break
        else:
            yield good(about, detail)


def _disk_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Transient over persistent over default."""
    merged: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    for level in ("defaults", "persistent", "transient"):
        found_there: Any = settings.get(level) or {}
        for name in ("cluster", "routing", "allocation", "disk"):
            found_there = found_there.get(name) or {}
        merged |= found_there
        marks |= _flat(found_there.get("watermark") or {})
    return {**merged, "watermark": marks}


def _flat(marks: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"low": {"max_headroom": x}}` and `{"low.max_headroom": x}` are the same setting."""
    flat: dict[str, Any] = {}
    for name, value in marks.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _free_needed(size: int, mark: Any, headroom: Any) -> float:
    """Bytes that must be free; 0 where the mark cannot be read."""
    text = str(mark or "").strip()
    try:
        if text.endswith("%"):
            needed = size * (1 - float(text[:-1]) / 100)
        elif _SIZE.fullmatch(text):
            return _bytes(text)
        else:
            needed = size * (1 - float(text))
    except ValueError:
        return 0.0
    most = _bytes(str(headroom or ""))
    return min(needed, most) if most else needed


def _bytes(text: str) -> float:
    size = _SIZE.fullmatch(text.strip())
    return float(size[1]) * _UNITS[size[2].lower()] if size else 0.0
