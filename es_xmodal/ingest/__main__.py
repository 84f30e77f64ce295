"""`python -m es_xmodal.ingest CATALOG` is `es-xmodal ingest CATALOG`."""

import sys

from es_xmodal.cli.ingest import ingest
from es_xmodal.cli.main import run

if __name__ == "__main__":
    sys.exit(run(ingest, name="es_xmodal.ingest"))
