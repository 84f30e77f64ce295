"""As a program: a rebuild that stops in the window in which writers are held back, and waits to be killed."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from es_xmodal.index import lifecycle
from tests.support.encoders import HashEncoder
from tests.support.ingesting import ingest_catalog


def main(url: str, catalog: str, index: str) -> None:
    def stop(*given: Any, **named: Any) -> None:
        print("held back", flush=True)
        threading.Event().wait()

    setattr(lifecycle, "swap", stop)  # noqa: B010 - a name that the module does not export
    ingest_catalog(url, Path(catalog), index, rebuild=True, encoder=HashEncoder(fingerprint="hash-2"))


if __name__ == "__main__":
    main(*sys.argv[1:])
