"""SpIN on patches: against the exact eigenspace, its state, its averages, refusals."""

from typing import Any

import pytest
import torch
from learnt_lab import SMALL, fitted_as, functions_of

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.exact import exact_eigenspace
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.interface import Spectral
from spectral_bench.methods.params import SpinParams
from spectral_bench.methods.spectral_health import (
    method_checks,
    orthogonality_error,
    principal_angles,
    rayleigh_quotients,
)
from spectral_bench.methods.spin.method import Spin
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemorySource,
    Recorder,
    build,
    fit,
    fit_context,
    same_state,
    scenes,
    stop_after,
)


@pytest.fixture
def source() -> MemorySource:
    return scenes(8, (4, 5))[0]


def fitted(source: MemorySource, **params: Any) -> Spin:
    return fitted_as(Spin, "spin", source, **params)


@pytest.mark.slow
@pytest.mark.parametrize(("decay", "lr", "degrees"), [(0.0, 1e-2, 8), (0.9, 3e-3, 18)])
def test_functions_span_the_exact_eigenspace_of_a_small_graph(decay: float, lr: float, degrees: float) -> None:
    """Five groups give five eigenvalues near 1 and then a gap: 0.97 to 0.41."""
    source = scenes(8, (6, 7), noise=0.3)[0]
    graph = {"neighbours": 40, "alpha": 0.0, "batch_size": 8}
    method = fitted(source, **graph, k=5, functions=5, width=32, steps=250, lr=lr, decay=decay)
    kernel = method.kernel(source.batch(range(8)))
    values, vectors = exact_eigenspace(kernel, 6)
    assert values[4] / values[5] > 2
    functions = functions_of(method, source)
    assert principal_angles(functions, vectors[:, :5]).max() < degrees
    assert rayleigh_quotients(functions, kernel) == pytest.approx(values[:5], abs=degrees / 200)
    assert orthogonality_error(functions) < 1e-3


def test_eigenfunctions_are_whitened_over_the_training_patches(source: MemorySource) -> None:
    functions = functions_of(fitted(source), source)
    torch.testing.assert_close(functions.T @ functions / len(functions), torch.eye(3), atol=1e-4, rtol=0)


def test_it_is_a_spectral_method_with_the_kernel_of_its_parameters(source: MemorySource) -> None:
    method = fitted(source, graph_standardise=True, alpha=0.7)
    assert isinstance(method, Spectral)
    batch = source.batch([1, 2])
    assert method.eigenfunctions(batch).shape == (2, 3, 4, 5)
    expected = batch_kernel(batch, neighbours=12, alpha=0.7, statistics=source.statistics())
    restored = build("spin", method.params.model_dump(mode="json"))
    assert isinstance(restored, Spin)
    restored.load_state_dict(method.state_dict())
    for one in (method, restored):
        torch.testing.assert_close(one.kernel(batch).dense(), expected.dense())


def test_scores_are_one_hot_at_the_nearest_centre_of_the_functions(source: MemorySource) -> None:
    method, batch = fitted(source, input="eigenfunctions"), source.batch([0, 5])
    distances = torch.cdist(functions_of(method, source), method.state_dict()["centres"])
    assigned = distances.argmin(1).view(8, 4, 5)[[0, 5]]
    assert torch.equal(method.predict(batch).argmax(1), assigned)


@pytest.mark.parametrize(
    "change",
    [
        {"functions": 4},
        {"decay": 0.9},
        {"features": "last"},
        {"standardise": False},
        {"width": 9},
        {"depth": 1},
        {"activation": "tanh"},
        {"activation": "softplus"},
        {"alpha": 0.0},
        {"graph": "mutual"},
        {"neighbours": 3},
        {"lr": 1e-2},
        {"batch_size": 2},
    ],
)
def test_every_parameter_of_the_training_reaches_it(source: MemorySource, change: dict[str, Any]) -> None:
    curves = []
    for params in ({}, change):
        recorder = Recorder()
        fit("spin", {**SMALL, **params}, source, recorder=recorder)
        curves.append([values["loss"] for _, values in recorder.curve])
    assert curves[0] != curves[1]


def test_patches_of_the_jacobian_are_drawn_by_the_step(source: MemorySource) -> None:
    all_patches, some, more = (fitted(source, decay=0.9, jacobian_patches=count) for count in (None, 20, 10_000))
    assert same_state(all_patches, more)
    assert not same_state(all_patches, some)
    assert same_state(some, fitted(source, decay=0.9, jacobian_patches=20))


def test_the_curve_records_eigenvalues_and_what_is_off_the_diagonal(source: MemorySource) -> None:
    recorder = Recorder()
    fit("spin", {**SMALL, "epochs": 30, "lr": 1e-2}, source, recorder=recorder)
    first, last = recorder.curve[0][1], recorder.curve[-1][1]
    assert first.keys() == {"loss", "lr", "eigenvalue_first", "eigenvalue_last", "off_diagonal"}
    assert last["loss"] < first["loss"]
    assert last["eigenvalue_first"] > last["eigenvalue_last"]
    assert recorder.stages == ["graph"] * 60


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_resume_in_training_and_in_clustering_ends_with_the_same_bits(source: MemorySource, decay: float) -> None:
    undisturbed = fitted(source, decay=decay)
    for questions in (0, 5, 7, 8):  # the last is asked by k-means
        checkpoint, recorder = MemoryCheckpoint(), Recorder()
        with pytest.raises(RunInterrupted):
            fit("spin", {**SMALL, "decay": decay}, source, checkpoint=checkpoint, should_stop=stop_after(questions))
        resumed = fit("spin", {**SMALL, "decay": decay}, source, checkpoint=checkpoint, recorder=recorder)
        assert same_state(undisturbed, resumed)
        assert recorder.stages == ["graph"] * (8 - questions)


def test_the_averages_are_in_the_checkpoint_and_not_in_the_state(source: MemorySource) -> None:
    checkpoint = MemoryCheckpoint(every=3)
    method = fit("spin", {**SMALL, "decay": 0.9}, source, checkpoint=checkpoint)
    kept = checkpoint.load()
    assert kept is not None
    assert {"averages.sigma", "averages.jacobian", "averages.batches"} <= kept["network"].keys()
    assert kept["network"]["averages.batches"] == 8
    assert not any("averages" in name for name in method.state_dict())


def test_too_many_clusters_or_too_few_images_are_refused_before_work(source: MemorySource) -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match="k = 161: expected at most 160"):
        fit("spin", {**SMALL, "k": 161}, source, recorder=recorder)
    with pytest.raises(ConfigError, match="batch_size = 9: expected at most the 8 training images"):
        fit("spin", {**SMALL, "batch_size": 9}, source, recorder=recorder)
    assert recorder == Recorder()


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_constant_features_are_refused_and_give_no_nan(source: MemorySource, decay: float) -> None:
    constant = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    with pytest.raises(NumericalError, match=r"covariance is singular: the features are constant"):
        fitted(constant, decay=decay)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"functions": 21, "batch_size": 1}, "functions = 21: expected at most the 20 patches of a batch of 1 images"),
        ({"functions": 60_000}, "functions = 60000: expected at most the 160 training patches that are clustered"),
        ({"functions": 8, "max_patches": 7}, "functions = 8: expected at most the 7 training patches"),
        ({"functions": 161, "decay": 0.9}, "functions = 161: expected at most the 160 training patches"),
    ],
)
def test_more_functions_than_patches_are_refused_before_work(
    source: MemorySource, params: dict[str, Any], says: str
) -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match=says):
        fit("spin", {**SMALL, **params}, source, recorder=recorder)
    assert recorder == Recorder()


def test_averages_tell_more_functions_apart_than_a_batch_does() -> None:
    assert SpinParams(functions=21, batch_size=1, decay=0.9).misfits(8, 160) == {}
    assert SpinParams(functions=20, batch_size=1, k=20).misfits(8, 160) == {}


def test_no_training_images_are_too_few() -> None:
    assert SpinParams().misfits(0, 0).keys() == {"batch_size", "k", "functions"}


@pytest.mark.parametrize("level", [0, 2])
def test_nan_is_refused_with_level_and_image(source: MemorySource, level: int) -> None:
    method = fitted(source)
    source.features[level][3, 1, 1, 0] = float("nan")
    with pytest.raises(NumericalError, match=f"level {level} of the features of images .*NaN"):
        fitted(source, standardise=False, batch_size=8)
    with pytest.raises(NumericalError, match=f"level {level} of the features of the training images holds NaN"):
        fitted(source, batch_size=1)
    with pytest.raises(NumericalError, match=f"level {level} of the features of image image3"):
        method.predict(source.batch([3]))


def test_one_image_and_more_neighbours_than_patches_can_be_trained_on() -> None:
    source = scenes(1, (4, 5))[0]
    method = fitted(source, batch_size=1, neighbours=1000)
    assert method.predict(source.batch([0])).isfinite().all()


def test_an_unfitted_method_says_so(source: MemorySource) -> None:
    for use in (Spin(SpinParams()).predict, Spin(SpinParams()).eigenfunctions):
        with pytest.raises(RuntimeError, match="fit or load a state"):
            use(source.batch([0]))


def test_an_interrupted_method_says_so_even_if_it_was_fitted_before(source: MemorySource) -> None:
    method = fitted(source)
    with pytest.raises(RunInterrupted):
        method.fit(source, context=fit_context(should_stop=stop_after(2)))
    for use in (method.predict, method.eigenfunctions):
        with pytest.raises(RuntimeError, match="fit or load a state"):
            use(source.batch([0]))
    with pytest.raises(RuntimeError, match="fit or load a state"):
        method.state_dict()


@pytest.mark.parametrize("name", ["spin", "kmeans"])
def test_a_loaded_method_does_not_hold_the_tensors_that_it_was_given(source: MemorySource, name: str) -> None:
    params = {**SMALL, "graph_standardise": True} if name == "spin" else {"k": 4}
    state = fit(name, params, source).state_dict()
    loaded = build(name, params)
    loaded.load_state_dict(state)
    before = {key: tensor.clone() for key, tensor in loaded.state_dict().items()}
    for tensor in state.values():
        tensor.detach().add_(1)
    assert all(torch.equal(tensor, before[key]) for key, tensor in loaded.state_dict().items())


def test_a_limit_on_the_angle_is_what_the_functions_are_held_against(source: MemorySource) -> None:
    assert fitted(source).health_limits == {}
    limited = fitted(source, angle_limit=1.0)
    checks = method_checks(limited, [source.batch(range(8))], limits=limited.health_limits)
    (angle,) = [check for check in checks if check.name == "angle_largest"]
    assert (angle.limit, angle.passed) == (1.0, False)
