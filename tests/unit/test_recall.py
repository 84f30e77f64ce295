"""Exact scores and recall, against a loop that a person can check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from es_xmodal.errors import ClusterAnswerError, ClusterRefusedError
from es_xmodal.evaluation.exact import FieldSample, exact_scores, recall
from es_xmodal.index.scratch import PREFIX, fill, scratch_index
from tests.support.fake_node import Answer, Asked, fake_client

pytestmark = pytest.mark.unit


def sample(similarity: str) -> FieldSample:
    draw = np.random.default_rng(4)
    vectors = draw.standard_normal((7, 5)).astype(np.float32)
    if similarity == "dot_product":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owners = np.array([0, 0, 2, 3, 3, 3, 5])
    return FieldSample(
        field="images.joint",
        similarity=similarity,
        vectors=vectors,
        owners=owners,
        queries=vectors[[1, 6]] + np.float32(0.1),
        asked="pictures",
    )


def by_hand(similarity: str, a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    dot = float(a @ b)
    if similarity == "cosine":
        return (1 + dot / (float(np.linalg.norm(a)) * float(np.linalg.norm(b)))) / 2
    if similarity == "l2_norm":
        return 1 / (1 + float(np.linalg.norm(a - b)) ** 2)
    if similarity == "max_inner_product":
        return 1 / (1 - dot) if dot < 0 else dot + 1
    return (1 + dot) / 2


@pytest.mark.parametrize("similarity", ["cosine", "dot_product", "l2_norm", "max_inner_product"])
def test_the_best_picture_of_each_product_counts(similarity: str) -> None:
    drawn = sample(similarity)
    scores, products = exact_scores(drawn)
    assert products.tolist() == [0, 2, 3, 5]
    for at, query in enumerate(drawn.queries):
        for column, product in enumerate(products):
            rows = drawn.vectors[drawn.owners == product]
            assert scores[at, column] == pytest.approx(max(by_hand(similarity, query, row) for row in rows))


def test_recall() -> None:
    exact = np.array([0.9, 0.8, 0.7, 0.7, 0.1])
    assert recall(exact, [0, 1, 2], 3) == 1.0
    assert recall(exact, [0, 1, 3], 3) == 1.0, "ties have no order"
    assert recall(exact, [0, 4, 1], 2) == 0.5
    assert recall(exact, [4, 0, 1], 3) == pytest.approx(2 / 3)
    assert recall(exact, [0, 1, 2, 3, 4], 10) == 1.0, "no more can be found than there is"
    assert recall(exact, [], 3) == 0.0


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (
            403,
            {"error": {"type": "security_exception", "reason": "unauthorized"}},
            ClusterRefusedError,
            "may not do this",
        ),
        (200, {"acknowledged": True, "shards_acknowledged": False}, ClusterAnswerError, "room on the disks"),
    ],
)
def test_no_privilege_and_no_room_are_one_line_and_leave_nothing(
    status: int, body: dict[str, Any], error: type[Exception], says: str
) -> None:
    def play(asked: Asked) -> Answer:
        if asked.method == "PUT":
            return Answer(status=status, body=body)
        return Answer(status=status, body={"acknowledged": True})

    client, asked, _ = fake_client(play, max_retries=0)
    with pytest.raises(error, match=says) as caught, scratch_index(client, {"mappings": {}}):
        pytest.fail("there is no index to fill")
    assert "creating the temporary index" in str(caught.value)
    assert [one.method for one in asked] == ["PUT", "DELETE"]
    assert asked[0].target.startswith(f"/{PREFIX}")


def test_a_refused_document_is_an_error() -> None:
    failed = {"error": {"type": "cluster_block_exception", "reason": "disk usage exceeded flood-stage"}}
    answer = Answer(status=200, body={"errors": True, "items": [{"index": {}}, {"index": failed}]})
    client, _, _ = fake_client(lambda asked: answer, max_retries=0)
    with pytest.raises(ClusterAnswerError, match="flood-stage"):
        fill(client, "x", [("1", b"{}"), ("2", b"{}")])
