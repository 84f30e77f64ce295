"""Words on pictures at ingest and in a plan, without a model or a server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from unittest import mock

import pytest

from es_xmodal.app import make_analyzer
from es_xmodal.catalog.product import Product
from es_xmodal.errors import (
    FingerprintMismatchError,
    IndexStateError,
    MissingExtraError,
    PictureError,
    SettingsError,
)
from es_xmodal.index.meta import KEY, Builder, EncoderMeta, IndexMeta, OcrMeta, SpaceMeta, parse_meta
from es_xmodal.ingest.calibrate import Sampled
from es_xmodal.ingest.calibrate_words import calibrate_words
from es_xmodal.ingest.document import word_fields
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Shot
from es_xmodal.ingest.words import OcrParts, ShotWords
from es_xmodal.media import ocr
from es_xmodal.media.ocr import load_reader
from es_xmodal.media.picture import content_hash
from es_xmodal.query.legs import LexicalLeg
from es_xmodal.query.model import Query
from es_xmodal.query.ocr import MAX_GRAMS
from es_xmodal.query.plan import build_plan
from es_xmodal.query.profile import DEFAULT_PROFILE
from es_xmodal.query.view import Signals
from es_xmodal.search.signals import make_signals
from es_xmodal.search.words import with_words
from es_xmodal.settings import Settings
from es_xmodal.store.texts import TextStore
from es_xmodal.text.grams import grams
from es_xmodal.text.options import SEPARATOR
from tests.support.encoders import HashEncoder
from tests.support.plans import ocr_view, plan_for, signals, view
from tests.support.words import NamedReader, save_words

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TextStore]:
    with TextStore.open(tmp_path / "texts") as opened:
        yield opened


def shot(path: Path) -> tuple[Shot, bytes]:
    data = path.read_bytes()
    return Shot(number=0, ref=path.name, content=content_hash(data)), data


# -- at ingest


def test_a_picture_is_read_once_however_many_rows_and_threads_want_it(
    tmp_path: Path, store: TextStore
) -> None:
    path = save_words(tmp_path / "a.png", "MILK")
    reader = NamedReader({content_hash(path.read_bytes()): ("MILK", "3%")}, pause_s=0.05)
    tally = Tally()
    words = ShotWords(OcrParts(reader=reader, store=store), tally)
    shots = [shot(path) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: words.read(*one), shots))
    assert [[word.text for word in one.words or ()] for one, _ in shots] == [["MILK", "3%"]] * 8
    assert len(reader.read_pictures) == 1
    assert (tally["ocr_images"], tally["reused_ocr"]) == (1, 7)
    later, _ = shot(path)
    ShotWords(OcrParts(reader=NamedReader({}), store=store), tally).find([later])
    assert [word.text for word in later.words or ()] == ["MILK", "3%"], "another run finds them in the store"
    other, _ = shot(path)
    ShotWords(OcrParts(reader=NamedReader({}, fingerprint="ocr-2"), store=store), tally).find([other])
    assert other.words is None, "what another reader read is not taken"


def test_a_picture_that_cannot_be_read_says_so_and_is_tried_again(tmp_path: Path, store: TextStore) -> None:
    path = save_words(tmp_path / "a.png", "MILK")
    content = content_hash(path.read_bytes())
    tally = Tally()
    one, data = shot(path)
    before = one.mark
    ShotWords(OcrParts(reader=NamedReader({}, broken=frozenset({content})), store=store), tally).read(
        one, data
    )
    assert one.words == ()
    assert one.words_failure is not None
    assert one.words_failure[:2] == ("ocr", "not_read")
    assert one.failure is None, "the picture itself is used"
    assert one.mark != before, "so that the row counts as changed next time"
    again, data = shot(path)
    ShotWords(OcrParts(reader=NamedReader({content: ("MILK",)}), store=store), tally).read(again, data)
    assert [word.text for word in again.words or ()] == ["MILK"]


def test_what_stops_the_run_reaches_every_waiting_thread(tmp_path: Path, store: TextStore) -> None:
    path = save_words(tmp_path / "a.png", "MILK")

    class Missing(NamedReader):
        def read(self, picture: object) -> tuple[()]:
            super().read(picture)  # type: ignore[arg-type]
            raise MissingExtraError("words on pictures", extra="ocr")

    words = ShotWords(OcrParts(reader=Missing({}, pause_s=0.05), store=store), Tally())

    def attempt(_: int) -> str:
        with pytest.raises(MissingExtraError) as caught:
            words.read(*shot(path))
        return caught.value.hint

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(attempt, range(3))) == {"pip install 'es-xmodal[ocr]'"}


def test_without_the_extra_the_pip_line_is_said() -> None:
    with (
        mock.patch.object(metadata, "distribution", side_effect=metadata.PackageNotFoundError),
        mock.patch.object(ocr, "_TOO_NEW", (99,)),
        pytest.raises(MissingExtraError, match=r"es-xmodal\[ocr\]"),
    ):
        load_reader()


def test_a_python_without_a_release_of_the_reader_is_named() -> None:
    with (
        mock.patch.object(metadata, "distribution", side_effect=metadata.PackageNotFoundError),
        mock.patch.object(ocr, "_TOO_NEW", (3, 10)),
        pytest.raises(SettingsError, match=r"no release for Python 3\.\d+ .*3\.12"),
    ):
        load_reader()


def test_fields_of_a_document() -> None:
    product = Product(id="p", title="Oat drink", titles={"zh": "燕麦奶"}, brand="Nuvola")
    fields = word_fields(product, ["OATS", "1,5%", "OATS"], make_analyzer(Settings()))
    assert "oat" in fields["ocr"].split(SEPARATOR)
    assert fields["ocr"].split(SEPARATOR).count("oat") == 1
    pieces = fields["grams"].split(SEPARATOR)
    assert len(set(pieces)) == len(pieces)
    assert {"1.5%", "燕麦", "_nu", "ats", "dri"} <= set(pieces)
    assert word_fields(product, [], make_analyzer(Settings()))["ocr"] == ""


def sampled(title: str, words: str = "") -> Sampled:
    said = frozenset(grams([title, words]))
    return Sampled(
        group=title,
        title=title,
        text=None,
        joint=None,
        visual=None,
        said=said,
        shown=frozenset(grams([words])),
    )


def test_unrelated_pictures_give_the_least_span() -> None:
    shop = [sampled("Arla milk", "ARLA"), sampled("Arla yoghurt", "ARLA"), sampled("Pear")]
    found = calibrate_words(shop, documents=3)
    assert found is not None
    assert found.floor == 0.0
    assert found.spread > 0
    larger = calibrate_words(shop, documents=300)
    assert larger is not None
    assert larger.spread == pytest.approx(found.spread, rel=0.3), "the shares are those of the sample"
    apart = calibrate_words([sampled("Apple", "APPLE"), sampled("Pear", "PEAR"), sampled("Fig")], documents=3)
    assert apart is not None
    assert apart.spread == 0.0
    assert calibrate_words([sampled("Pear")], documents=1) is None
    assert calibrate_words([], documents=0) is None


# -- the index says how


def index_meta() -> IndexMeta:
    return IndexMeta(
        index="shop-v0001",
        version="0",
        state="complete",
        encoder=EncoderMeta(
            spec="hash", fingerprint="hash-1", text_space=None, spaces={"joint": SpaceMeta(dim=2)}
        ),
        text_fingerprint="text-1",
        layout="0",
        created="2026-01-01T00:00:00+00:00",
        lease=0.0,
        builder=Builder(host="h", pid=1, run_id="r", started=0.0, machine="m"),
    )


def test_the_index_says_how_words_were_read_and_refuses_another_way() -> None:
    without = index_meta()
    how = OcrMeta(reader="ocr-1", grams=1)
    having = replace(without, ocr=how)
    for one in (without, having):
        again = parse_meta(one.index, {"_meta": {KEY: one.to_json()}})
        assert again == one
        again.check_ocr(one.ocr)
    assert "ocr" not in without.to_json()
    with pytest.raises(IndexStateError, match=r"without the words on its pictures .*without --ocr"):
        without.check_ocr(how)
    with pytest.raises(IndexStateError, match=r"has the words on its pictures .*with --ocr"):
        having.check_ocr(None)
    with pytest.raises(FingerprintMismatchError, match="reader of words"):
        having.check_ocr(replace(how, reader="ocr-2"))
    having.check_grams(1)
    with pytest.raises(FingerprintMismatchError, match="way of cutting words"):
        having.check_grams(2)
    without.check_grams(2)


# -- in a plan


def test_a_photo_with_words_has_the_leg_and_one_without_has_not() -> None:
    having = plan_for(text="", pictures=("p.jpg",), read=("Arla", "arla"), seen=ocr_view())
    leg = {one.name: one for one in having.legs}["ocr"]
    assert isinstance(leg, LexicalLeg)
    assert leg.clause == {"match": {"tokens.grams": {"query": "_ar arl rla la_"}}}
    assert leg.bounds(3.0) == (0.0, 6.0), "a chance likeness does not fill the scale"
    for plan in (
        plan_for(text="", pictures=("p.jpg",), seen=ocr_view()),
        plan_for(text="", pictures=("p.jpg",), read=("Arla",), seen=view()),
        plan_for(text="", pictures=("p.jpg",), read=("a",), seen=ocr_view()),
        plan_for(text="", pictures=("p.jpg",), read=("Arla",), weights={"ocr": 0.0}, seen=ocr_view()),
    ):
        assert "ocr" not in [one.name for one in plan.legs]
        assert not plan.warnings


def test_a_page_full_of_words_stays_below_the_server_s_limit() -> None:
    words = tuple(f"word{chr(97 + number % 26)}{chr(97 + number // 26)}xyz" for number in range(600))
    plan = plan_for(text="", pictures=("p.jpg",), read=words, seen=ocr_view())
    (leg,) = [one for one in plan.legs if isinstance(one, LexicalLeg)]
    assert len(leg.clause["match"]["tokens.grams"]["query"].split()) == MAX_GRAMS


@pytest.mark.parametrize(
    ("read", "index", "says"),
    [
        ((), "ocr", "no words were read on a picture of this query"),
        (("Arla",), "plain", "the words on this index's pictures were not read"),
    ],
)
def test_a_weight_without_effect_says_why(read: tuple[str, ...], index: str, says: str) -> None:
    seen = ocr_view() if index == "ocr" else view()
    plan = plan_for(text="", pictures=("p.jpg",), read=read, weights={"ocr": 1.0}, seen=seen)
    (warning,) = plan.warnings
    assert says in warning
    words = plan_for(weights={"ocr": 1.0}, seen=ocr_view())
    assert any("of mode text" in one for one in words.warnings)


# -- at query time


def test_wanted_pictures_are_read_and_unwanted_ones_are_not(tmp_path: Path) -> None:
    wanted = [save_words(tmp_path / f"{text}.png", text) for text in ("MILK", "OATS", "PLAIN")]
    away = save_words(tmp_path / "away.png", "AWAY")
    known = {content_hash(path.read_bytes()): (path.stem,) for path in (*wanted[:2], away)}
    reader = NamedReader(known)
    query = Query(pictures=tuple(map(str, wanted)), minus=(f"image:{away}",))
    query = replace(query, minus=query.unwanted)
    signals_ = make_signals(query, (), HashEncoder())
    found = with_words(signals_, query, DEFAULT_PROFILE, reader)
    assert found.read == {"picture-1": ("MILK",), "picture-2": ("OATS",)}
    assert list(found.grams) == grams(["MILK", "OATS"])
    assert len(reader.read_pictures) == 3
    assert "ocr" in found.held["picture-1"]
    assert "ocr" not in found.held["picture-3"]
    plan = build_plan(query, found, ocr_view(), DEFAULT_PROFILE)
    assert plan.legs == build_plan(query, found, ocr_view(), DEFAULT_PROFILE).legs


def test_a_photo_that_cannot_be_read_says_how_to_go_on(tmp_path: Path) -> None:
    path = save_words(tmp_path / "a.png", "MILK")
    reader = NamedReader({}, broken=frozenset({content_hash(path.read_bytes())}))
    with pytest.raises(PictureError, match="--weight ocr=0") as caught:
        with_words(Signals(), Query(pictures=(str(path),)), DEFAULT_PROFILE, reader)
    assert caught.value.code == "not_read"


def test_only_ocr_is_a_search_too() -> None:
    weights = {"ocr": 1.0, "image": 0.0, "visual": 0.0}
    query = Query(pictures=("p.jpg",), weights=weights)
    plan = build_plan(query, signals(picture=True, read=("Arla",)), ocr_view(), DEFAULT_PROFILE)
    assert [leg.name for leg in plan.legs] == ["ocr"]
