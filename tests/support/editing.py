"""As a program: edits slow enough to be killed in the middle."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from es_xmodal.ingest.sender import Sender, SenderOptions
from tests.support.ingesting import ingest_catalog


def main(url: str, catalog: str, index: str, how: str) -> None:
    """Wait before each request."""
    send = Sender._send_once

    def slow(self: Sender, items: Any, held: Any) -> Any:
        time.sleep(0.1)
        return send(self, items, held)

    Sender._send_once = slow  # type: ignore[method-assign]
    options: dict[str, Any] = {"update": {"update": True}}.get(
        how, {"delete_missing": True, "delete_limit": 100.0}
    )
    sender = SenderOptions(max_docs=5, threads=1)
    ingest_catalog(url, Path(catalog), index, sender=sender, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
