"""As a program: `es-xmodal serve` with the encoder of the tests, which needs no model."""

from __future__ import annotations

import sys

from es_xmodal.cli.main import main
from es_xmodal.encoders import registry
from tests.support.encoders import HashEncoder

if __name__ == "__main__":
    registry._LOADERS["hash"] = lambda argument, options: HashEncoder()
    main(["serve", *sys.argv[1:]])
