"""A real Elasticsearch on this machine, for trying and testing.

`LocalNode` is a node for the length of a `with` block; `running_url()` finds the one that `es-xmodal up`
started. Both are imported when they are first used: the second is asked for by every command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from es_xmodal.local.node import LocalNode
    from es_xmodal.local.state import running_url

__all__ = ["LocalNode", "running_url"]

_HOMES = {"LocalNode": "node", "running_url": "state"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
