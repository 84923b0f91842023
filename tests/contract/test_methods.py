"""Every method that ships keeps the contract."""

import functools
import json
from typing import Any

import pytest

from spectral_bench.methods.contract import CHECKS, Subject
from spectral_bench.methods.interface import Segmenter
from spectral_bench.methods.registry import METHODS
from spectral_bench.methods.testing import same_state, text_file

NETWORK = {"neighbours": 20, "epochs": 2, "batch_size": 2, "depth": 1, "heads": 2, "head_width": 4, "mlp_width": 8}
SPIN = {"neighbours": 20, "epochs": 2, "batch_size": 2, "width": 8}
SMALL: dict[str, dict[str, Any]] = {
    "kmeans": {"k": 4, "input": "all_standardised_l2", "scores": "distance"},
    "neuralef": {"k": 4, **NETWORK},
    "neuralef_kmeans": {"k": 4, "scores": "distance", **NETWORK},
    "deep_spectral": {"k": 4, "eigenvectors": 3, "segments": 6, "scores": "distance"},
    "nystrom": {"k": 4, "samples": 200, "neighbours": 10, "scores": "distance"},
    "maskclip": {"k": 4, "text": text_file(4, 8, several=2)},
    "reco": {"k": 4, "text": text_file(4, 8, several=2), "archive": 3, "context": ("class 1",)},
    "neuralef_label_leak": {"k": 4, **NETWORK},
    "linear_probe": {"k": 4, "epochs": 2, "batch_size": 2},
    "oracle": {"k": 4},
    "self_training": {"k": 4, "epochs": 2, "batch_size": 2, "heads": 2, "head_width": 4, "mlp_width": 8},
    "spin": {"k": 4, "functions": 3, "scores": "distance", "decay": 0.5, **SPIN},
    "neuralsvd": {"k": 4, "functions": 3, "scores": "distance", **SPIN},
    "spectralnet": {"k": 4, "functions": 3, "scores": "distance", "decay": 0.5, **SPIN},
}


LOOKING = {"prediction", "batch_invariance", "node_order", "resume", "state", "not_finite"}
"""Checks that look at a fit by default parameters of fitting; ``determinism`` says that another would be the same."""


class FittedOnce(Subject):
    """A method under test whose plain fit is made once in all."""

    def fit(self, source: Any = None, seed: int = 0, **context: Any) -> Segmenter:
        if source is not None or seed or context:
            return super().fit(source, seed, **context)
        return _plain_fit(self.name, json.dumps(self.params, sort_keys=True))


@functools.cache
def _plain_fit(name: str, params: str) -> Segmenter:
    return Subject(name, json.loads(params)).fit()


def keep(check: str, name: str, params: dict[str, Any]) -> None:
    CHECKS[check]((FittedOnce if check in LOOKING else Subject)(name, params))


def test_every_method_is_held_to_the_contract() -> None:
    assert SMALL.keys() == METHODS.keys()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", METHODS)
def test_contract(name: str, check: str) -> None:
    keep(check, name, SMALL[name])


NOTHING_DRAWN = ("oracle", "maskclip", "reco")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NOTHING_DRAWN])
def test_another_seed_gives_another_fit(name: str) -> None:
    subject = Subject(name, SMALL[name])
    assert not same_state(subject.fit(seed=0), subject.fit(seed=1))


@pytest.mark.parametrize("params", [{"k": 4, "input": kind} for kind in ("last", "last_l2")])
def test_other_inputs_of_kmeans_keep_it_too(params: dict[str, Any]) -> None:
    for check in CHECKS:
        keep(check, "kmeans", params)


def test_the_leak_keeps_it_with_a_detached_head_too() -> None:
    for check in CHECKS:
        keep(check, "neuralef_label_leak", {**SMALL["neuralef_label_leak"], "detach_head": True})


@pytest.mark.parametrize(
    "params", [{"nesting": "joint", "overlaps": "halves"}, {"steps_of": "plain", "graph_standardise": True}]
)
def test_neuralsvd_keeps_it_in_its_other_forms(params: dict[str, Any]) -> None:
    for check in CHECKS:
        keep(check, "neuralsvd", {**SMALL["neuralsvd"], **params})


@pytest.mark.parametrize("params", [{"decay": 0.0}, {"separate": False, "input": "eigenfunctions"}])
def test_spectralnet_keeps_it_without_averages_and_without_separation(params: dict[str, Any]) -> None:
    for check in CHECKS:
        keep(check, "spectralnet", {**SMALL["spectralnet"], **params})


@pytest.mark.parametrize(
    "params", [{"decay": 0.0, "graph_standardise": True}, {"features": "last", "input": "eigenfunctions"}]
)
def test_spin_keeps_it_without_averages_and_on_other_inputs(params: dict[str, Any]) -> None:
    for check in CHECKS:
        keep(check, "spin", {**SMALL["spin"], **params})


def test_deep_spectral_keeps_it_on_the_published_graph_too() -> None:
    for check in CHECKS:
        keep(check, "deep_spectral", {**SMALL["deep_spectral"], "published": True})


@pytest.mark.parametrize("params", [{"cut": "recursive"}, {"cut": "kway"}, {"segments_by": "silhouette"}])
def test_deep_spectral_keeps_it_by_other_cuts_too(params: dict[str, Any]) -> None:
    for check in CHECKS:
        keep(check, "deep_spectral", {**SMALL["deep_spectral"], **params})


@pytest.mark.parametrize("name", ["neuralef", "deep_spectral"])
def test_methods_keep_it_with_finer_pixels_too(name: str) -> None:
    for check in ("determinism", "batch_invariance", "node_order"):
        keep(check, name, {**SMALL[name], "pixel_grid": 2})


@pytest.mark.parametrize(
    "params",
    [
        {"extension": "cluster_means"},
        {"extension": "representatives", "representatives": 8, "candidates": 30},
        {"sampling": "images", "alpha": 0.3, "pixel_grid": 2},
    ],
)
def test_nystrom_keeps_it_with_other_extensions_and_samples_too(params: dict[str, Any]) -> None:
    for check in CHECKS:
        keep(check, "nystrom", {**SMALL["nystrom"], **params})


def test_maskclip_keeps_it_with_smoothing_and_denoising_too() -> None:
    for check in CHECKS:
        keep(check, "maskclip", {**SMALL["maskclip"], "key_smoothing": 0.9, "prompt_denoising": 0.3})


def test_reco_keeps_it_without_its_options_too() -> None:
    plain = {"text_attention": False, "text_map": False, "context": (), "retrieval": "max", "level": -1}
    for check in CHECKS:
        keep(check, "reco", {**SMALL["reco"], **plain})


@pytest.mark.parametrize("name", ["neuralef", "spin", "neuralsvd", "spectralnet"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_networks_resume_exactly_in_both_precisions(name: str, precision: str) -> None:
    fits = [Subject(name, SMALL[name]).fit(precision=precision) for _ in range(2)]
    assert same_state(*fits)
