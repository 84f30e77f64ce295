"""Adapting from a catalogue to a folder, with an encoder that has no model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from es_xmodal.adapt.contrast import ContrastOptions
from es_xmodal.adapt.fit import FitOptions
from es_xmodal.adapt.run import AdaptOptions, AdaptReport, check_out, run_adapt
from es_xmodal.cli.adapt_chart import draw_comparisons
from es_xmodal.cli.main import root, run
from es_xmodal.encoders import registry
from es_xmodal.encoders.adapted.encoder import AdaptedEncoder
from es_xmodal.encoders.adapted.folder import HEADS
from es_xmodal.encoders.base import FEATURES, Encoder
from es_xmodal.encoders.registry import MANIFEST, load_encoder
from es_xmodal.errors import CatalogError, EncoderError
from es_xmodal.media.picture import Picture
from es_xmodal.store.vectors import VectorStore
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit

# Words that the base knows nothing about; which colour they mean can only be learned.
WORDS = {"vermilo": (200, 20, 20), "verdaja": (20, 180, 30), "bluemo": (20, 40, 200)}


FIT = FitOptions(contrast_heads=1, contrast=ContrastOptions(dim=16, hidden=16, steps=60))


class Base(HashEncoder):
    """Says of a picture how red, green and blue it is, beside its vectors."""

    def __init__(self, fingerprint: str = "hash-base") -> None:
        super().__init__(fingerprint=fingerprint)

    def _picture_batch(self, batch: Sequence[Any]) -> Mapping[str, Any]:
        found = super()._picture_batch(batch)
        rgbs = np.array([rgb for _, rgb in batch], np.float32) / 255
        # Pictures of one colour are alike in the visual space; their shades are not told apart there.
        alike = np.eye(16)[rgbs.argmax(axis=1)] + 0.05 * found["visual"]
        return {**found, "visual": alike, FEATURES: rgbs}


def shop(folder: Path, count: int, *, learnable: bool = True) -> Path:
    """So many products, a third of each colour, each with a picture of its own shade."""
    rng = np.random.default_rng(1)
    names = list(WORDS)
    rows = []
    for number in range(count):
        word = names[number % 3]
        shown = WORDS[word if learnable else names[int(rng.integers(3))]]
        shade = tuple(int(np.clip(part + rng.integers(-20, 20), 0, 255)) for part in shown)
        (folder / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), shade).save(folder / "images" / f"{number}.png")
        image = f"images/{number}.png"
        rows.append({"id": f"p{number}", "title": f"{word} tuko {number}", "images": [image]})
    path = folder / "catalog.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def adapt(catalog: Path, out: Path, base: Encoder | None = None, **options: Any) -> AdaptReport:
    with VectorStore.open(catalog.parent / "vectors") as store:
        asked = AdaptOptions(catalog=catalog, out=out, **{"fit": FIT, **options})
        return run_adapt(base or Base(), store, asked, draw=draw_comparisons)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, AdaptReport]:
    """A catalogue, the encoder that was learned from it, and the report."""
    folder = tmp_path_factory.mktemp("shop")
    catalog = shop(folder, 90)
    return catalog, folder / "out", adapt(catalog, folder / "out")


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    loaders: dict[str, Any] = {"hash": lambda argument, options: Base()}
    monkeypatch.setattr(registry, "_LOADERS", loaders)
    return loaders


def test_what_is_learned_holds_for_products_that_were_not_seen(made: tuple[Path, Path, AdaptReport]) -> None:
    _, out, report = made
    (titles,) = report.comparisons
    assert report.adapted and titles.queries == titles.among == 18
    assert titles.after.reciprocal_rank > titles.before.reciprocal_rank + 0.1
    assert {path.name for path in out.iterdir()} == {MANIFEST, HEADS, "report.json", "report.svg"}
    written = json.loads((out / "report.json").read_text())
    assert written["measures"][0]["after"] == titles.after.to_json()
    assert "before and after" in (out / "report.svg").read_text()
    assert not list(out.parent.glob(".out-*"))


def test_the_folder_is_an_encoder(made: tuple[Path, Path, AdaptReport], kinds: dict[str, Any]) -> None:
    _, out, report = made
    encoder = load_encoder(str(out))
    base = Base()
    assert isinstance(encoder, AdaptedEncoder)
    assert encoder.info.fingerprint == report.fingerprint != base.info.fingerprint
    assert encoder.info.spec == str(out.resolve())
    assert encoder.info.space("joint").dim > 32 and encoder.info.space("visual").dim == 16
    pictures = [
        Picture(image=Image.new("RGB", (8, 8), rgb), content_hash=word, source="drawn")
        for word, rgb in WORDS.items()
    ]
    seen = encoder.encode_pictures([encoder.prepare(picture) for picture in pictures])
    read = encoder.encode_texts([f"{word} tuko 7" for word in WORDS])
    assert (read["joint"] @ seen["joint"].T).argmax(axis=1).tolist() == [0, 1, 2]
    assert np.allclose(np.linalg.norm(read["joint"], axis=1), 1, atol=1e-5)
    # The spaces that nothing was learned for are those of the base.
    assert np.array_equal(read["text"], base.encode_texts([f"{word} tuko 7" for word in WORDS])["text"])


def test_a_text_of_another_domain_ranks_as_with_the_base(
    made: tuple[Path, Path, AdaptReport], kinds: dict[str, Any]
) -> None:
    base, loaded = Base(), load_encoder(str(made[1]))
    assert isinstance(loaded, AdaptedEncoder)
    # In so few dimensions some text of the training is like any other text; real spaces have hundreds.
    strict = replace(loaded.heads, gate=replace(loaded.heads.gate, low=0.98, high=0.99))
    encoder = AdaptedEncoder(base, strict, spec="", fingerprint="")
    drawn = [
        Picture(image=Image.new("RGB", (8, 8), (n, 0, 9)), content_hash=str(n), source="") for n in range(9)
    ]
    prepared = [base.prepare(picture) for picture in drawn]
    text = ["zzz qqq www"]
    after = encoder.encode_texts(text)["joint"] @ encoder.encode_pictures(prepared)["joint"].T
    before = base.encode_texts(text)["joint"] @ base.encode_pictures(prepared)["joint"].T
    assert after.argsort().tolist() == before.argsort().tolist()


def test_the_same_catalogue_gives_the_same_encoder(
    made: tuple[Path, Path, AdaptReport], tmp_path: Path
) -> None:
    again = adapt(made[0], tmp_path / "again")
    assert again.fingerprint == made[2].fingerprint
    assert (tmp_path / "again" / HEADS).read_bytes() == (made[1] / HEADS).read_bytes()


def test_a_second_run_asks_the_base_nothing_and_an_ingest_finds_the_vectors(
    made: tuple[Path, Path, AdaptReport], tmp_path: Path, kinds: dict[str, Any]
) -> None:
    from es_xmodal.media.picture import content_hash
    from es_xmodal.store.vectors import vector_key

    base = Base()
    adapt(made[0], tmp_path / "again", base)
    assert not base.calls
    encoder = load_encoder(str(made[1]))
    data = (made[0].parent / "images" / "3.png").read_bytes()
    from es_xmodal.media.picture import decode_picture

    fresh = encoder.encode_pictures([encoder.prepare(decode_picture(data, source="3.png"))])
    with VectorStore.open(made[0].parent / "vectors") as store:
        for name, rows in fresh.items():
            key = vector_key(
                fingerprint=encoder.info.fingerprint, space=name, kind="picture", content=content_hash(data)
            )
            (kept,) = store.get_many([key])
            assert kept is not None and np.allclose(kept, rows[0], atol=1e-5)


def test_what_cannot_be_learned_changes_nothing(tmp_path: Path) -> None:
    report = adapt(shop(tmp_path, 60, learnable=False), tmp_path / "out")
    assert not report.adapted and report.comparisons and report.reason
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [1, 19])
def test_a_catalogue_that_is_too_small_changes_nothing(count: int, tmp_path: Path) -> None:
    report = adapt(shop(tmp_path, count), tmp_path / "out")
    assert not report.adapted and "too few" in report.reason and str(count) in report.reason
    assert not (tmp_path / "out").exists()


def test_photos_teach_the_visual_space_too(tmp_path: Path) -> None:
    """Each product is a shade of its own, and its photos are too; noise is all that the base sees of them."""
    rng = np.random.default_rng(2)
    rows, photos = [], []
    for number in range(30):
        rgb = rng.integers(0, 256, 3)
        for shot in range(6):
            near = tuple(np.clip(rgb + rng.integers(-6, 6, 3), 0, 255).tolist())
            Image.new("RGB", (8, 8), near).save(tmp_path / f"{number}-{shot}.png")
        rows.append({"id": f"p{number}", "title": f"tuko {number}", "images": [f"{number}-0.png"]})
        photos += [f"p{number}\t{tmp_path / f'{number}-{shot}.png'}" for shot in range(1, 6)]
    photos += ["nobody\t1-1.png", "p1\tmissing.png"]
    (tmp_path / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "photos.tsv").write_text("\n".join(photos))
    report = adapt(tmp_path / "catalog.jsonl", tmp_path / "out", photos=tmp_path / "photos.tsv")
    assert report.counts.photos == 150
    assert report.counts.photos_of_unknown_products == 1 and report.counts.unusable_pictures == 1
    found = next(one for one in report.comparisons if one.name.startswith("photo"))
    assert found.queries == 24 and found.among == 30  # a fifth of the products is not seen at all
    assert found.after.recall_1 > found.before.recall_1 + 0.2


def test_clicks_are_learned_from(tmp_path: Path) -> None:
    catalog = shop(tmp_path, 40)
    (tmp_path / "clicks.tsv").write_text("granda\tp1\t5\ngranda\tp2\nio\tnobody\n")
    report = adapt(catalog, tmp_path / "out", clicks=tmp_path / "clicks.tsv")
    assert report.counts.clicks == 2 and report.counts.clicks_of_unknown_products == 1


def test_no_picture_at_all_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "catalog.jsonl").write_text('{"id": "a", "title": "b", "images": ["no.png"]}\n')
    with pytest.raises(CatalogError, match=r"no product .* has a picture .*no\.png"):
        adapt(tmp_path / "catalog.jsonl", tmp_path / "out")


def test_a_folder_that_is_not_ours_is_left_alone(
    tmp_path: Path, made: tuple[Path, Path, AdaptReport]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for wrong in (tmp_path / "mine", tmp_path / "mine" / "letter.txt"):
        with pytest.raises(EncoderError, match="exists and is not an adapted encoder"):
            check_out(wrong)
    with pytest.raises(EncoderError, match="no folder"):
        check_out(tmp_path / "no" / "such")
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty")
    check_out(made[1])


def test_an_earlier_encoder_is_replaced_and_what_lies_beside_it_stays(tmp_path: Path) -> None:
    catalog = shop(tmp_path, 60)
    first = adapt(catalog, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    second = adapt(catalog, tmp_path / "out", seed=1)
    assert second.adapted and second.fingerprint != first.fingerprint
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["fingerprint"] == second.fingerprint
    assert not list(tmp_path.glob(".out-*"))


def test_an_adapted_encoder_is_no_base(made: tuple[Path, Path, AdaptReport], kinds: dict[str, Any]) -> None:
    with pytest.raises(EncoderError, match=r"adapted one already.*adapt hash"):
        adapt(made[0], made[1].parent / "twice", load_encoder(str(made[1])))


@pytest.fixture
def copied(made: tuple[Path, Path, AdaptReport], tmp_path: Path) -> Path:
    for path in made[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", [MANIFEST, HEADS])
@pytest.mark.parametrize("harm", ["missing", "cut", "empty"])
def test_a_damaged_folder_is_one_line(copied: Path, name: str, harm: str, kinds: dict[str, Any]) -> None:
    path = copied / name
    content = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    with pytest.raises(EncoderError) as caught:
        load_encoder(f"adapted:{copied}")
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_heads_on_another_base_are_refused(copied: Path, kinds: dict[str, Any]) -> None:
    kinds["hash"] = lambda argument, options: Base(fingerprint="hash-other")
    with pytest.raises(EncoderError, match=r"trained on hash .*hash-base.*is now hash-other.*adapt"):
        load_encoder(str(copied))


def test_a_base_of_other_features_is_refused(copied: Path, kinds: dict[str, Any]) -> None:
    kinds["hash"] = lambda argument, options: HashEncoder(fingerprint="hash-base")
    encoder = load_encoder(str(copied))
    with pytest.raises(EncoderError, match="its heads read 3 numbers, and the base gives 48"):
        encoder.encode_pictures([("x", (1, 2, 3))])


def test_the_command_prints_the_table_and_its_exit_code_says_whether_it_helped(
    tmp_path: Path, kinds: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ES_XMODAL_DATA_DIR", str(tmp_path / "data"))
    catalog = shop(tmp_path, 60)
    rows = [json.loads(line) for line in catalog.read_text().splitlines()]
    renamed = [{**{k: v for k, v in row.items() if k != "title"}, "name": row["title"]} for row in rows]
    (tmp_path / "other").mkdir()
    given = tmp_path / "other" / "named.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in renamed))
    where = ["--encoder", "hash", "--map", "title=name", "--images-root", str(tmp_path)]
    assert run(root, ["adapt", str(given), *where, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "before" in printed and "after" in printed and "adapted-" in printed
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    assert run(root, ["adapt", str(few), "--encoder", "hash", "--out", str(tmp_path / "no"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["adapted"] is False
    assert not (tmp_path / "no").exists()
    assert run(root, ["adapt", str(few), "--encoder", "hash", "--out", str(tmp_path / "images")]) == 2
    assert "exists and is not an adapted encoder" in capsys.readouterr().err


def test_several_starts_are_averaged(tmp_path: Path) -> None:
    report = adapt(shop(tmp_path, 60), tmp_path / "out", fit=replace(FIT, contrast_heads=2))
    assert report.adapted
    with np.load(tmp_path / "out" / HEADS) as file:
        assert file["weights"].tolist() == [0.5, 0.25, 0.25]
