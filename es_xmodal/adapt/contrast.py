"""Heads that pull a product's pictures and texts together, and other products apart.

InfoNCE (van den Oord et al., arXiv 1807.03748) in both directions, as in CLIP; every picture and text of the
same product in the batch is a positive. AdamW (Loshchilov and Hutter, arXiv 1711.05101) with a warm-up and a
cosine. The gradients are written out and checked against differences in the tests: the package has no
torch to rely on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from es_xmodal.encoders.adapted.tower import Floats, Tower, gelu, gelu_slope, unit

Weights = dict[str, Floats]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastOptions:
    """How the training runs; the defaults are those of docs/adapt.md."""

    dim: int = 256
    hidden: int = 256
    steps: int = 200
    batch: int = 256
    rate: float = 2e-3
    decay: float = 1e-2
    picture_dropout: float = 0.5
    hidden_dropout: float = 0.3
    text_dropout: float = 0.2
    temperature: float = 0.07
    largest_scale: float = 50.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """What is learned from.

    Args:
        pictures: shape [n, features].
        products: shape [n]: number of the product on each picture.
        texts: shape [m, text features].
        text_products: shape [m]: number of the product of each text, ascending.
        text_weights: shape [m]: how often a text is drawn, against others of its product.
    """

    pictures: Floats
    products: np.ndarray
    texts: Floats
    text_products: np.ndarray
    text_weights: Floats


def fit_contrast(
    examples: Examples,
    options: ContrastOptions,
    *,
    seed: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[Tower, Tower]:
    """Train a head for pictures and one for texts.

    Args:
        examples: pictures and texts of products; every product on a picture has a text.
        options: sizes, steps, rates.
        seed: the same seed and examples give the same heads, but for the last bits of the processor's
            matrix product.
        on_step: called with each step's number and loss.

    Returns:
        The picture head and the text head.
    """
    rng = np.random.default_rng(seed)
    mean, scale = spread(examples.pictures)
    text_mean, text_scale = spread(examples.texts)
    pictures = (examples.pictures - mean) * scale
    texts = (examples.texts - text_mean) * text_scale
    weights = _start(pictures.shape[-1], texts.shape[-1], options, rng)
    optimiser = _AdamW(weights, options)
    draw = _Drawing(examples, rng)
    for step in range(options.steps):
        chosen, captions = draw.batch(options.batch)
        masks = Masks.draw(len(chosen), weights, options, rng)
        loss, slopes = loss_and_slopes(
            weights,
            pictures[chosen],
            texts[captions],
            examples.products[chosen],
            masks,
            largest_scale=options.largest_scale,
        )
        optimiser.step(slopes, _rate(step, options))
        on_step(step, loss)
    picture = Tower(
        mean=mean,
        scale=scale,
        **{name: weights[name] for name in ("linear", "bias", "wide", "wide_bias", "narrow")},
    )
    text = Tower(mean=text_mean, scale=text_scale, linear=weights["read"], bias=weights["read_bias"])
    return picture, text


def spread(rows: Floats) -> tuple[Floats, Floats]:
    """Return mean and scale that bring features to a like spread; rare features are not blown up."""
    deviation = rows.std(axis=0)
    floor = np.float32(0.05) * rows.std() + np.float32(1e-6)
    return rows.mean(axis=0), np.asarray(1 / (deviation + floor), np.float32)


@dataclass(frozen=True, slots=True)
class Masks:
    """Dropout of one step; entries are 0 or 1 / (1 - rate)."""

    picture: Floats
    hidden: Floats
    text: Floats

    @classmethod
    def draw(cls, rows: int, weights: Weights, options: ContrastOptions, rng: np.random.Generator) -> Masks:
        """Draw the masks of a batch of so many rows."""

        def mask(width: int, rate: float) -> Floats:
            kept = rng.random((rows, width), dtype=np.float32) >= rate
            return np.asarray(kept / np.float32(1 - rate), np.float32)

        return cls(
            mask(weights["linear"].shape[0], options.picture_dropout),
            mask(weights["wide"].shape[1], options.hidden_dropout),
            mask(weights["read"].shape[0], options.text_dropout),
        )


class _Drawing:
    """Draws pictures, and a text of the product on each."""

    def __init__(self, examples: Examples, rng: np.random.Generator) -> None:
        self._rng = rng
        self._products = examples.products
        numbers = np.arange(int(examples.products.max()) + 2)
        starts = np.searchsorted(examples.text_products, numbers)
        self._from, self._to = starts[:-1], starts[1:]
        self._sums = np.concatenate([[0.0], np.cumsum(examples.text_weights, dtype=np.float64)])

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the pictures and of the texts."""
        count = len(self._products)
        chosen = self._rng.permutation(count)[: min(size, count)]
        owners = self._products[chosen]
        low, high = self._sums[self._from[owners]], self._sums[self._to[owners]]
        at = low + self._rng.random(len(chosen)) * (high - low)
        texts = np.searchsorted(self._sums, at, side="right") - 1
        return chosen, np.clip(texts, self._from[owners], self._to[owners] - 1)


def _start(features: int, text_features: int, options: ContrastOptions, rng: np.random.Generator) -> Weights:
    def normal(rows: int, columns: int, size: float) -> Floats:
        drawn: Floats = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(size)
        return drawn

    return {
        "linear": normal(features, options.dim, features**-0.5),
        "bias": np.zeros(options.dim, np.float32),
        "wide": normal(features, options.hidden, (3 * features) ** -0.5),
        "wide_bias": np.zeros(options.hidden, np.float32),
        "narrow": normal(options.hidden, options.dim, (3 * options.hidden) ** -0.5),
        "read": normal(text_features, options.dim, text_features**-0.5),
        "read_bias": np.zeros(options.dim, np.float32),
        "log_scale": np.array([-np.log(options.temperature)], np.float32),
    }


def loss_and_slopes(
    weights: Weights,
    pictures: Floats,
    texts: Floats,
    products: np.ndarray,
    masks: Masks,
    *,
    largest_scale: float,
) -> tuple[float, Weights]:
    """Return the loss of a batch and its derivative by every weight.

    Args:
        weights: as `_start` makes them.
        pictures: shape [n, features], standardised.
        texts: shape [n, text features], standardised; row i belongs to picture i.
        products: shape [n]; equal numbers are positives of each other.
        masks: dropout.
        largest_scale: bound of the scale that cosines are multiplied with.
    """
    x = pictures * masks.picture
    before = x @ weights["wide"] + weights["wide_bias"]
    hidden = gelu(before) * masks.hidden
    raw = x @ weights["linear"] + weights["bias"] + hidden @ weights["narrow"]
    t = texts * masks.text
    raw_t = t @ weights["read"] + weights["read_bias"]
    seen, read = unit(raw), unit(raw_t)
    free = float(np.exp(weights["log_scale"][0]))
    scale = min(free, largest_scale)
    cosines = seen @ read.T
    loss, slope = _cross_entropy(cosines * np.float32(scale), products)
    by_seen, by_read = slope @ read * np.float32(scale), slope.T @ seen * np.float32(scale)
    by_raw, by_raw_t = _through_unit(by_seen, seen, raw), _through_unit(by_read, read, raw_t)
    by_before = (by_raw @ weights["narrow"].T) * masks.hidden * gelu_slope(before)
    by_scale = float((slope * cosines).sum()) * scale if free < largest_scale else 0.0
    return loss, {
        "linear": x.T @ by_raw,
        "bias": by_raw.sum(axis=0),
        "wide": x.T @ by_before,
        "wide_bias": by_before.sum(axis=0),
        "narrow": hidden.T @ by_raw,
        "read": t.T @ by_raw_t,
        "read_bias": by_raw_t.sum(axis=0),
        "log_scale": np.array([by_scale], np.float32),
    }


def _cross_entropy(logits: Floats, products: np.ndarray) -> tuple[float, Floats]:
    """Both directions, mean over the batch: loss and its derivative by the logits."""
    same = (products[:, None] == products[None, :]).astype(np.float32)
    wanted = same / same.sum(axis=1, keepdims=True)
    rows, columns = _log_softmax(logits), _log_softmax(logits.T).T
    count = np.float32(len(logits))
    # `same` is symmetric, so its transpose is the target by columns.
    loss = -float((wanted * rows).sum() + (wanted.T * columns).sum()) / float(count)
    return loss, np.asarray((np.exp(rows) - wanted + np.exp(columns) - wanted.T) / count, np.float32)


def _log_softmax(rows: Floats) -> Floats:
    shifted = rows - rows.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float32)


def _through_unit(slope: Floats, unit_rows: Floats, raw: Floats) -> Floats:
    """From the derivative by raw / |raw| to that by raw."""
    lengths = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-8)
    along = (slope * unit_rows).sum(axis=1, keepdims=True)
    return np.asarray((slope - along * unit_rows) / lengths, np.float32)


def _rate(step: int, options: ContrastOptions, warm: float = 0.1) -> float:
    """A cosine up over the first tenth, a cosine down over the rest (L. Smith, arXiv 1708.07120)."""
    up = max(1.0, warm * options.steps)
    if step < up:
        return options.rate * (0.04 + 0.96 * (1 - math.cos(math.pi * step / up)) / 2)
    done = (step - up) / max(1.0, options.steps - 1 - up)
    return options.rate * (1 + math.cos(math.pi * min(1.0, done))) / 2


class _AdamW:
    """Adam with decoupled weight decay; works in place on its weights."""

    def __init__(self, weights: Weights, options: ContrastOptions) -> None:
        self._weights = weights
        self._decay = options.decay
        self._first = {name: np.zeros_like(array) for name, array in weights.items()}
        self._second = {name: np.zeros_like(array) for name, array in weights.items()}
        self._steps = 0

    def step(self, slopes: Weights, rate: float, *, b1: float = 0.9, b2: float = 0.999) -> None:
        """Move the weights; the slopes are used up as working memory."""
        self._steps += 1
        first_scale = np.float32(rate / (1 - b1**self._steps))
        second_scale = np.float32(1 / (1 - b2**self._steps))
        for name, work in slopes.items():
            first, second, weight = self._first[name], self._second[name], self._weights[name]
            first *= np.float32(b1)
            first += np.float32(1 - b1) * work
            np.multiply(work, work, out=work)
            np.multiply(work, np.float32(1 - b2), out=work)
            second *= np.float32(b2)
            second += work
            weight *= np.float32(1 - rate * self._decay)
            np.multiply(second, second_scale, out=work)
            np.sqrt(work, out=work)
            np.add(work, np.float32(1e-8), out=work)
            np.divide(first, work, out=work)
            np.multiply(work, first_scale, out=work)
            weight -= work
