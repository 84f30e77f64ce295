"""Where the local node keeps its things; two environment variables move them.

`ES_XMODAL_CACHE` is what can be downloaded again (jars); `ES_XMODAL_HOME` is what cannot (indices), with
the small file that says which node runs. Without them the usual folders of the operating system are used.
"""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "ES_XMODAL_CACHE"
HOME_VARIABLE = "ES_XMODAL_HOME"
_APP = "es-xmodal"


def cache_dir() -> Path:
    """Folder of the downloaded jars (`$ES_XMODAL_CACHE`, else the user's cache folder)."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute() / "local"
    import platformdirs

    return platformdirs.user_cache_path(_APP, appauthor=False) / "local"


def data_dir() -> Path:
    """Folder below which each version of the local node keeps its indices."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute() / "local"
    import platformdirs

    return platformdirs.user_data_path(_APP, appauthor=False) / "local"


def state_file() -> Path:
    """The file that says which local node this user has running."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute() / "local-node.json"
    import platformdirs

    return platformdirs.user_state_path(_APP, appauthor=False) / "local-node.json"
