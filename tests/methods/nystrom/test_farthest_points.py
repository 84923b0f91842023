"""Farthest-point sampling equals its definition, whether rows are held or read in passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.nystrom import sampling
from spectral_bench.methods.nystrom.method import Nystrom
from spectral_bench.methods.nystrom.sampling import Rows, farthest_points
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.testing import MemorySource, fit, same_state, scenes, stop_after

SMALL: dict[str, Any] = {"k": 5, "samples": 60, "neighbours": 10, "sampling": "farthest"}


def rows_of(values: Tensor, part: int = 17, held: bool = True) -> tuple[Rows, list[int]]:
    """Rows in parts, and a list that grows by one a pass."""
    passes: list[int] = []

    def read() -> Iterator[Tensor]:
        passes.append(len(passes))
        return (values[start : start + part] for start in range(0, len(values), part))

    return Rows.of(read, sampling.HELD_BYTES if held else 0), passes


def literal(values: Tensor, count: int, first: int) -> list[int]:
    """Row by row, in float64; of equally far rows the first, no row twice."""
    wide, picked = values.double().numpy(), [first]
    while len(picked) < count:
        distances = np.array([min(float(((row - wide[p]) ** 2).sum()) for p in picked) for row in wide])
        distances[picked] = -1
        picked.append(int(distances.argmax()))
    return picked


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 9), st.booleans(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_samples_are_literal_ties_included(count: int, width: int, pool: int, held: bool, seed: int) -> None:
    """Small whole numbers: many rows are equally far, or equal."""
    values = torch.randint(-2, 3, (count, width), generator=torch.Generator().manual_seed(seed)).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_POOL", pool)
        patch.setattr(sampling, "_POOL_OF_A_PASS", pool)
        rows, _ = rows_of(values, part=7, held=held)
        wanted = 1 + seed % count
        found, features = farthest_points(rows, wanted, np.random.default_rng(seed))
    first = int(np.random.default_rng(seed).integers(count))
    assert found.tolist() == literal(values, wanted, first)
    assert torch.equal(features, values[torch.from_numpy(found)])


@pytest.mark.slow
def test_samples_of_unit_vectors_are_literal_and_few_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of many patches: those near to samples are never looked at again."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(30, 12, generator=generator)[torch.randint(0, 30, (900,), generator=generator)]
    values = functional.normalize(groups + 0.05 * torch.randn(900, 12, generator=generator), dim=1)
    entries: list[int] = []
    before = sampling._squared_distances

    def counting(first: Any, second: Any, norms: Any = None) -> Any:
        entries.append(len(first) * len(second))
        return before(first, second, norms)

    monkeypatch.setattr(sampling, "_squared_distances", counting)
    monkeypatch.setattr(sampling, "_POOL", 32)
    rows, passes = rows_of(values)
    found, _ = farthest_points(rows, 60, np.random.default_rng(3))
    assert found.tolist() == literal(values, 60, int(np.random.default_rng(3).integers(900)))
    assert sum(entries) < 900 * 60 / 2
    assert len(passes) == 2  # one to hold them, one for the distances to the first sample


def test_rows_that_are_not_held_are_read_in_a_pass_a_look_and_give_the_same() -> None:
    values = functional.normalize(torch.randn(300, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    looks: list[int] = []
    held, _ = rows_of(values)
    rows, passes = rows_of(values, held=False)
    assert held.held is not None
    assert rows.held is None
    one, features = farthest_points(held, 40, np.random.default_rng(0))
    other, again = farthest_points(rows, 40, np.random.default_rng(0), looks.append)
    assert np.array_equal(one, other)
    assert torch.equal(features, again)
    assert looks[-1] == 40
    assert 3 <= len(passes) <= 3 + 2 * len(looks) < 40


def test_equal_rows_come_last_and_each_once() -> None:
    values = torch.eye(3)[[0, 0, 1, 2, 2, 1]]
    rows, _ = rows_of(values)
    found, _ = farthest_points(rows, 6, np.random.default_rng(0))
    assert len(values[torch.from_numpy(found[:3])].unique(dim=0)) == 3
    assert sorted(found.tolist()) == list(range(6))
    assert found[3:].tolist() == sorted(found[3:].tolist())


@pytest.mark.parametrize("count", [0, 7])
def test_more_samples_than_rows_or_none_are_refused(count: int) -> None:
    rows, _ = rows_of(torch.eye(6))
    with pytest.raises(ValueError, match=f"{count} farthest points of 6 rows: expected 1 to 6"):
        farthest_points(rows, count, np.random.default_rng(0))


def test_the_method_takes_the_farthest_patches_of_whole_images_in_their_order() -> None:
    source, _ = scenes(6, (6, 7), noise=0.3)
    method = fit("nystrom", SMALL, source)
    unit = functional.normalize(source.features[-1].flatten(0, 2), dim=1)
    first = int(SeedStreams(0).numpy("farthest").integers(len(unit)))
    expected = unit[sorted(literal(unit, 60, first))]
    torch.testing.assert_close(method.state_dict()["features"], expected)
    assert same_state(method, fit("nystrom", SMALL, source))
    assert not same_state(method, fit("nystrom", SMALL, source, seed=1))
    assert not same_state(method, fit("nystrom", {**SMALL, "sampling": "uniform"}, source))


def test_passes_over_images_give_the_same_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = scenes(6, (6, 7), noise=0.3)
    held = fit("nystrom", {**SMALL, "input": "all_standardised_l2"}, source)
    monkeypatch.setattr(sampling, "HELD_BYTES", 0)
    monkeypatch.setattr(Rows.of.__func__, "__defaults__", (0,))  # type: ignore[attr-defined]
    assert same_state(held, fit("nystrom", {**SMALL, "input": "all_standardised_l2"}, source))


def test_a_sample_of_all_patches_is_all_of_them() -> None:
    source, _ = scenes(4)
    every = fit("nystrom", {**SMALL, "samples": 10_000}, source)
    uniform = fit("nystrom", {**SMALL, "samples": 10_000, "sampling": "uniform"}, source)
    assert torch.equal(every.state_dict()["features"], uniform.state_dict()["features"])


def test_nan_and_a_stop_end_the_sampling() -> None:
    source, _ = scenes(3)
    with pytest.raises(RunInterrupted):
        fit("nystrom", SMALL, source, should_stop=stop_after(1))
    source.features[-1][1, 2, 2] = torch.nan
    with pytest.raises(NumericalError, match="image1 holds NaN"):
        fit("nystrom", SMALL, source)


def test_identities_are_those_of_before_there_was_a_choice() -> None:
    new = {"sampling", "kernel", "bandwidth", "discretise"}
    assert not new & complete_params("nystrom", {}).keys()
    method = fit("nystrom", {"k": 3, "samples": 50}, scenes(4)[0])
    assert isinstance(method, Nystrom)
    assert "bandwidth" not in method.state_dict()


def test_images_of_other_size_than_the_sample_are_no_trouble() -> None:
    source, _ = scenes(2, (3, 4))
    one = MemorySource([level[:, :1] for level in source.features], source.pixels[:, :1])
    method = fit("nystrom", {**SMALL, "samples": 20, "k": 3, "neighbours": 4}, source)
    assert method.predict(one.batch([0])).shape == (1, 3, 1, 4)
