"""Trains heads on examples, and the gate on what was said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from es_xmodal.adapt.anything import ANYTHING
from es_xmodal.adapt.cca import fit_cca
from es_xmodal.adapt.contrast import ContrastOptions, Examples, fit_contrast
from es_xmodal.adapt.features import Features
from es_xmodal.adapt.gather import Gathered
from es_xmodal.encoders.adapted.gate import Gate
from es_xmodal.encoders.adapted.heads import Heads, Member
from es_xmodal.encoders.adapted.tower import unit

GATE_LOW, GATE_HIGH = 0.45, 0.75
PICTURE_LOW, PICTURE_HIGH = 0.5, 0.75
_GATE_TEXTS = 8192
_GATE_PICTURES = 4096
_CCA_DIM = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class FitOptions:
    """How heads are made.

    Args:
        contrast_heads: heads trained by InfoNCE, each from another start; their mean is steadier.
        contrast: how; its steps are for 800 pictures, and grow with the root of their number.
        joint_share: of the adapted part in the joint space.
        visual_share: of the adapted part in the visual space, where photos were given.
    """

    contrast_heads: int = 2
    contrast: ContrastOptions = field(default_factory=ContrastOptions)
    joint_share: float = 0.7
    visual_share: float = 0.75


def fit_heads(
    examples: Examples,
    gates: tuple[Gate, Gate],
    options: FitOptions,
    *,
    seed: int,
    photos: bool,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> Heads:
    """Train an ensemble: one head in closed form, and some by InfoNCE.

    Args:
        examples: what is learned from.
        gates: for texts and for pictures; they go along.
        options: see there.
        seed: of the starts.
        photos: whether products have photos beside their catalogue picture; only then is there something to
            be learned for the visual space.
        on_step: called with the steps done and all steps.
    """
    steps = round(options.contrast.steps * min(5.0, max(0.5, (len(examples.pictures) / 800) ** 0.5)))
    total = steps * options.contrast_heads
    picture, text = fit_cca(examples, dim=_CCA_DIM)
    members = [Member(picture=picture, text=text, weight=0.5)]
    for number in range(options.contrast_heads):
        picture, text = fit_contrast(
            examples,
            replace(options.contrast, steps=steps),
            seed=seed + number,
            on_step=partial(_counted, on_step, number * steps, total),
        )
        members.append(Member(picture=picture, text=text, weight=0.5 / options.contrast_heads))
    return Heads(
        members=members,
        gate=gates[0],
        picture_gate=gates[1],
        joint_share=options.joint_share,
        visual_share=options.visual_share if photos else 0.0,
    )


def _counted(on_step: Callable[[int, int], None], before: int, total: int, step: int, loss: float) -> None:
    """From the steps of one head to those of all."""
    on_step(before + step + 1, total)


def fit_gate(gathered: Gathered, products: np.ndarray, features: Features, *, space: str, seed: int) -> Gate:
    """Remember what the training's texts are like.

    Args:
        gathered: all texts.
        products: numbers of those that are learned from.
        features: asks the base about texts of any kind, whose mean is the centre.
        space: of the base, in which texts are compared.
        seed: for the choice among many texts; titles come first.
    """
    centre = features.texts(ANYTHING).vectors[space].mean(axis=0)
    titles = gathered.titles[products]
    rest = np.setdiff1d(np.flatnonzero(np.isin(gathered.text_owners, products)), titles)
    rng = np.random.default_rng([seed, 2])
    rows = np.concatenate([rng.permutation(titles), rng.permutation(rest)])
    vectors = unit(gathered.texts.vectors[space][rows] - centre).astype(np.float16)
    # Many products share a caption: each once, the first ones kept.
    _, first = np.unique(vectors, axis=0, return_index=True)
    return Gate(centre=centre, known=vectors[np.sort(first)[:_GATE_TEXTS]], low=GATE_LOW, high=GATE_HIGH)


def fit_picture_gate(gathered: Gathered, pictures: np.ndarray, *, space: str, seed: int) -> Gate:
    """Remember what the training's pictures are like.

    Args:
        gathered: all pictures.
        pictures: rows that are learned from.
        space: of the base, in which pictures are compared.
        seed: for the choice among many.
    """
    rows = np.random.default_rng([seed, 3]).permutation(pictures)[:_GATE_PICTURES]
    known = gathered.pictures.vectors[space][np.sort(rows)]
    # Not centred: the mean of one shop's pictures is what they have in common, and that is what counts here.
    centre = np.zeros(known.shape[1], np.float32)
    return Gate(centre=centre, known=known.astype(np.float16), low=PICTURE_LOW, high=PICTURE_HIGH)
