"""Imports point only down the list of folders, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PACKAGE = Path(__file__).resolve().parents[2] / "es_xmodal"
# From the top to the bottom; parts on one line do not import each other.
LAYERS = (
    ("cli",),
    ("server",),
    ("shop",),
    ("app",),
    ("evaluation", "kibana"),
    ("enrich",),
    ("adapt", "ingest", "search"),
    ("index",),
    ("encoders",),
    ("store",),
    ("cluster",),
    ("media",),
    ("query",),
    ("text",),
    ("catalog",),
    ("errors", "settings", "vectors", "resources", "_version"),
)
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
BASE = set(LAYERS[-1])
PURE_FORBIDDEN = {"elasticsearch", "elastic_transport", "torch", "os", "time", "random"}
PURE = ("catalog", "text", "query", "index/body.py", "index/quantisation.py")
MAY_TALK_TO_ELASTICSEARCH = {"cluster", "index", "enrich", "ingest", "search"}
HEAVY = (
    "torch",
    "jieba",
    "onnxruntime",
    "elasticsearch",
    "numpy",
    "pydantic",
    "rich",
    "PIL",
    "lmdb",
    "click",
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            if node.module == "es_xmodal":
                yield from (f"es_xmodal.{name.name}" for name in node.names)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def part_of(module: str) -> str | None:
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "es_xmodal" and len(pieces) > 1 else None


def allowed(user: str, used: str) -> bool:
    if user == used or used in ("_version", "errors"):
        return True
    if used == "local" or user == "local":
        return (user == "cli" and used == "local") or (user == "local" and used in BASE)
    return DEPTH[used] > DEPTH[user]


def test_every_folder_has_its_place() -> None:
    parts = {part(path) for path in modules()} - {"__init__", "__main__", "local"}
    assert parts <= set(DEPTH)


def test_imports_point_down() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in modules()
        if part(path) != "__init__" and path.name != "__main__.py"  # an entry point is part of the cli
        for module in imported(path)
        if (used := part_of(module)) and not allowed(part(path), used)
    ]
    assert not wrong


def test_the_test_sees_an_upward_edge() -> None:
    assert not allowed("query", "search")
    assert not allowed("ingest", "search")
    assert not allowed("app", "local")
    assert allowed("search", "query")


@pytest.mark.parametrize("place", PURE)
def test_pure_parts_do_no_io(place: str) -> None:
    root = PACKAGE / place
    paths = [root] if root.is_file() else sorted(root.rglob("*.py"))
    assert paths
    wrong = [f"{p.name}: {m}" for p in paths for m in imported(p) if m.split(".")[0] in PURE_FORBIDDEN]
    assert not wrong


def test_only_some_parts_talk_to_elasticsearch() -> None:
    users = {
        part(path)
        for path in modules()
        for module in imported(path)
        if module.split(".")[0] in ("elasticsearch", "elastic_transport")
    }
    assert users <= MAY_TALK_TO_ELASTICSEARCH


def test_only_encoders_import_torch() -> None:
    users = {part(p) for p in modules() for m in imported(p) if m.split(".")[0] == "torch"}
    assert users <= {"encoders"}


def loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import es_xmodal") & set(HEAVY)


def test_help_loads_neither_server_client_nor_models() -> None:
    code = "from es_xmodal.cli.main import run, root\nrun(root, ['--help'])"
    assert not loaded_by(code) & {"torch", "jieba", "onnxruntime", "elasticsearch", "numpy", "PIL", "lmdb"}


def test_public_names_can_all_be_loaded() -> None:
    import es_xmodal

    assert sorted(es_xmodal.__all__) == [
        "Filter",
        "Hit",
        "Query",
        "SearchResult",
        "Settings",
        "Shop",
        "XModalError",
        "__version__",
    ]
    for name in es_xmodal.__all__:
        assert getattr(es_xmodal, name)
    with pytest.raises(AttributeError):
        es_xmodal.nothing_of_that_name  # noqa: B018
