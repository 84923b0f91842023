from __future__ import annotations

import pytest
import torch

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import directions as module
from spectral_bench.methods.graphs.directions import directions


def features(n: int, c: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_rows_have_unit_length_and_zero_rows_stay() -> None:
    given = features(10, 5)
    given[3] = 0
    before = given.clone()
    unit = directions(given).unit
    lengths = unit.norm(dim=1)
    assert lengths[3] == 0
    torch.testing.assert_close(lengths[torch.arange(10) != 3], torch.ones(9))
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_widened_and_double_kept(dtype: torch.dtype, wide: torch.dtype) -> None:
    assert directions(features(4, 3).to(dtype)).unit.dtype == wide


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repeated_rows_point_to_their_first_occurrence(dtype: torch.dtype) -> None:
    given = features(9, 6, dtype)
    given[4] = given[1]
    given[7] = given[1] * 2  # the same direction, and a power of two rounds alike
    given[5] = 0.0
    given[8] = -0.0
    found = directions(given)
    assert found.repeated.tolist() == [4, 7, 8]
    assert found.earliest.tolist() == [1, 1, 5]


def test_a_hash_collision_is_not_taken_for_a_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_hash", lambda rows: torch.zeros(len(rows), dtype=torch.int64))
    given = features(4, 3)
    given[2] = given[0]
    found = directions(given)
    assert (found.repeated.tolist(), found.earliest.tolist()) == ([2], [0])


def test_similarities_of_repeated_rows_tie_exactly() -> None:
    given = features(700, 33)
    given[torch.arange(0, 700, 7)] = given[0].clone()
    for rows, block in directions(given).similarity_blocks():
        same = block[:, ::7].clone()
        same[same == float("-inf")] = float("nan")
        spread = same.nan_to_num(nan=-2).amax(1) - same.nan_to_num(nan=2).amin(1)
        assert bool((spread == 0).all()), rows


def test_the_diagonal_is_excluded_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.methods.graphs.blocks.CPU_ELEMENTS", 60)
    seen = [(rows, block.clone()) for rows, block in directions(features(20, 4)).similarity_blocks()]
    assert len(seen) == 7
    whole = torch.cat([block for _, block in seen])
    assert torch.equal(whole == float("-inf"), torch.eye(20, dtype=torch.bool))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_features_that_are_not_finite_are_refused_with_the_patch(value: float) -> None:
    given = features(6, 3)
    given[4, 1] = value
    with pytest.raises(NumericalError, match=r"1 of 6 patches .*first: patch 4"):
        directions(given)


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\(N, C\\) features"):
        directions(torch.zeros(shape))
