"""What README.md and docs/*.md tell people to type works; `tests/e2e/blocks.py` says how a page says so."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.blocks import Block, Expected, read_blocks
from tests.e2e.stand_in import INSIDE, PREFIX, with_prefix
from tests.support.cli import REPOSITORY, SAMPLE, Ran, environment
from tests.support.nodes import delete_everything_named

pytestmark = pytest.mark.e2e

PAGES = [*sorted(REPOSITORY.glob("README*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCKS = {page.relative_to(REPOSITORY).as_posix(): read_blocks(page) for page in PAGES}
RUN = [name for name, blocks in BLOCKS.items() if any(block.expected for block in blocks)]
PROGRAMS = ("es-xmodal", "python", "python3", "pip", "make")
ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):9200")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vector store for all pages and servers."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as a reader would have it: the sample as the shop's own catalogue, and a photo."""
    here = tmp_path / "shop"
    shutil.copytree(SAMPLE, here)
    shutil.copy(SAMPLE / "photos" / "yellow-chair.jpg", here / "photo.jpg")
    for name in ("ingest", "examples"):
        if (REPOSITORY / name).is_dir():
            (here / name).symlink_to(REPOSITORY / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    stand_in = REPOSITORY / "tests" / "e2e" / "stand_in.py"
    for name in PROGRAMS:
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(stand_in), name])} "$@"\n')
        script.chmod(0o755)
    return here


@pytest.fixture
def variables(es_url: str, place: Path, data_dir: Path) -> Iterator[dict[str, str]]:
    """The environment of a page; what it indexed is deleted afterwards."""
    prefix = f"t{secrets.token_hex(5)}-"
    path = f"{place.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    yield {
        **environment(place.parent),
        "ES_XMODAL_URL": es_url,
        "ES_XMODAL_DATA_DIR": str(data_dir),
        PREFIX: prefix,
        "PATH": path,
    }
    delete_everything_named(es_url, prefix)


def run_block(block: Block, place: Path, variables: dict[str, str]) -> Ran:
    """Run one block as its page says."""
    text = ADDRESS.sub(variables["ES_XMODAL_URL"], block.text)
    prefix = variables[PREFIX]
    if block.language == "python":
        text = re.sub(r'(?<=index=")', prefix, text)
        command = [sys.executable, "-c", text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        command, cwd=place, env=variables, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    out, err = (raw.decode().replace(prefix, "") for raw in (done.stdout, done.stderr))
    return Ran(done.returncode, out, err)


def check(block: Block, done: Ran, place: Path) -> None:
    """Hold what a block did against what its page says."""
    assert block.expected is not None
    story = f"{block.where}\n{block.text}\n{done.out}{done.err}"
    assert done.code == block.expected.code, story
    for stream, texts in ((done.out, block.expected.out), (done.err, block.expected.err)):
        for text in texts:
            assert text in stream, f"no {text!r} in {story}"
    for name in block.expected.files:
        assert (place / name).stat().st_size, story


@pytest.mark.parametrize("page", RUN)
def test_a_page(page: str, place: Path, variables: dict[str, str]) -> None:
    for block in BLOCKS[page]:
        if block.expected is not None:
            check(block, run_block(block, place, variables), place)


def test_every_shell_block_is_run_or_excused() -> None:
    shell = [block for blocks in BLOCKS.values() for block in blocks if block.language in ("sh", "bash")]
    assert [block.where for block in shell if not block.marked] == []
    assert sum(block.expected is not None for block in BLOCKS["README.md"]) >= 2


def blocks_of(folder: Path, text: str) -> list[Block]:
    (folder / "page.md").write_text(text, encoding="utf-8")
    return read_blocks(folder / "page.md")


def test_reading_a_page(tmp_path: Path) -> None:
    one, two, three, four = blocks_of(
        tmp_path,
        '<!-- test: out="a b" out=c exit=1 file=x.png -->\n\n```sh\nls\n\n# on\n```\n<!-- test -->\ntext\n'
        "```sh\nrm\n```\n<!-- no test: too slow -->\n```python\n1\n```\n"
        "  <!-- test -->\n  ```sh\n  cd\n  ```\n",
    )
    assert one.expected == Expected(code=1, out=("a b", "c"), files=("x.png",))
    assert (one.where, one.language, one.text) == ("page.md:3", "sh", "ls\n\n# on")
    assert (two.marked, two.expected) == (False, None)
    assert (three.marked, three.expected, three.excuse) == (True, None, "too slow")
    assert (four.text, four.expected) == ("cd", Expected())


@pytest.mark.parametrize("marker", ["test: oust=x", "test: out", "no test"])
def test_markers_that_say_nothing(tmp_path: Path, marker: str) -> None:
    with pytest.raises(ValueError, match=re.escape("page.md:2")):
        blocks_of(tmp_path, f"<!-- {marker} -->\n```sh\nls\n```\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("es-xmodal search 'a chair'", "there is no index"),
        ("es-xmodal up --detatch", "--detatch"),
        ("pip install 'es-xmodal[cloud]'", "which this project does not have"),
        ("pip install elasticsearch-x", "which this project does not have"),
        ("make damo", "damo"),
        ("false | cat", ""),
        ("cat $NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        ("python -m es_xmodal.ingest no.jsonl", "no.jsonl does not exist"),
        ("echo 'a small chair' && cat no.txt", ""),
    ],
)
def test_a_block_that_rots_fails(text: str, says: str, place: Path, variables: dict[str, str]) -> None:
    block = Block(where="page.md:1", language="sh", text=text, expected=Expected())
    done = run_block(block, place, variables)
    assert says in done.err
    with pytest.raises(AssertionError):
        check(block, done, place)
    for wrong in (
        Expected(out=("blue",)),
        Expected(err=("blue",)),
        Expected(files=("catalog.jsonl", "empty")),
    ):
        (place / "empty").touch()
        with pytest.raises(AssertionError):
            check(Block(where="p", language="sh", text="true", expected=wrong), Ran(0, "red", "red"), place)


def test_make_does_not_stand_in_for_itself(place: Path, variables: dict[str, str]) -> None:
    """It did once, and calls of calls filled a whole machine."""
    block = Block(where="page.md:1", language="sh", text="make demo", expected=Expected())
    done = run_block(block, place, {**variables, INSIDE: "1"})
    assert (done.code, done.err) == (2, "make: the stand-in called itself\n")


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        (["search", "x"], ["search", "x", "--index", "t-products"]),
        (["search", "x", "--index", "mugs", "--json"], ["search", "x", "--index", "t-mugs", "--json"]),
        (["index", "check", "--index=mugs"], ["index", "check", "--index=t-mugs"]),
        (["index", "rollback"], ["index", "rollback", "--index", "t-products"]),
        (["index", "list"], ["index", "list"]),
        (["--help"], ["--help"]),
    ],
)
def test_index_names_get_a_prefix(args: list[str], changed: list[str]) -> None:
    assert with_prefix(args, "t-") == changed
