"""The rule for the kind of vector index: every row, every refusal, every price."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from es_xmodal.errors import SettingsError
from es_xmodal.index.body import IndexOptions
from es_xmodal.index.quantisation import (
    EXACT_VECTORS,
    GIB,
    KINDS,
    LADDER,
    LEAST_DIMS_BBQ,
    LEAST_RECALL,
    MEMORY_BYTES,
    MOST_ERROR,
    Choice,
    Facts,
    FieldFacts,
    Measured,
    choose,
    kind_of,
    kinds_for,
    oversample_of,
    price,
    refusal,
)

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
GOOD = Measured(recall_at_10=1.0, max_error=0.0, median_ms=5.0)


def facts(vectors: int | None, *, dims: tuple[int, ...] = (512,), **changes: Any) -> Facts:
    fields = tuple(FieldFacts(name=f"f{at}", dims=dim, vectors=vectors) for at, dim in enumerate(dims))
    return Facts(**{"fields": fields, "version": (9, 5, 3), "license": None, **changes})


def just_over(kind: str, dims: int = 512) -> int:
    """So many vectors that this kind no longer fits."""
    return int(MEMORY_BYTES / KINDS[kind].bytes_a_vector(dims)) + 1


BIG = just_over("hnsw")
HUGE = just_over("int8_hnsw")
VAST = just_over("int4_hnsw")
BEYOND = just_over("bbq_hnsw")


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        (facts(None), "hnsw", "not known"),
        (Facts(fields=(), version=(9, 5, 3)), "hnsw", "not known"),
        (facts(0), "flat", "exact"),
        (facts(EXACT_VECTORS), "flat", "10,000 vectors"),
        (facts(EXACT_VECTORS, version=(8, 15, 0)), "flat", "exact"),
        (facts(EXACT_VECTORS + 1), "hnsw", "exact scores; floats and graph of 10,001 vectors"),
        (facts(BIG - 1), "hnsw", "within 4.0 GiB"),
        (facts(BIG), "int8_hnsw", "scored again exactly"),
        (facts(BIG // 2 + 1, dims=(512, 512)), "int8_hnsw", "floats and graph would take 4.0 GiB"),
        (facts(BIG, version=(8, 17, 9)), "hnsw", "before Elasticsearch 8.18 its scores stay approximate"),
        (facts(BIG, version=(8, 18, 0)), "int8_hnsw", "scored again"),
        (facts(BIG, version=(8, 19, 21), several_pictures=True), "hnsw", "pictures may be lost"),
        (facts(BIG, version=(8, 19, 21)), "int8_hnsw", "scored again"),
        (facts(BIG, version=(9, 0, 0), several_pictures=True), "int8_hnsw", "pictures may be lost"),
        (facts(VAST, several_pictures=True), "int8_hnsw", "the least there is, above 4.0 GiB"),
        (facts(HUGE), "int4_hnsw", "2 k candidates"),
        (facts(HUGE, dims=(513,)), "bbq_hnsw", "3 k candidates"),
        (facts(VAST), "bbq_hnsw", "within 4.0 GiB"),
        (facts(VAST * 2, dims=(382,)), "int4_hnsw", "the least there is, above 4.0 GiB"),
        (facts(VAST * 2, dims=(382, 512)), "int4_hnsw", "above 4.0 GiB"),
        (facts(BEYOND), "bbq_hnsw", "the least there is"),
        (facts(BEYOND, license="basic"), "bbq_hnsw", "the least there is"),
        (facts(BEYOND, license="enterprise"), "bbq_disk", "within 4.0 GiB"),
        (facts(BEYOND, license="trial"), "bbq_disk", "within 4.0 GiB"),
        (facts(BEYOND, license="enterprise", version=(9, 1, 9)), "bbq_hnsw", "the least there is"),
    ],
)
def test_every_row_of_the_rule(given: Facts, kind: str, says: str) -> None:
    choice = choose(given)
    assert choice.type == kind, choice
    assert says in choice.reason
    assert refusal(choice.type, given) is None, "the rule never chooses what the server refuses"
    assert choice.to_json() == {"type": choice.type, "reason": choice.reason}
    IndexOptions(vector_index=choice.type)


def test_what_was_measured_as_not_exact_enough_is_passed_over() -> None:
    given = facts(BIG)
    poor = Measured(recall_at_10=0.97, max_error=0.0, median_ms=1.0)
    wrong = Measured(recall_at_10=1.0, max_error=0.0011, median_ms=1.0)
    assert choose(given, dict.fromkeys(LADDER, GOOD)) == choose(given)
    assert choose(given, {"int8_hnsw": poor}).type == "int4_hnsw"
    assert choose(given, {"int8_hnsw": wrong, "int4_hnsw": poor}).type == "bbq_hnsw"
    nothing = choose(given, dict.fromkeys(LADDER, poor))
    assert nothing == Choice(type="hnsw", reason=nothing.reason)
    assert "no smaller kind was measured as exact enough" in nothing.reason


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("int8_hnsw", facts(1, dims=(7,), version=(8, 15, 0)), None),
        ("int4_flat", facts(1, dims=(63,)), "needs an even number of dimensions, f0 has 63"),
        ("bbq_hnsw", facts(1, dims=(512, 63)), "needs 64 dimensions, f1 has 63"),
        ("bbq_flat", facts(1, version=(8, 15, 5)), "needs Elasticsearch 8.16, this is 8.15"),
        ("bbq_disk", facts(1, version=(9, 1, 0), license="trial"), "needs Elasticsearch 9.2, this is 9.1"),
        ("bbq_disk", facts(1, license="platinum"), "needs an Enterprise licence"),
        ("bbq_disk", facts(1, license="enterprise"), None),
        ("flat", facts(1, dims=(1,), version=(8, 15, 0)), None),
    ],
)
def test_what_a_server_does_not_take(kind: str, given: Facts, says: str | None) -> None:
    assert refusal(kind, given) == says
    assert (kind in kinds_for(given)) == (says is None)


def test_what_a_kind_costs_in_exactness() -> None:
    old, nested = facts(1, version=(8, 17, 0)), facts(1, version=(8, 19, 0), several_pictures=True)
    assert not [name for name in ("hnsw", "flat") if price(name, old) or price(name, nested)]
    assert "stay approximate" in (price("int8_flat", old) or "")
    assert "pictures may be lost" in (price("bbq_hnsw", nested) or "")
    assert "pictures may be lost" in (price("int8_hnsw", facts(1, several_pictures=True)) or "")
    assert price("bbq_hnsw", facts(1)) is None


def test_memory() -> None:
    assert KINDS["flat"].bytes_a_vector(512) == 2048
    assert KINDS["hnsw"].bytes_a_vector(512, m=16) == 2048 + 128
    sizes = [KINDS[name].bytes_a_vector(512) for name in ("hnsw", *LADDER)]
    assert sizes == sorted(sizes, reverse=True), "each rung takes less than the one before"
    two = Facts(
        version=(9, 0, 0),
        fields=(
            FieldFacts(name="a", dims=4, vectors=10),
            FieldFacts(name="b", dims=8, vectors=1),
            FieldFacts(name="c", dims=8, vectors=None),
        ),
    )
    assert two.memory("flat") == 10 * 16 + 32
    assert two.most_vectors is None
    assert MEMORY_BYTES == 4 * GIB


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, None),
        ({"type": "hnsw"}, None),
        ({"type": "flat", "rescore_vector": {"oversample": 3}}, None),
        ({"type": "int8_hnsw"}, 2.0),
        ({"type": "int4_flat"}, 2.0),
        ({"type": "bbq_hnsw"}, 3.0),
        ({"type": "bbq_hnsw", "rescore_vector": {"oversample": 5}}, 5.0),
        ({"type": "bbq_flat", "rescore_vector": {"oversample": 0}}, 3.0),
        ({"type": "int2_tree"}, 2.0),
    ],
)
def test_oversampling_comes_from_the_mapping_else_from_the_kind(
    options: dict[str, Any], factor: float | None
) -> None:
    assert oversample_of(options) == factor


def test_an_unknown_kind_is_refused_with_what_there_is() -> None:
    with pytest.raises(SettingsError, match=r"'bbq' is none .*auto, hnsw, flat, .*bbq_disk"):
        kind_of("bbq")


def test_structures_without_a_graph_take_no_links() -> None:
    for name, kind in KINDS.items():
        options = IndexOptions(vector_index=name).index_options()
        assert ("m" in options) == (kind.structure == "hnsw"), name


def test_the_manual_says_what_the_rule_says() -> None:
    text = (ROOT / "docs" / "quantisation.md").read_text(encoding="utf-8")
    assert f"at most {EXACT_VECTORS:,} vectors" in text
    assert f"fit {MEMORY_BYTES // GIB} GiB" in text
    assert f"less than {LEAST_RECALL:.0%}".replace("%", " %") in text
    assert f"more than {MOST_ERROR:g}".replace("0.", ".") in text
    assert f"the rule wants {LEAST_DIMS_BBQ}" in text
    assert ", ".join(f"`{name}`" for name in LADDER) in text
    for name, kind in KINDS.items():
        (row,) = [line for line in text.splitlines() if re.match(rf"\| .*`{name}`.* \| (all|[89])", line)]
        since = "all" if kind.since == (8, 15, 0) and not kind.even_dims else None
        assert row.split(" | ")[1] == (since or f"{kind.since[0]}.{kind.since[1]}")
        assert ("Enterprise" in row) == kind.licensed
        assert (f"{kind.oversample:g} k candidates" if kind.oversample else "not needed") in row
    sizes = re.findall(r"^\| `(\w+)` \| .*? \| ([\d,]+) \| ([\d.]+) GiB \|$", text, re.MULTILINE)
    assert [name for name, _, _ in sizes] == ["hnsw", "flat", *LADDER]
    for name, each, million in sizes:
        found = KINDS[name].bytes_a_vector(512)
        assert int(each.replace(",", "")) == round(found)
        assert float(million) == pytest.approx(found * 1e6 / GIB, abs=0.006)
