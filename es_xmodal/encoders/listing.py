"""What encoders are there, told without loading one, nor a library that one needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import Any, Final

from es_xmodal.encoders.registry import DEFAULT_SPEC, built_in_kinds, foreign_kinds

_OWN: Final = "es-xmodal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of encoder.

    Attributes:
        kind: the first part of its SPEC.
        spec: how its SPEC is written.
        about: one line for people.
        package: the distribution that brings it, and its version.
        spaces: space to dimensions; empty where the model decides.
        languages: BCP 47 codes; empty where the model decides.
        licence: of the weights; empty where the model decides.
        device: where it runs.
        missing: libraries that it needs and that are not installed.
        install: what installs them; empty where nothing is missing.
        default: whether it is used when none is named.
    """

    kind: str
    spec: str
    about: str
    package: str = _OWN
    version: str = ""
    spaces: Mapping[str, int] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    licence: str = ""
    device: str = ""
    missing: tuple[str, ...] = ()
    install: str = ""

    @property
    def default(self) -> bool:
        """Whether it is used when none is named."""
        return self.spec == DEFAULT_SPEC

    def to_json(self) -> dict[str, Any]:
        """JSON values only."""
        return {**asdict(self), "installed": not self.missing, "default": self.default}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    spec: str
    about: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    device: str = "CPU, CUDA, MPS"


_FACTS: Final[Mapping[str, _Facts]] = {
    "mini": _Facts(spec="mini", about="in the package, works offline", needs=("onnxruntime",), device="CPU"),
    "open_clip": _Facts(
        spec="open_clip:ARCH@PRETRAINED",
        about="a model of the open_clip library",
        needs=("torch", "open_clip"),
        extra="clip",
    ),
    "transformers": _Facts(
        spec="transformers:NAME",
        about="CLIP, SigLIP or Chinese-CLIP of the transformers library",
        needs=("torch", "transformers"),
        extra="clip",
    ),
    "local": _Facts(
        spec="local:DIR",
        about="a model of either library, saved in a folder",
        needs=("torch", "transformers", "open_clip"),
        extra="clip",
    ),
    "onnx": _Facts(
        spec="onnx:DIR",
        about="a folder that `export` wrote",
        needs=("onnxruntime", "tokenizers"),
        extra="onnx",
        device="CPU, CUDA",
    ),
    "adapted": _Facts(
        spec="DIR",
        about="a folder that `adapt` wrote",
        device="as its base",
    ),
    "http": _Facts(
        spec="http:URL[#model=NAME]",
        about="an embedding service",
        device="the service",
    ),
}


def list_encoders() -> list[Kind]:
    """Return the kinds that can be named in a SPEC: ours, then those of other packages.

    Returns:
        One entry a kind; nothing heavy is imported.
    """
    own = [_built_in(name) for name in sorted(built_in_kinds(), key=_place)]
    return own + [_foreign(point) for _, point in sorted(foreign_kinds().items())]


def described() -> frozenset[str]:
    """Return the built-in kinds of which `list_encoders` knows more than the name."""
    return frozenset(_FACTS)


def _place(name: str) -> tuple[int, str]:
    known = list(_FACTS)
    return (known.index(name) if name in known else len(known)), name


def _built_in(name: str) -> Kind:
    facts = _FACTS.get(name, _Facts(spec=f"{name}:...", about=""))
    missing = tuple(module for module in facts.needs if find_spec(module) is None)
    install = f"pip install 'es-xmodal[{facts.extra}]'" if facts.extra else "install es-xmodal again"
    return Kind(
        kind=name,
        spec=facts.spec,
        about=facts.about,
        version=_version(),
        device=facts.device,
        missing=missing,
        install=install if missing else "",
        **(_mini() if name == "mini" else {}),
    )


def _mini() -> dict[str, Any]:
    """What `mini` says of itself, without its weights."""
    from es_xmodal.encoders.base import JOINT, TEXT, VISUAL
    from es_xmodal.encoders.mini.spaces import JOINT_DIM, VISUAL_DIM
    from es_xmodal.encoders.mini.text import DIM

    return {
        "spaces": {JOINT: JOINT_DIM, VISUAL: VISUAL_DIM, TEXT: DIM},
        "languages": ("en", "zh"),
        "licence": "Apache-2.0 AND MIT",
    }


def _foreign(point: EntryPoint) -> Kind:
    metadata: Mapping[str, Any] = point.dist.metadata.json if point.dist else {}
    return Kind(
        kind=point.name,
        spec=f"{point.name}:...",
        about=str(metadata.get("summary") or ""),
        package=str(metadata.get("name") or point.module),
        version=str(metadata.get("version") or ""),
    )


def _version() -> str:
    from es_xmodal._version import __version__

    return __version__
