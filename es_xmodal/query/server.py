"""The server's own fusions: its `linear` and `rrf` retrievers, and what stands in where it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from es_xmodal.query.fusion import RRF_CONSTANT, ServerFusion, minmax
from es_xmodal.query.legs import Clause, Leg
from es_xmodal.query.model import CLIENT_FORMS, Fusion
from es_xmodal.query.view import IndexView

Weights = Mapping[str, float]


def settle(fusion: Fusion, legs: Sequence[Leg], view: IndexView) -> tuple[Fusion, tuple[str, ...]]:
    """Choose what fuses the legs.

    Args:
        fusion: what was asked for.
        legs: the legs of the plan.
        view: says which retrievers the server answers.

    Returns:
        The fusion, and what the caller should know about it.
    """
    if fusion not in CLIENT_FORMS:
        return fusion, ()
    instead, name = CLIENT_FORMS[fusion], retriever_name(fusion)
    if name not in view.retrievers:
        why = f"this server has no retriever {name}, or its licence does not cover it"
        return instead, (f"{fusion} is not to be had, {instead} ranks instead: {why}",)
    if name == "rrf" and len(legs) < 2:
        return instead, (f"{fusion} needs two legs or more, {instead} ranks instead",)
    if name == "rrf" and not view.weighted_rrf and len({leg.weight for leg in legs}) > 1:
        return fusion, ("the weights have no effect: this server's rrf takes none before 9.2",)
    return fusion, ()


def retriever_name(fusion: Fusion) -> str:
    """`rrf` of `server-rrf`."""
    return fusion.removeprefix("server-")


def server_weights(fusion: Fusion, legs: Sequence[Leg], *, weighted_rrf: bool) -> dict[str, float]:
    """The weights that the server is given: those of `linear` add up to 1, as those of `convex` do.

    Args:
        fusion: `server-linear` or `server-rrf`.
        legs: the legs of the plan.
        weighted_rrf: the server's `rrf` takes weights.

    Returns:
        Leg name to weight.
    """
    if fusion == "server-rrf":
        return {leg.name: leg.weight if weighted_rrf else 1.0 for leg in legs}
    total = sum(leg.weight for leg in legs if not leg.pinned) or 1.0
    return {leg.name: leg.weight if leg.pinned else leg.weight / total for leg in legs}


def retriever_body(
    fusion: Fusion, legs: Sequence[Leg], weights: Weights, window: int, filters: Sequence[Clause]
) -> dict[str, Any]:
    """The search that fuses the legs' windows on the server: ids and scores only.

    Args:
        fusion: `server-linear` or `server-rrf`.
        legs: the legs of the plan.
        weights: see `server_weights`.
        window: candidates a leg, and products that come back.
        filters: what every product meets.

    Returns:
        The body.
    """
    parts = [(weights[leg.name], leg.retriever(window, filters)) for leg in legs]
    if fusion == "server-linear":
        inner = [{"retriever": one, "weight": weight, "normalizer": "minmax"} for weight, one in parts]
        how: Clause = {"linear": {"retrievers": inner, "rank_window_size": window}}
    else:
        equal = all(weight == 1.0 for weight, _ in parts)
        inner = [one if equal else {"retriever": one, "weight": weight} for weight, one in parts]
        how = {"rrf": {"retrievers": inner, "rank_window_size": window, "rank_constant": RRF_CONSTANT}}
    return {"retriever": how, "size": window, "_source": False, "track_total_hits": False}


def server_fusion(
    fusion: Fusion,
    weights: Weights,
    raws: Mapping[str, Mapping[str, float]],
    scores: Mapping[str, float],
) -> ServerFusion:
    """Put the server's ranking beside the formula that is documented for it.

    Args:
        fusion: `server-linear` or `server-rrf`.
        weights: see `server_weights`.
        raws: leg name to (product to raw score), the best first.
        scores: product to the server's score.

    Returns:
        The fusion.
    """
    if fusion == "server-linear":
        parts = {name: minmax(one) for name, one in raws.items()}
    else:
        parts = {
            name: {product: 1 / (RRF_CONSTANT + rank) for rank, product in enumerate(one, start=1)}
            for name, one in raws.items()
        }
    return ServerFusion(weights=weights, raws=raws, parts=parts, scores=scores)
