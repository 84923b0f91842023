"""Scores from centres, the sample that is clustered, and what k-means says of its own health."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.centres import Centres, fit_centres, sample_size
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.params import KMeansParams
from spectral_bench.methods.testing import Recorder, fit_context, scenes, stop_after


def points(n: int = 200, width: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), images=st.integers(1, 3))
def test_both_kinds_of_scores_assign_alike(seed: int, k: int, images: int) -> None:
    inputs, centres = points(images * 12, 3, seed).view(images, 3, 4, 3), points(k, 3, seed + 1)
    hot, distance = (Centres(centres, kind).scores(inputs) for kind in ("one_hot", "distance"))
    assert hot.shape == distance.shape == (images, k, 3, 4)
    assert torch.equal(hot.argmax(1), distance.argmax(1))
    assert torch.equal(hot.sum(1), torch.ones(images, 3, 4))
    exact = torch.cdist(inputs.flatten(0, 2).double(), centres.double()).square().view(images, 3, 4, k)
    torch.testing.assert_close(-distance.permute(0, 2, 3, 1).double(), exact, rtol=1e-4, atol=1e-5)


def test_of_equally_near_centres_the_first_is_hot() -> None:
    scores = Centres(torch.tensor([[2.0], [1.0], [-1.0], [1.0]]), "one_hot").scores(torch.zeros(1, 2, 2, 1))
    assert (scores.argmax(1) == 1).all()


def test_inputs_that_are_not_finite_are_refused() -> None:
    inputs = torch.zeros(1, 2, 2, 1)
    inputs[0, 1, 1] = float("nan")
    with pytest.raises(NumericalError, match="to be predicted"):
        Centres(torch.zeros(2, 1), "one_hot").scores(inputs)


def test_the_sample_is_all_patches_or_what_was_allowed() -> None:
    source, _ = scenes(4, (5, 5))
    assert sample_size(source, KMeansParams(), 10) == 100
    assert sample_size(source, KMeansParams(max_patches=30), 10) == 30
    with pytest.raises(ConfigError, match="k = 101: expected at most 100, the number of training patches"):
        sample_size(source, KMeansParams(), 101)
    with pytest.raises(ConfigError, match="k = 31: expected at most max_patches = 30"):
        sample_size(source, KMeansParams(max_patches=30), 31)


def test_checks_tell_clusters_in_use_and_whether_centres_rest() -> None:
    _, checks = fit_centres(points(), params=KMeansParams(), k=6, context=fit_context())
    assert (checks[0].name, checks[0].value, checks[0].passed) == ("training_clusters_in_use", 6.0, True)
    assert checks[1].note == ""
    _, checks = fit_centres(points(), params=KMeansParams(iterations=1, tol=0), k=6, context=fit_context())
    assert checks[1].value == 1
    assert "still moved" in checks[1].note
    assert all(check.passed for check in checks)


def test_constant_points_are_reported_as_collapsed() -> None:
    centres, checks = fit_centres(torch.full((90, 3), 0.3), params=KMeansParams(), k=7, context=fit_context())
    assert centres.centres.isfinite().all()
    assert not checks[0].passed
    assert "collapsed" in checks[0].note


def test_progress_runs_over_all_restarts_and_a_stop_is_obeyed() -> None:
    recorder = Recorder()
    params = KMeansParams(restarts=3, iterations=50)
    fit_centres(points(), params=params, k=5, context=fit_context(recorder=recorder))
    assert [done for done, _ in recorder.progress] == list(range(1, len(recorder.progress) + 1))
    assert {total for _, total in recorder.progress} == {150}
    with pytest.raises(RunInterrupted):
        fit_centres(points(), params=params, k=5, context=fit_context(should_stop=stop_after(2)))


def test_nan_points_are_refused() -> None:
    with pytest.raises(NumericalError, match="training images"):
        fit_centres(torch.full((9, 2), float("nan")), params=KMeansParams(), k=2, context=fit_context())
