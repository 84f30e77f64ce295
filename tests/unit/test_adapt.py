"""Adapting an encoder: the arithmetic against differences and known answers, and what is read from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from es_xmodal.adapt.captions import Captions
from es_xmodal.adapt.cca import fit_cca
from es_xmodal.adapt.contrast import ContrastOptions, Examples, Masks, fit_contrast, loss_and_slopes
from es_xmodal.adapt.pairs import Click, Photo, read_clicks, read_photos
from es_xmodal.adapt.words import joined, learn_words
from es_xmodal.catalog.product import Product
from es_xmodal.encoders.adapted.gate import Gate
from es_xmodal.encoders.adapted.heads import Heads, Member
from es_xmodal.encoders.adapted.tower import Tower, gelu, gelu_slope
from es_xmodal.errors import CatalogError, EncoderError

pytestmark = pytest.mark.unit

SMALL = ContrastOptions(dim=8, hidden=12, steps=60, batch=32)
# Few features: as much dropout as for thousands would leave nothing of them.
STEADY = ContrastOptions(
    dim=8,
    hidden=12,
    steps=200,
    batch=80,
    rate=1e-2,
    picture_dropout=0.05,
    hidden_dropout=0.05,
    text_dropout=0.05,
)


def planted(count: int = 80, *, seed: int = 0) -> Examples:
    """Pictures and texts that show the same four numbers, each in a basis of its own, with noise."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((count, 4)).astype(np.float32)
    bases = np.random.default_rng(99)
    pictures = hidden @ bases.standard_normal((4, 20)).astype(np.float32)
    texts = np.repeat(hidden, 2, axis=0) @ bases.standard_normal((4, 15)).astype(np.float32)
    return Examples(
        pictures=pictures + 0.1 * rng.standard_normal(pictures.shape, dtype=np.float32),
        products=np.arange(count),
        texts=texts + 0.1 * rng.standard_normal(texts.shape, dtype=np.float32),
        text_products=np.repeat(np.arange(count), 2),
        text_weights=np.ones(2 * count, np.float32),
    )


def first_places(picture: Tower, text: Tower, examples: Examples) -> float:
    scores = text(examples.texts[::2]) @ picture(examples.pictures).T
    return float((scores.argmax(axis=1) == np.arange(len(scores))).mean())


def test_every_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(3)
    features, read, dim, hidden, rows = 7, 5, 4, 6, 9
    weights = {
        "linear": rng.standard_normal((features, dim)),
        "bias": rng.standard_normal(dim),
        "wide": rng.standard_normal((features, hidden)),
        "wide_bias": rng.standard_normal(hidden),
        "narrow": rng.standard_normal((hidden, dim)),
        "read": rng.standard_normal((read, dim)),
        "read_bias": rng.standard_normal(dim),
        "log_scale": np.array([1.2]),
    }
    masks = Masks(
        2.0 * (rng.random((rows, features)) > 0.5),
        1.5 * (rng.random((rows, hidden)) > 0.3),
        1.25 * (rng.random((rows, read)) > 0.2),
    )
    # Two products stand twice in the batch, so that positives are more than the diagonal.
    batch = (rng.standard_normal((rows, features)), rng.standard_normal((rows, read)))
    products = np.array([0, 1, 2, 3, 4, 5, 6, 0, 1])

    def loss(name: str, at: tuple[int, ...], step: float) -> float:
        moved = {**weights, name: weights[name].copy()}
        moved[name][at] += step
        return loss_and_slopes(moved, *batch, products, masks, largest_scale=50.0)[0]

    _, slopes = loss_and_slopes(weights, *batch, products, masks, largest_scale=50.0)
    for name, slope in slopes.items():
        for at in np.ndindex(slope.shape):
            by_difference = (loss(name, at, 1e-3) - loss(name, at, -1e-3)) / 2e-3
            assert slope[at] == pytest.approx(by_difference, abs=3e-3, rel=1e-2), (name, at)


def test_the_scale_stops_at_its_bound() -> None:
    options = ContrastOptions(dim=3, hidden=4, temperature=1e-3)
    rng = np.random.default_rng(0)
    weights = {
        "linear": rng.standard_normal((5, 3)),
        "bias": np.zeros(3),
        "wide": rng.standard_normal((5, 4)),
        "wide_bias": np.zeros(4),
        "narrow": rng.standard_normal((4, 3)),
        "read": rng.standard_normal((5, 3)),
        "read_bias": np.zeros(3),
        "log_scale": np.array([-np.log(options.temperature)]),
    }
    ones = Masks(np.ones((4, 5)), np.ones((4, 4)), np.ones((4, 5)))
    items = rng.standard_normal((4, 5))
    _, slopes = loss_and_slopes(weights, items, items, np.arange(4), ones, largest_scale=50.0)
    assert slopes["log_scale"][0] == 0


def test_the_slope_of_gelu_is_its_derivative() -> None:
    x = np.linspace(-4, 4, 81)
    assert np.allclose(gelu_slope(x), (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5, atol=1e-5)
    assert gelu(np.array([1.0])) == pytest.approx(0.8412, abs=1e-3)


def test_cca_finds_what_both_sides_share() -> None:
    picture, text = fit_cca(planted(), dim=8)
    assert first_places(picture, text, planted(seed=1)) > 0.8
    shuffled = planted()
    rng = np.random.default_rng(5)
    wrong = Examples(
        pictures=shuffled.pictures[rng.permutation(80)],
        products=shuffled.products,
        texts=shuffled.texts,
        text_products=shuffled.text_products,
        text_weights=shuffled.text_weights,
    )
    assert first_places(*fit_cca(wrong, dim=8), planted(seed=1)) < 0.2


def test_contrast_learns_what_both_sides_share_and_its_loss_falls() -> None:
    losses: list[float] = []
    picture, text = fit_contrast(planted(), STEADY, seed=0, on_step=lambda _, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert first_places(picture, text, planted(seed=1)) > 0.4


def test_the_same_seed_gives_the_same_heads_and_another_one_others() -> None:
    first, again = (fit_contrast(planted(), SMALL, seed=4)[0] for _ in range(2))
    assert all(np.array_equal(first.arrays()[name], again.arrays()[name]) for name in first.arrays())
    other, _ = fit_contrast(planted(), SMALL, seed=5)
    assert not np.array_equal(first.linear, other.linear)


def test_a_text_of_another_domain_is_left_to_the_base() -> None:
    gate = Gate(
        centre=np.array([0.0, 0.0, 1.0], np.float32),
        known=np.array([[1, 0, 0]], np.float16),
        low=0.45,
        high=0.75,
    )
    angles = np.arccos([1.0, 0.6, 0.3, -1.0])
    rows = np.stack([np.cos(angles), np.sin(angles), np.ones(4)], axis=1).astype(np.float32)
    assert gate(rows) == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-3)


def heads(seed: int = 0) -> Heads:
    examples = planted(seed=seed)
    gate = Gate(centre=np.zeros(3, np.float32), known=np.eye(3, dtype=np.float16), low=0.4, high=0.8)
    members = [
        Member(picture=pair[0], text=pair[1], weight=0.5)
        for pair in (fit_cca(examples, dim=5), fit_contrast(examples, SMALL, seed=0))
    ]
    return Heads(members=members, gate=gate, picture_gate=gate, joint_share=0.7, visual_share=0.0)


def test_heads_are_read_as_they_were_written() -> None:
    written = heads()
    content = written.to_bytes()
    read = Heads.from_bytes(content, where=Path("x"))
    items = planted(seed=2)
    assert np.array_equal(read.pictures(items.pictures), written.pictures(items.pictures))
    assert np.array_equal(read.texts(items.texts), written.texts(items.texts))
    assert read.to_bytes() == content == heads().to_bytes()
    assert np.allclose(np.linalg.norm(read.texts(items.texts), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("harm", ["empty", "cut", "no zip", "pickle"])
def test_broken_heads_are_one_line(harm: str, tmp_path: Path) -> None:
    content = heads().to_bytes()
    np.savez(tmp_path / "pickled.npz", version=np.array([{}], dtype=object))
    broken = {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "no zip": b"PK" + content[::-1],
        "pickle": (tmp_path / "pickled.npz").read_bytes(),
    }
    with pytest.raises(EncoderError, match="x is damaged") as caught:
        Heads.from_bytes(broken[harm], where=Path("x"))
    assert "\n" not in str(caught.value)


def test_a_tower_whose_parts_do_not_fit_is_refused() -> None:
    parts = fit_cca(planted(), dim=3)[0].arrays()
    for wrong in (
        {**parts, "bias": np.zeros(4)},
        {**parts, "wide": np.zeros((20, 3))},
        {**parts, "mean": np.full(20, np.nan)},
        {name: array for name, array in parts.items() if name != "mean"},
        {**parts, "other": np.zeros(3)},
    ):
        with pytest.raises(EncoderError):
            Tower.of(wrong)


def product(number: int, **fields: object) -> Product:
    row = {"title": f"Korvane Men Blue Shirt {number}", "titles": {"zh": "男士蓝色纯棉衬衫"}, **fields}
    return Product(id=f"p{number}", **row)  # type: ignore[arg-type]


def test_captions_have_titles_fewer_words_and_shared_attributes() -> None:
    shop = [
        product(n, category=("Clothes", "Shirts"), attributes={"colour": ("Blue",)}, extra={"code": f"x{n}"})
        for n in range(3)
    ]
    captions = Captions(shop)
    texts = [caption.text for caption in captions.of(shop[0])]
    assert texts[:2] == ["Korvane Men Blue Shirt 0", "男士蓝色纯棉衬衫"]
    assert {"shirts", "blue shirts"} <= set(texts)
    # A code that no other product has is not what people ask for.
    assert not any("x0" in text for text in texts)
    words = {"Korvane", "Men", "Blue", "Shirt", "0"}
    assert any(set(text.split()) < words for text in texts[2:])
    assert texts == [caption.text for caption in Captions(list(reversed(shop))).of(shop[0])]


def coloured() -> list[Product]:
    shop = []
    kinds = (("Shirts", "衬衫"), ("Dresses", "连衣裙"))
    colours = (("Blue", "蓝色"), ("Red", "红色"), ("Maroon", "酒红色"))
    for number in range(48):
        (kind, kind_zh), (colour, colour_zh) = kinds[number % 2], colours[number // 2 % 3]
        whose, whose_zh = (("Men", "男士"), ("Women", "女士"))[number // 6 % 2]
        shop.append(
            Product(
                id=f"c{number}",
                title=f"Korvane {whose} {colour} Model {number}",
                titles={"zh": f"{whose_zh}{colour_zh}{'印花' if number % 5 else ''}{kind_zh}"},
                brand="Korvane",
                category=("Clothes", kind),
                attributes={"whose": (whose,), "colour": (colour,), "season": ("Fall", "Summer")},
            )
        )
    return shop


def test_phrases_are_composed_in_every_language_of_the_titles() -> None:
    shop = coloured()
    captions = Captions(shop)
    found = {caption.text: caption.weight for caption in captions.of(shop[11])}
    # Number 11: women, maroon, dresses; titles never speak of the season.
    assert {"women maroon dresses", "women maroon dress", "dresses", "女士酒红色连衣裙", "连衣裙"} <= set(
        found
    )
    assert not any("fall" in text or "summer" in text for text in found)
    assert not any("korvane" in text for text in found)
    assert min(found.values()) > 0
    again = Captions(list(reversed(shop))).of(shop[11])
    assert {caption.text: caption.weight for caption in again} == found


def test_words_of_titles_that_go_with_a_value() -> None:
    shop = coloured()
    values = [{value for owned in product.attributes.values() for value in owned} for product in shop]
    words = learn_words([product.titles["zh"] for product in shop], values)
    assert words == {"Men": "男士", "Women": "女士", "Blue": "蓝色", "Red": "红色", "Maroon": "酒红色"}
    # What all have, and what too few have, tells nothing.
    assert learn_words(["a b", "a c", "a c"], [{"x", "y"}, {"x"}, {"x"}]) == {}


def test_chinese_words_are_joined_without_a_space() -> None:
    assert joined(["男士", "蓝色", "t恤"]) == "男士蓝色t恤"
    assert joined(["men", "blue", "shirts"]) == "men blue shirts"
    assert joined(["running", "running shoes", ""]) == "running shoes"


@pytest.mark.parametrize(
    "text",
    [
        "p1\ta/b.jpg\np2\tc 1.png\n",
        "\ufeffpath,split,product_id\na/b.jpg,train,p1\nx.jpg,val,p1\nc 1.png,train,p2\n",
        '{"id": "p1", "path": "a/b.jpg"}\n\n{"product_id": "p2", "image": "c 1.png"}\n',
    ],
)
def test_photos_are_read_in_three_forms(text: str, tmp_path: Path) -> None:
    path = tmp_path / "photos"
    path.write_text(text, encoding="utf-8")
    found = read_photos(path)
    assert found.photos == (Photo(product="p1", path="a/b.jpg"), Photo(product="p2", path="c 1.png"))
    assert found.other_split == text.count("val")


def test_clicks_have_a_weight_or_one(tmp_path: Path) -> None:
    path = tmp_path / "clicks.tsv"
    path.write_text('blue  shirt\tp1\t3\n15" 屏幕\tp2\n', encoding="utf-8")
    assert read_clicks(path) == (
        Click(product="p1", query="blue shirt", weight=3.0),
        Click(product="p2", query='15" 屏幕', weight=1.0),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no photo"),
        ("p1\n", "line 1: no path"),
        ("p1\ta.jpg\np2\t\n", "line 2: no product or no picture"),
        ('{"id": 1}', "line 1: no path"),
        ("{broken", "line 1: no JSON object"),
        ("path,split,id\na.jpg,val,p1\n", "names no photo"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_of_photos_that_is_none(text: str | bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(CatalogError, match=says) as caught:
        read_photos(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "many"])
def test_a_weight_that_is_none(weight: str, tmp_path: Path) -> None:
    path = tmp_path / "clicks.tsv"
    path.write_text(f"shirt\tp1\t{weight}\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="line 1: weight"):
        read_clicks(path)


def test_no_such_file() -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        read_clicks(Path("nowhere.tsv"))
