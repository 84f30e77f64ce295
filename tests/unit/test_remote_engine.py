"""Workers decode and embed, the driver keeps order and stores: the rows are those of the local engine."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from PIL import Image

from es_xmodal.catalog.product import Product
from es_xmodal.encoders.base import Encoder
from es_xmodal.errors import EncoderError, EncoderServiceError
from es_xmodal.ingest.known import mark
from es_xmodal.ingest.remote import engine as engine_module
from es_xmodal.ingest.remote.package import Again, Piece
from es_xmodal.ingest.remote.worker import Worker, failure
from es_xmodal.ingest.rows import Row
from es_xmodal.media.picture import content_hash
from es_xmodal.media.web import WebOptions, WebPictures
from tests.support.encoders import HashEncoder
from tests.support.ingesting import draw, shop_rows
from tests.support.picture_host import PictureHost, jpeg, picture_host
from tests.support.remote import AGAIN, Place, Threads, outcome, place, products_of
from tests.support.video import BLUE, RED, video
from tests.support.words import NamedReader, save_words

pytestmark = pytest.mark.unit

TEN_TWINS = 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "shop"


def awkward(root: Path) -> list[Product]:
    """Good rows, pictures that are missing, broken, shared and videos, titles that are shared."""
    rows = shop_rows(root, 20)
    draw(root / "images/shared.png", seed=77)
    (root / "images/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (root / "images/film.mp4").write_bytes(video([RED, BLUE]))
    rows[2]["images"] = ["images/none.png", "images/2.png"]
    rows[5]["images"] = ["images/broken.jpg"]
    rows[11]["images"] = ["images/broken.jpg", "images/11.png"]
    rows[7]["images"] = ["images/film.mp4", "images/7.png"]
    rows[13]["images"] = ["images/film.mp4"]
    rows[9]["images"] = []
    for number in (1, 8, 12, 13, 19):
        rows[number]["images"] = [*rows[number]["images"], "images/shared.png"]
    for number in (3, 6, 17):
        rows[number] = {**rows[number], "title": "One title", "description": "", "title_zh": ""}
    return products_of(rows)


def both(tmp_path: Path, root: Path, products: Sequence[Product], **options: Any) -> tuple[Place, Place]:
    """Run both engines, and compare all that they give; returns what they worked with."""
    with place(tmp_path / "local", root, **options) as here:
        expected = outcome(here, here.local(), products)
    with place(tmp_path / "remote", root, **options) as there:
        workers = Threads(there.recipe)
        assert outcome(there, there.remote(workers), products) == expected
        assert workers.closed
    assert [row["id"] for row in expected] == [product.id for product in products]
    return here, there


def test_rows_are_those_of_the_local_engine(tmp_path: Path, root: Path) -> None:
    here, there = both(tmp_path, root, awkward(root))
    assert there.tally.counts() == here.tally.counts()
    assert there.tally["encoded_texts"] == 18
    assert there.tally.seconds()["decode"] > 0


def test_a_second_run_sends_nothing(tmp_path: Path, root: Path) -> None:
    products = awkward(root)
    with place(tmp_path / "store", root) as first:
        workers = Threads(first.recipe)
        before = outcome(first, first.remote(workers), products)
        assert workers.sent
    with place(tmp_path / "store", root) as second:
        workers = Threads(second.recipe)
        after = outcome(second, second.remote(workers), products)
        assert second.tally["encoded_images"] == second.tally["encoded_texts"] == 0
    assert after == before
    # Broken pictures are looked at again: somebody may have repaired them.
    assert all("broken" in str(pickle.loads(package)) for package in workers.sent)


def test_unchanged_rows_are_sent_nowhere(tmp_path: Path, root: Path) -> None:
    products = products_of(shop_rows(root, 12))
    with place(tmp_path / "store", root) as one:
        hashes = {row["id"]: row["hash"] for row in outcome(one, one.local(), products)}
    with place(tmp_path / "other", root) as two:
        for product in products:
            two.known[product.id] = mark(hashes[product.id], {"price": product.price})
        workers = Threads(two.recipe)
        found = outcome(two, two.remote(workers), products)
    assert [row["unchanged"] for row in found] == [True] * 12
    assert workers.sent == []


def test_a_picture_is_embedded_once_while_it_is_on_its_way(tmp_path: Path, root: Path) -> None:
    rows = shop_rows(root, 40)
    for row in rows:
        row["images"] = ["images/0.png"]
    with place(tmp_path / "store", root) as one:
        found = outcome(one, one.remote(Threads(one.recipe)), products_of(rows))
    assert one.tally["encoded_images"] == 1
    assert len({row["shots"][0]["vectors"]["joint"] for row in found}) == 1


def test_each_twin_of_a_broken_picture_says_so_itself(tmp_path: Path, root: Path) -> None:
    rows = shop_rows(root, TEN_TWINS)
    for number, row in enumerate(rows):
        (root / f"images/broken-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
        row["images"] = [f"images/broken-{number}.jpg"]
    both(tmp_path, root, products_of(rows))


def test_files_are_sent_where_a_worker_does_not_see_them(tmp_path: Path, root: Path) -> None:
    products = awkward(root)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "images").mkdir(parents=True)
    draw(elsewhere / "images/0.png", seed=1000)  # another picture of that name
    with place(tmp_path / "local", root) as here:
        expected = outcome(here, here.local(), products)
    with place(tmp_path / "remote", root, seen_root=elsewhere) as there:
        workers = Threads(there.recipe)
        assert outcome(there, there.remote(workers), products) == expected
    sent = [shots(package) for package in workers.sent]
    assert all(shot.data is None for shot in sent[0])
    assert all(shot.data is not None for shot in sent[-1])


def shots(package: bytes) -> list[Any]:
    pieces: list[Piece] = pickle.loads(package)
    return [shot for piece in pieces for shot in piece.shots]


def test_files_that_all_see_are_not_sent(tmp_path: Path, root: Path) -> None:
    with place(tmp_path, root) as one:
        workers = Threads(one.recipe)
        outcome(one, one.remote(workers), awkward(root))
    assert all(shot.data is None for package in workers.sent for shot in shots(package))


def test_a_file_that_changes_on_the_way_is_reported(tmp_path: Path, root: Path) -> None:
    products = products_of(shop_rows(root, 3))
    with place(tmp_path, root) as one:
        load = one.loader.pictures.identify

        def changing(refs: Sequence[str]) -> Any:
            found = load(refs)
            draw(root / "images/1.png", seed=1000)
            return found

        one.loader.pictures.identify = changing  # type: ignore[method-assign]
        found = outcome(one, one.remote(Threads(one.recipe)), products)
    assert found[1]["shots"][0]["failure"][1] == "changed"
    assert [bool(row["shots"][0]["vectors"]) for row in found] == [True, False, True]


@pytest.fixture
def host() -> Iterator[PictureHost]:
    with picture_host() as found:
        yield found


def test_pictures_from_the_web_are_fetched_by_the_driver(
    tmp_path: Path, root: Path, host: PictureHost
) -> None:
    rows = shop_rows(root, 9)
    for number, row in enumerate(rows):
        row["images"] = [host.serve(f"/{number}.jpg", jpeg((number * 20, 30, 30)))]
    rows[4]["images"] = [f"{host.url}/none.jpg"]
    web = WebPictures(WebOptions(allow_hosts=frozenset({"127.0.0.1"})))
    both(tmp_path, root, products_of(rows), web=web)
    host.requests.clear()
    with place(tmp_path / "again", root, web=web) as one:
        workers = Threads(one.recipe)
        outcome(one, one.remote(workers), products_of(rows))
        assert one.loader.kept.bytes == 0
    assert sorted(host.paths()) == sorted({f"/{n}.jpg" for n in range(9) if n != 4} | {"/none.jpg"})
    assert all(shot.data for package in workers.sent for shot in shots(package))
    web.close()


def test_words_on_pictures_are_read_by_workers_and_kept_by_the_driver(tmp_path: Path, root: Path) -> None:
    rows = shop_rows(root, 6)
    known = {}
    for number in range(len(rows)):
        path = save_words(root / f"images/{number}.png", f"Card {number}")
        known[content_hash(path.read_bytes())] = (f"card-{number}",)
    broken = frozenset({list(known)[3]})
    reader = NamedReader(known, broken=broken)
    again = Again(encoder=AGAIN.encoder, reader=partial(NamedReader, known, broken=broken))
    here, there = both(tmp_path, root, products_of(rows), reader=reader, again=again)
    assert there.tally["ocr_images"] == here.tally["ocr_images"] == 5
    with place(tmp_path / "remote", root, reader=reader, again=again) as one:
        workers = Threads(one.recipe)
        found = outcome(one, one.remote(workers), products_of(rows))
    assert [row["shots"][0]["words"][0].text for row in found if row["shots"][0]["words"]] == [
        f"card-{number}" for number in (0, 1, 2, 4, 5)
    ]
    assert one.tally["ocr_images"] == 0


class Refusing(HashEncoder):
    """Cannot encode one of the pictures, and one of the texts."""

    def _picture_batch(self, batch: Sequence[Any]) -> Any:
        if any(colour == _COLOUR for _, colour in batch):
            raise EncoderError("not this picture")
        return super()._picture_batch(batch)

    def _text_batch(self, batch: Sequence[str]) -> dict[str, NDArray[Any]]:
        if any("mug 7" in text for text in batch):
            raise EncoderError("not this text")
        return dict(super()._text_batch(batch))


_COLOUR = (1, 2, 3)


def refusing(cores: int, gpu: bool) -> Encoder:
    return Refusing()


def test_what_the_encoder_refuses_costs_itself_alone(tmp_path: Path, root: Path) -> None:
    rows = shop_rows(root, 12)
    for number in (2, 9):
        Image.new("RGB", (24, 24), _COLOUR).save(root / f"images/{number}.png")
    products = products_of(rows)
    here, there = both(tmp_path, root, products, encoder=Refusing(), again=Again(encoder=refusing))
    assert there.tally["encoded_texts"] == here.tally["encoded_texts"] == 11


def test_no_more_is_on_its_way_than_may_be(tmp_path: Path, root: Path) -> None:
    read: list[str] = []
    with place(tmp_path, root) as one:
        workers = Threads(one.recipe, workers=1)
        many = products_of([{"id": f"q{n}", "title": f"Thing {n}"} for n in range(6000)])

        def reading() -> Iterator[Product]:
            for product in many:
                read.append(product.id)
                yield product

        groups = one.remote(workers).rows(reading())
        assert next(groups) is not None
        assert len(read) < 3000
        rest = [row for rows in groups for row in rows]
    assert workers.most <= workers.depth
    assert rest[-1].product.id == "q5999"


def test_bytes_on_their_way_are_bounded_too(tmp_path: Path, root: Path) -> None:
    products = products_of(shop_rows(root, 24))
    with place(tmp_path, root, seen_root=tmp_path) as one:
        workers = Threads(one.recipe, workers=4, max_bytes=1)
        assert len(outcome(one, one.remote(workers), products)) == 24
    assert workers.most == 1


def test_the_caller_hears_from_the_engine_while_workers_take_their_time(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "HEARTBEAT_S", 0.02)
    with place(tmp_path, root) as one:
        workers = Threads(one.recipe, workers=1)
        receive = workers.receive
        silent = [None] * 3
        workers.receive = lambda timeout_s: silent.pop() if silent and timeout_s else receive(timeout_s)  # type: ignore[method-assign]
        groups = list(one.remote(workers).rows(iter(products_of(shop_rows(root, 2)))))
    assert groups[:3] == [[], [], []]
    assert sum(map(len, groups)) == 2


def test_an_ingest_that_ends_early_lets_the_workers_go(tmp_path: Path, root: Path) -> None:
    with place(tmp_path, root) as one:
        workers = Threads(one.recipe)
        groups = one.remote(workers).rows(iter(products_of(shop_rows(root, 30))))
        next(groups)
        groups.close()
    assert workers.closed


class OutOfOrder(HashEncoder):
    """A service that is gone."""

    def _picture_batch(self, batch: Sequence[Any]) -> Any:
        raise EncoderServiceError("the service does not answer", hint="start it")


def out_of_order(cores: int, gpu: bool) -> Encoder:
    return OutOfOrder()


def test_a_service_that_is_out_of_order_ends_the_ingest(tmp_path: Path, root: Path) -> None:
    products = products_of(shop_rows(root, 5))
    with place(tmp_path, root, again=Again(encoder=out_of_order)) as one:
        workers = Threads(one.recipe)
        with pytest.raises(EncoderServiceError, match=r"worker on .*: the service does not answer") as caught:
            outcome(one, one.remote(workers), products)
    assert caught.value.hint == "start it"
    assert workers.closed


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("version", "0.0.0", "es-xmodal"),
        ("encoder", "x-1", "encoder here"),
        ("reader", "y-1", "reader of words"),
    ],
)
def test_a_worker_that_would_give_other_vectors_refuses(
    tmp_path: Path, root: Path, name: str, value: str, says: str
) -> None:
    from dataclasses import replace

    root.mkdir()
    with place(tmp_path, root) as one, pytest.raises(EncoderError, match=says) as caught:
        Worker(replace(one.recipe, **{name: value}), threads=1)  # type: ignore[arg-type]
    assert value in caught.value.message
    assert "same version" in caught.value.hint
    assert failure(caught.value).message.startswith("worker on ")


def test_two_packages_at_once_do_not_mix(tmp_path: Path, root: Path) -> None:
    with place(tmp_path, root) as one:
        loaded = one.loader.load(products_of(shop_rows(root, 16)))
        worker = Worker(one.recipe, threads=2)

        def work(row: Row) -> Any:
            return worker.work([Piece(shots=row.shots, text=row.text)])

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(work, loaded))
        for row, answer in zip(loaded, answers, strict=True):
            (done,) = answer.pieces
            assert set(answer.vectors) == {
                one.loader.picture_key(row.shots[0], "joint"),
                one.loader.picture_key(row.shots[0], "visual"),
                one.loader.text_key(row.text, "text"),
            }
            assert (
                done.shots[0][0].vectors["joint"]
                == answer.vectors[one.loader.picture_key(row.shots[0], "joint")]
            ).all()
