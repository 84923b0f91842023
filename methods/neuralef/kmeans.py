"""k-means on the hidden features of a NeuralEF fit."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.centres import Centres, fit_centres, sample_size
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.params import NeuralEFKMeansParams, NeuralEFParams

_BASE = "base."


class NeuralEFKMeans:
    """k-means with K centres on what psi computes before its head; psi is that of a stored ``neuralef`` fit.

    Args:
        params: parameters of k-means and of the NeuralEF fit.
    """

    Params = NeuralEFKMeansParams
    uses_labels = False
    fit_from = "neuralef"

    def __init__(self, params: NeuralEFKMeansParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self._base = NeuralEF(NeuralEFParams(**params.base_params()))
        self.checks: tuple[Check, ...] = ()
        self._centres: Centres | None = None

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Cluster the hidden features of training patches, image by image through psi.

        Raises:
            ConfigError: more clusters than patches, or no fit to start from.
            NumericalError: hidden features are not finite.
            RunInterrupted: the run was asked to stop; it starts anew.
        """
        if not isinstance(context.base, NeuralEF):
            raise ConfigError("neuralef_kmeans starts from a stored neuralef fit, and was given none")
        self._base = context.base
        points = self._hidden_patches(patches, sample_size(patches, self.params, self.params.k), context)
        self._centres, self.checks = fit_centres(points, params=self.params, k=self.params.k, context=context)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores: one-hot at the nearest centre, or minus the squared distances."""
        return self._fitted().scores(self._input(batch))

    @property
    def health_limits(self) -> dict[str, float]:
        """Those of the NeuralEF fit."""
        return self._base.health_limits

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        """(B, n, h, w) eigenfunctions of the NeuralEF fit whose hidden features are clustered."""
        return self._base.eigenfunctions(batch)

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        """Those of the NeuralEF fit."""
        return self._base.kernel_settings

    def kernel(self, batch: PatchBatch) -> Kernel:
        """The kernel of the NeuralEF fit."""
        return self._base.kernel(batch)

    def state_dict(self) -> dict[str, Tensor]:
        """Centres (K, D), and the state of the NeuralEF fit."""
        base = {_BASE + name: tensor for name, tensor in self._base.state_dict().items()}
        return {"centres": self._fitted().centres, **base}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._centres = Centres(state["centres"].clone(), self.params.scores)
        self._base.load_state_dict({name[len(_BASE) :]: state[name] for name in state if name.startswith(_BASE)})

    def _input(self, batch: PatchBatch) -> Tensor:
        if self.params.input == "hidden_norm":
            return self._base.hidden(batch, normed=True)
        hidden = self._base.hidden(batch)
        return functional.normalize(hidden, dim=-1) if self.params.input == "hidden_l2" else hidden

    def _hidden_patches(self, patches: PatchSource, size: int, context: FitContext) -> Tensor:
        """(size, D) hidden features of patches drawn uniformly from one epoch; psi looks at whole images."""
        generator = context.seeds.torch("subsample")
        chosen = torch.randperm(patches.n_patches, generator=generator)[:size].sort().values
        points, done, before = torch.empty(0), 0, 0
        for batch in patches.batches(0, 1):
            if context.should_stop():
                raise RunInterrupted
            count = batch.pixels[..., 0].numel()
            first, last = torch.searchsorted(chosen, torch.tensor([before, before + count])).tolist()
            if last > first:
                hidden = self._input(batch.to(context.device)).flatten(0, -2)
                points = hidden.new_empty(size, hidden.shape[1]) if done == 0 else points
                points[first:last] = hidden[(chosen[first:last] - before).to(hidden.device)]
            done, before = last, before + count
        return points

    def _fitted(self) -> Centres:
        if self._centres is None:
            raise RuntimeError("NeuralEFKMeans: fit or load a state before predicting")
        return self._centres
