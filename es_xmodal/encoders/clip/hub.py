"""Names of models to folders on this machine, and packages that must be there."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from es_xmodal.errors import EncoderError, MissingExtraError

_SMALL = ["*.json", "*.txt", "*.model", "README.md"]


def require(spec: str, *packages: str) -> None:
    """Import packages of the extra `clip`.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            missing = (error.name or package).partition(".")[0]
            raise MissingExtraError(
                f"encoder {spec} needs the Python package {missing}", extra="clip"
            ) from None


def model_folder(name: str, *, spec: str, weights: Sequence[Sequence[str]]) -> Path:
    """Return the folder of a model: the one that is named, or the hub's copy in the cache of this machine.

    Args:
        name: a folder, or `organisation/model` on the hub.
        spec: for messages.
        weights: groups of file patterns, best first; the first group that the model has is taken.

    Raises:
        EncoderError: there is no such folder, or neither cache nor hub has the model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not name or name.count("/") > 1 or name[0] in "/.~\\" or "\\" in name:
        raise EncoderError(f"encoder {spec}: there is no folder {name!r}")
    found: Path | None = None
    for patterns in weights:
        found = _downloaded(name, spec, [*_SMALL, *patterns])
        if any(next(found.glob(pattern), None) for pattern in patterns):
            break
    assert found is not None
    return found


def small_files(name: str, *, spec: str) -> Path:
    """Return the folder of a model's configuration and tokenizer, without its weights.

    Raises:
        EncoderError: as `model_folder`.
    """
    return model_folder(name, spec=spec, weights=[[]])


def _downloaded(name: str, spec: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # network, permission, spelling: the hub's client has an error for each
        reason = " ".join(str(error).split())[:160]
        raise EncoderError(
            f"encoder {spec}: {name!r} is not in this machine's cache, and the hub did not give it:"
            f" {type(error).__name__}: {reason}",
            hint="fetch it where there is a network and name its folder as local:DIR; "
            "HF_HUB_OFFLINE=1 looks into the cache only",
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' bars and remarks away while a model is loaded: what matters becomes an error."""
    from transformers.utils import logging as library

    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()
