"""A third party's package, `examples/encoder_plugin`: found by its entry point, listed, used."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from es_xmodal.encoders.base import EncoderOptions
from es_xmodal.encoders.listing import list_encoders
from es_xmodal.encoders.registry import encoder_kinds, load_encoder
from es_xmodal.errors import EncoderError, EncoderSpecError
from es_xmodal.media.picture import Picture
from tests.support.cli import REPOSITORY, Cli

pytestmark = pytest.mark.unit
SOURCE = REPOSITORY / "examples" / "encoder_plugin"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as pip leaves it, without building it."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path / "site"
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(f"{head}Summary: {project['description']}\n")
    points = project["entry-points"]["es_xmodal.encoders"]
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[es_xmodal.encoders]\n{lines}")
    shutil.copy(SOURCE / "es_xmodal_colours.py", site)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "es_xmodal_colours", raising=False)
    return site


def test_it_is_found_and_listed_without_being_imported(installed: Path) -> None:
    assert "colours" in encoder_kinds()
    (kind,) = [one for one in list_encoders() if one.kind == "colours"]
    assert (kind.package, kind.version) == ("es-xmodal-colours", "0.1.0")
    assert kind.about == "An encoder for es-xmodal that knows twelve colours"
    assert "es_xmodal_colours" not in sys.modules


def test_it_encodes(installed: Path) -> None:
    encoder = load_encoder("colours")
    picture = Picture(image=Image.new("RGB", (40, 30), (200, 30, 30)), content_hash="a", source="a")
    seen = encoder.encode_pictures([encoder.prepare(picture)])["joint"][0]
    red, blue = encoder.encode_texts(["a red mug", "a blue mug"])["joint"]
    assert seen @ red > 0.9 > 0.1 > seen @ blue
    with pytest.raises(EncoderError, match="CPU"):
        load_encoder("colours", EncoderOptions(device="cuda"))


def test_a_misspelled_kind_names_it(installed: Path) -> None:
    with pytest.raises(EncoderSpecError, match="did you mean 'colours'"):
        load_encoder("colors")


def test_it_is_used_from_the_command_line(installed: Path, tmp_path: Path) -> None:
    answer = Cli(home=tmp_path).json("encode", "a teal sofa", "--encoder", "colours")
    (vector,) = answer["vectors"]
    assert (answer["fingerprint"], vector["space"], vector["dim"]) == ("colours-1", "joint", 12)
    assert "es-xmodal-colours" in Cli(home=tmp_path).here("encoders").out


def test_it_is_about_twenty_lines() -> None:
    """Of code inside the class: what somebody who has a model must write."""
    tree = ast.parse((SOURCE / "es_xmodal_colours.py").read_text(encoding="utf-8"))
    (made,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert made.end_lineno and made.end_lineno - made.lineno + 1 <= 26
