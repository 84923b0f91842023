"""Normalised cut by the package ncut-pytorch (Yang et al., 2024), as a row of any grid.

``pip install ncut-pytorch``, then ``method: examples/peers/ncut_pytorch.py:NcutPytorch``. The package does what is its
own: sampling, affinity, eigenvectors, and their propagation to other patches; clusters are its rotation of these, or
k-means. Written for version 3.2.0, whose eigenvectors come from a randomised decomposition without an error estimate;
the harness holds them against the exact ones of held-out images as it does with every method that has some.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.centres import Centres, fit_centres
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.health import collapse_check
from spectral_bench.methods.inputs import (
    Standardiser,
    by_chunks,
    feature_input,
    images_of,
    one_by_one,
    require_finite,
    require_patches,
)
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.params import CentreParams

_CACHE = ("indices", "sampled_nystrom_X", "sampled_nystrom_eigvec", "sigma", "D", "nystrom_x_sq")


class NcutPytorchParams(CentreParams):
    """What is passed to the package; all else is its own default."""

    k: int = Field(64, ge=2, description="clusters, and eigenvectors")
    samples: int = Field(10_240, ge=2, description="n_sample: patches of the graph, at most a quarter of all")
    input: Literal["last", "last_l2"] = Field("last_l2", description="features of the last level, raw or unit vectors")
    discretise: Literal["rotation", "kmeans"] = Field(
        "rotation", description="kway_ncut, its rotation after Yu and Shi (2003), or k-means of unit rows"
    )


class NcutPytorch:
    """The package's ``Ncut``, fitted on all training patches, and one rotation or k-means for all patches alike.

    Args:
        params: parameters.
    """

    Params = NcutPytorchParams
    uses_labels = False
    fit_from = None

    def __init__(self, params: NcutPytorchParams) -> None:
        _package()
        self.params = params
        self.n_clusters = params.k
        self._centres: Centres | None = None
        self._cache: Any = None

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Fit on all training patches; the package draws from global generators, which are seeded and put back.

        Raises:
            ConfigError: more clusters than patches, or the package is not installed.
            NumericalError: features are not finite, or all alike.
        """
        require_patches(patches, self.params.k)
        package = _package()
        features = by_chunks(self._input, patches.subsample(patches.n_patches).features, context.device)
        require_finite((features,), "the training images")
        if bool((features == features[:1]).all()):
            raise NumericalError("ncut-pytorch: all patches are alike, and it finds no bandwidth for them")
        with _seeded(context.seeds.integer("ncut")):
            with context.stage("eigenvectors"):
                model = package.Ncut(n_eig=self.params.k, n_sample=self.params.samples, device=str(context.device))
                model.fit(features)
                self._cache = model._ensure_propagation_cache()
            with context.stage("extension"):
                rows = functional.normalize(self._extended(features), dim=1)
            if self.params.discretise == "rotation":
                matrix = package.kway_ncut(rows, device=str(context.device), ret_R=True)
                self._centres = Centres(matrix.T.float().contiguous(), self.params.scores)
        if self.params.discretise == "kmeans":
            self._centres, _ = fit_centres(rows, params=self.params, k=self.params.k, context=context)
        used = torch.unique(self._fitted().scores(rows[None, None, :10_000]).argmax(1))
        self.checks = (collapse_check(len(used)),)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores of each patch's propagated eigenvectors, image by image.

        Raises:
            NumericalError: features are not finite.
        """
        centres, scores = self._fitted(), []
        for image in one_by_one(batch):
            require_finite(image.features, images_of(image))
            rows = functional.normalize(self._extended(self._input(image.features).flatten(0, -2)), dim=1)
            scores.append(centres.scores(rows.view(1, *batch.grid, -1)))
        return torch.cat(scores)

    def state_dict(self) -> dict[str, Tensor]:
        """The centres (K, K), and what the package propagates by."""
        held = {name: torch.as_tensor(getattr(self._cache, name)) for name in _CACHE}
        held["sigma"] = torch.tensor(float(self._cache.sigma), dtype=torch.float64)
        return {"centres": self._fitted().centres, **held}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        held = {name: state[name] for name in _CACHE} | {"sigma": float(state["sigma"])}
        self._cache = _package(".ncuts.ncut_nystrom").NystromPropagationCache(**held)
        self._centres = Centres(state["centres"], self.params.scores)

    def _extended(self, features: Tensor) -> Tensor:
        """(N, K) eigenvectors propagated to (N, D) features."""
        propagate = _package(".ncuts.ncut_nystrom").nystrom_propagate
        held, sampled = self._cache.sampled_nystrom_eigvec, self._cache.sampled_nystrom_X
        found: Tensor = propagate(held, features, sampled[:0], device=str(features.device), cache=self._cache)
        return found

    def _input(self, levels: tuple[Tensor, ...]) -> Tensor:
        rows = tuple(level.detach().float() for level in levels)
        return feature_input(self.params.input, rows, Standardiser.nothing())

    def _fitted(self) -> Centres:
        if self._centres is None:
            raise RuntimeError("NcutPytorch: fit or load a state before predicting")
        return self._centres


def _package(inner: str = "") -> Any:
    """The package or a module of it, or one line that says that it is missing.

    Not by an import statement, which in a file of this name means the file itself.
    """
    if importlib.util.find_spec("ncut_pytorch") is None:
        raise ConfigError("examples/peers/ncut_pytorch.py needs the package ncut-pytorch: pip install ncut-pytorch")
    return importlib.import_module("ncut_pytorch" + inner)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators that the package draws from: seeded in here, afterwards as they were."""
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
