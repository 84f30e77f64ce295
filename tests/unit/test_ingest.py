from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.catalog.document import to_document
from es_xmodal.catalog.product import Product, Reject
from es_xmodal.errors import CatalogError, EncoderError
from es_xmodal.index.combining import Combining
from es_xmodal.ingest.ahead import TRY_AGAIN, WhereItPays, ahead, batched
from es_xmodal.ingest.calibrate import Reservoir, Sampled, calibrate
from es_xmodal.ingest.combine import Combiner
from es_xmodal.ingest.document import (
    as_base64,
    dump_json,
    row_hash,
    text_for_vector,
    token_fields,
)
from es_xmodal.ingest.embed import Embedder
from es_xmodal.ingest.garbage import ALLOCATIONS, RareCollections
from es_xmodal.ingest.rejects import RejectFile
from es_xmodal.ingest.report import Tally
from es_xmodal.ingest.rows import Loader, Row
from es_xmodal.media.source import PictureSource
from es_xmodal.store.vectors import VectorStore
from es_xmodal.text.analyzer import Analyzer
from es_xmodal.text.options import SEPARATOR
from es_xmodal.vectors import Matrix
from tests.support.encoders import HashEncoder
from tests.support.ingesting import draw

pytestmark = pytest.mark.unit


def product(**more: Any) -> Product:
    return Product(**{"id": "p1", "title": "Red mug", **more})


# -- ahead


def test_results_come_in_order_and_the_reader_stays_near() -> None:
    taken: list[int] = []
    gate = threading.Event()

    def items() -> Any:
        for number in range(50):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        gate.wait()
        return number * 2

    with ThreadPoolExecutor(3) as pool:
        results = ahead(pool, work, items(), depth=5)
        threading.Timer(0.05, gate.set).start()
        assert next(results) == 0
        assert len(taken) <= 5
        assert list(results) == [number * 2 for number in range(1, 50)]


def test_items_that_need_no_work_keep_their_place() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(ahead(pool, lambda n: -n, range(1, 8), depth=3, skip=lambda n: n if n % 2 else None))
    assert found == [1, -2, 3, -4, 5, -6, 7]


def test_an_error_comes_when_its_turn_comes() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, work, range(9), depth=4)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(results)


def test_calls_stay_with_the_caller_until_two_in_a_row_wait_or_are_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elapsed_s = busy_s = 0.0
    clock = SimpleNamespace(perf_counter=lambda: elapsed_s, thread_time=lambda: busy_s)
    monkeypatch.setattr("es_xmodal.ingest.ahead.time", clock)

    def call(elapsed: float, busy: float) -> int:
        nonlocal elapsed_s, busy_s
        elapsed_s, busy_s = elapsed_s + elapsed, busy_s + busy
        return threading.get_ident()

    quick, waits, long = (0.005, 0.005), (0.05, 0.005), (0.05, 0.05)
    with ThreadPoolExecutor(1) as pool:
        calls = WhereItPays(pool)
        here, there = threading.get_ident(), pool.submit(threading.get_ident).result()
        threads = [calls.submit(call, *one).result() for one in (waits, quick, long, quick, waits, long)]
        assert threads == [here] * 6
        threads = [calls.submit(call, *quick).result() for _ in range(TRY_AGAIN + 2)]
        assert threads == [there] * TRY_AGAIN + [here] * 2
        threads = [calls.submit(call, *waits).result() for _ in range(3)]
        assert threads == [here] * 2 + [there]


def test_what_a_call_raises_is_in_its_future_in_either_case() -> None:
    def fail() -> None:
        threading.Event().wait(0.01)
        raise ValueError("three")

    with ThreadPoolExecutor(1) as pool:
        calls = WhereItPays(pool)
        futures = [calls.submit(fail) for _ in range(3)]
        for future in futures:
            with pytest.raises(ValueError, match="three"):
                future.result()


def test_batches() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []


# -- collections of garbage


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    """As a caller had set them."""
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield 701, 11, 12
    gc.set_threshold(*before)


def test_the_collector_is_as_it_was_after_the_last_of_overlapping_runs(
    thresholds: tuple[int, int, int],
) -> None:
    rare = RareCollections()
    with rare:
        with rare:
            assert gc.get_threshold() == (ALLOCATIONS, *thresholds[1:])
        assert gc.get_threshold() == (ALLOCATIONS, *thresholds[1:])
    assert gc.get_threshold() == thresholds
    with pytest.raises(ValueError), rare:
        raise ValueError
    assert gc.get_threshold() == thresholds


@pytest.mark.parametrize("own", [0, 50_000])
def test_a_collector_that_is_off_or_rarer_stays(own: int, thresholds: tuple[int, int, int]) -> None:
    gc.set_threshold(own, *thresholds[1:])
    with RareCollections():
        assert gc.get_threshold() == (own, *thresholds[1:])
    assert gc.get_threshold() == (own, *thresholds[1:])


# -- documents


def test_text_for_the_vector() -> None:
    one = product(
        titles={"zh": "红色马克杯", "en": "Red mug"},
        description="Holds 0.5 l of tea. Second sentence.",
    )
    assert text_for_vector(one) == "Red mug\n红色马克杯\nHolds 0.5 l of tea."
    assert text_for_vector(product(description="好杯子。第二句")) == "Red mug\n好杯子"
    assert text_for_vector(product()) == "Red mug"
    assert len(text_for_vector(product(description="x" * 10_000))) < 400


def test_token_fields_hold_what_a_person_may_type() -> None:
    one = product(
        titles={"zh": "红色马克杯"},
        description="Dishwasher safe",
        brand="Nuvola",
        category=("Kitchen", "Mugs"),
        identifiers={"sku": "MUG-7"},
        attributes={"colour": ("crimson",)},
    )
    fields = {name: set(text.split(SEPARATOR)) for name, text in token_fields(one, Analyzer()).items()}
    assert {"red", "mug"} <= fields["title"]
    assert any("马克" in term for term in fields["title"])
    assert "safe" in fields["description"]
    assert {"nuvola", "crimson", "kitchen"} <= fields["attributes"]
    assert "mug" not in fields["description"]


HASH = row_hash({"id": "1", "title": "x"}, ["a"], encoder="e1", text="t1")


@pytest.mark.parametrize(
    "other",
    [
        row_hash({"id": "1", "title": "y"}, ["a"], encoder="e1", text="t1"),
        row_hash({"id": "1", "title": "x"}, ["b"], encoder="e1", text="t1"),
        row_hash({"id": "1", "title": "x"}, ["!missing:"], encoder="e1", text="t1"),
        row_hash({"id": "1", "title": "x"}, [], encoder="e1", text="t1"),
        row_hash({"id": "1", "title": "x"}, ["a"], encoder="e2", text="t1"),
        row_hash({"id": "1", "title": "x"}, ["a"], encoder="e1", text="t2"),
    ],
)
def test_the_hash_sees_everything(other: str) -> None:
    assert other != HASH


def test_the_hash_does_not_see_the_order_of_keys() -> None:
    assert row_hash({"title": "x", "id": "1"}, ["a"], encoder="e1", text="t1") == HASH


def test_whole_numbers_beyond_64_bits_are_written() -> None:
    assert json.loads(dump_json({"n": 2**80, "v": np.ones(2, np.float32)})) == {"n": 2**80, "v": [1.0, 1.0]}
    assert row_hash(to_document(product(extra={"n": 2**80})), [], encoder="e", text="t")


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_vectors_survive_both_ways_of_writing_them(numbers: list[float]) -> None:
    import base64

    vector = np.array(numbers, np.float32)
    packed = np.frombuffer(base64.b64decode(as_base64(vector)), ">f4")
    assert np.array_equal(packed, vector)
    assert np.array_equal(np.array(orjson.loads(dump_json(vector)), np.float32), vector)


# -- rejects


def reject(number: int) -> Reject:
    return Reject(line=number, id=f"p{number}", stage="row", field="price", reason="negative: -1", row={})


def test_no_reject_no_file(tmp_path: Path) -> None:
    with RejectFile(tmp_path / "r.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_rejects_take_their_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("of the run before\n")
    with RejectFile(path) as file:
        file.add(reject(1))
        assert path.read_text() == "of the run before\n"
        file.add(reject(2))
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == [1, 2]
    assert file.reasons == {"row/negative": 2}
    file.add(reject(3))
    assert len(path.read_text().splitlines()) == 2, "nothing is written once it is closed"
    assert [one.name for one in tmp_path.iterdir()] == ["r.jsonl"]


def test_rejects_that_cannot_be_written_stop_the_run(tmp_path: Path) -> None:
    file = RejectFile(tmp_path / "no such folder" / "r.jsonl")
    with pytest.raises(CatalogError, match="--rejects"):
        file.add(reject(1))


# -- embedding


class Fussy(HashEncoder):
    """Refuses one text."""

    def _text_batch(self, batch: Sequence[str]) -> Mapping[str, Any]:
        if "bad" in batch:
            raise EncoderError("zero vector")
        return super()._text_batch(batch)


def loader(tmp_path: Path, encoder: HashEncoder, store: VectorStore) -> Loader:
    return Loader(
        encoder=encoder,
        text_fingerprint="t",
        store=store,
        pictures=PictureSource(tmp_path),
        tally=Tally(),
        known_marks=lambda ids: {},
    )


def embed(tmp_path: Path, encoder: HashEncoder, products: Sequence[Product]) -> tuple[list[Row], Tally]:
    with VectorStore.open(tmp_path / "store") as store:
        one = loader(tmp_path, encoder, store)
        rows = [one.decode(row) for row in one.load(products)]
        Embedder(encoder, store, one, one.tally).embed(rows)
        return rows, one.tally


def test_one_text_that_cannot_be_encoded_costs_only_itself(tmp_path: Path) -> None:
    rows, tally = embed(tmp_path, Fussy(), [product(id=t, title=t) for t in ("one", "bad", "two")])
    assert [row.text_vector is not None for row in rows] == [True, False, True]
    assert rows[1].text_failure == "zero vector"
    assert tally["encoded_texts"] == 2


def test_equal_pictures_and_texts_are_encoded_once_and_then_never(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, seed=1)
    products = [product(id="1", images=("a.png",)), product(id="2", images=("b.png", "a.png"))]
    encoder = HashEncoder()
    rows, tally = embed(tmp_path, encoder, products)
    assert sorted(encoder.calls) == [("pictures", 1), ("texts", 1)]
    vectors = [shot.vectors["joint"] for row in rows for shot in row.shots]
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)
    assert (tally["encoded_images"], tally["encoded_texts"]) == (1, 1)
    encoder = HashEncoder()
    again, tally = embed(tmp_path, encoder, products)
    assert encoder.calls == []
    assert tally["reused_vectors"] == 5
    assert np.array_equal(again[0].shots[0].vectors["visual"], rows[0].shots[0].vectors["visual"])


def test_a_picture_that_changes_while_it_is_read_is_not_used(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", seed=1)
    with VectorStore.open(tmp_path / "store") as store:
        one = loader(tmp_path, HashEncoder(), store)
        (row,) = one.load([product(images=("a.png",))])
        draw(tmp_path / "a.png", seed=2)
        one.decode(row)
    assert row.shots[0].failure is not None
    assert row.shots[0].failure[1] == "changed"


def test_the_hash_of_a_row_knows_which_picture_failed(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path / "store") as store:
        one = loader(tmp_path, HashEncoder(), store)
        (row,) = one.load([product(images=("a.png", "b.png"))])
        missing = row.hash
        draw(tmp_path / "a.png", seed=1)
        (there,) = one.load([product(images=("a.png", "b.png"))])
        there_hash = there.hash
        there.shots[0].failure = ("picture", "truncated", "cut off")
        assert len({missing, there_hash, one.rehash(there)}) == 3


# -- calibration


def sampled(number: int, vector: Matrix, **more: Any) -> Sampled:
    found: dict[str, Any] = {
        "group": str(number),
        "title": f"t{number}",
        "text": vector,
        "joint": vector,
        "visual": vector,
    }
    return Sampled(**{**found, **more})


def corner(number: int, dim: int = 4) -> Matrix:
    one = np.zeros(dim, np.float32)
    one[number] = 1.0
    return one


COMBINER = Combiner(Combining(), HashEncoder().info)
TEXTLESS = Combiner(Combining(), replace(HashEncoder().info, text_space=None))


def test_unrelated_pairs_set_the_floor() -> None:
    sample = [sampled(n, corner(n)) for n in range(4)]
    titles = np.stack([corner(n) for n in range(4)])
    legs = calibrate(sample, combiner=COMBINER, encode_titles=lambda t: {"joint": titles, "text": titles})
    # Every unrelated pair is at a right angle: cosine 0, score one half.
    assert {name: (leg.floor, leg.spread) for name, leg in legs.items()} == {
        "image": (0.5, 0.0),
        "visual": (0.5, 0.0),
        "text": (0.5, 0.0),
    }


def test_variants_and_namesakes_are_no_unrelated_pair() -> None:
    vector = corner(0)
    related = [
        sampled(0, vector),
        sampled(1, vector, group="0"),
        sampled(2, vector, title="t0"),
    ]
    far = [sampled(3, -vector), sampled(4, -vector, group="3")]
    titles = np.stack([vector] * 3 + [-vector] * 2)
    legs = calibrate(
        related[:2] + far, combiner=TEXTLESS, encode_titles=lambda t: {"joint": titles[[0, 1, 3, 4]]}
    )
    assert legs["image"].floor == 0.0
    assert set(legs) == {"image", "visual"}
    assert (
        calibrate(related, combiner=TEXTLESS, encode_titles=lambda t: {"joint": titles[:3]})["image"].floor
        == 1.0
    )


def test_nothing_to_compare_leaves_the_leg_out() -> None:
    assert calibrate([], combiner=COMBINER, encode_titles=lambda t: {}) == {}
    lonely = [sampled(0, corner(0))]
    assert calibrate(lonely, combiner=TEXTLESS, encode_titles=lambda t: {"joint": corner(0)[None, :]}) == {}


def test_the_sample_is_even_and_the_same_each_time() -> None:
    def take() -> list[str]:
        reservoir = Reservoir(50)
        for number in range(5000):
            reservoir.add(partial(sampled, number, corner(0)))
        return [one.group for one in reservoir.items if isinstance(one, Sampled)]

    first = take()
    assert first == take()
    assert len(set(first)) == 50
    assert 1500 < np.mean([int(group) for group in first]) < 3500
