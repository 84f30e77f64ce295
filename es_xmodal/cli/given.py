"""What the TEXT argument is: words, or a picture that someone forgot to name with --image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from es_xmodal.query.recognise import recognise


def pictures_in_text(asked: dict[str, Any]) -> tuple[str, ...]:
    """Move a picture that was given as TEXT to where pictures stand, where that is safe.

    A `data:` URI can be nothing else. A path is taken only where such a file exists, since `red.png` may be
    words of a product's name.

    Args:
        asked: the command's arguments; `text` and `images` may be changed.

    Returns:
        What the caller should be told; empty where the text is words.
    """
    found = recognise(asked["text"])
    if found.kind == "data_uri" or (found.kind == "picture" and _is_file(found.value)):
        what = "a data: URI" if found.kind == "data_uri" else "the path of a picture"
        asked["text"], asked["images"] = "", (*asked["images"], found.value)
        return (f"TEXT is {what}, so it is searched as a picture, as with --image",)
    if found.kind == "url":
        asked["text"], asked["images"] = "", (*asked["images"], found.value)
        return ("TEXT is an address, so the picture there is searched, as with --image",)
    return ()


def _is_file(path: str) -> bool:
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # a name too long, ~nobody, NUL
        return False
