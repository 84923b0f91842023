"""NeuralEF: spectral clustering as a network trained to approximate eigenfunctions of a patch kernel.

Deng and Luo, *Learning Neural Eigenfunctions for Unsupervised Semantic Segmentation*, ICCV 2023.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.batch import kernel_of, kernel_settings
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.health import HEALTH_STAGE, Check, assignment_spread, clusters_in_use, training_scores
from spectral_bench.methods.inputs import images_of, one_by_one, require_finite, require_patches
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource, Statistics
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.neuralef.psi import Psi, initial, restored
from spectral_bench.methods.neuralef.training import training_step
from spectral_bench.methods.separation import batch_moments, separation
from spectral_bench.methods.spin.spectrum import whitening
from spectral_bench.methods.trainer import Budget, Cosine, Step, train

_GRAPH = "graph_statistics."  # mean and deviation of a level, in the state
_SEPARATION = "separation"


class NeuralEF:
    """Discrete NeuralEF: psi's K outputs are soft cluster assignments, and the argmax over them is the cluster.

    Args:
        params: parameters; ``discrete: false`` gives continuous eigenfunctions, whose argmax means little.
    """

    Params = NeuralEFParams
    uses_labels = False
    fit_from = None

    def __init__(self, params: NeuralEFParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self.psi: Psi | None = None
        self._statistics: Statistics | None = None
        self._separation: Tensor | None = None

    @property
    def health_limits(self) -> dict[str, float]:
        """What the harness holds the functions of a fit against on held-out images."""
        limit = self.params.angle_limit
        return {} if limit is None else {"angle_largest": limit}

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Train psi on batches of whole images.

        Raises:
            ConfigError: more clusters than patches, or fewer images than a batch holds.
            NumericalError: features or the loss are not finite.
            RunInterrupted: the run was asked to stop; it goes on from its checkpoint.
        """
        params = self.params
        require_patches(patches, params.k)
        if params.standardise or params.graph_standardise:
            self._statistics = patches.statistics()
        self._separation = None  # that of a fit before this one is not of its psi
        self.psi = self._initial(patches.channels, context)
        train(
            self._network(),
            lambda number, steps, batch: self._step(number, steps, batch, context),
            patches,
            context=context,
            budget=Budget(params.batch_size, params.epochs, params.steps),
            rate=Cosine(params.lr, params.lr_min),
            more_follows=params.separate,
        )
        if params.separate:
            self._separation = self._separated(patches, context)
        with context.stage(HEALTH_STAGE):
            self.checks = self._collapse_checks(patches, context.device)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) logits over the final temperature, in float32 and image by image.

        Neither the noise nor the normalisation of training is part of it; continuous outputs are returned as they are,
        or with ``separate`` rotated to single eigenfunctions.

        Raises:
            NumericalError: features, or the network's outputs, are not finite.
        """
        batch.shared("finite", lambda: require_finite(batch.features, images_of(batch)))
        psi = self._on(batch.pixels.device)
        with torch.no_grad():
            outputs = torch.cat([psi(image.features) for image in one_by_one(batch)])
        if not bool(torch.isfinite(outputs).all()):
            raise NumericalError("psi's outputs hold NaN or infinite values: its training diverged")
        return self._scores(outputs, batch)

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) outputs that the objective makes eigenfunctions of, in float32 and image by image.

        Discrete: the softmax of ``predict``, that is the assignment at the final temperature, without noise.
        Continuous: psi's outputs, with ``separate`` rotated. Either as they are, without the normalisation over a
        batch: a function counts up to its length.

        Raises:
            NumericalError: features, or the network's outputs, are not finite.
        """
        return self.predict_with_functions(batch)[1]

    def predict_with_functions(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """What ``predict`` and ``eigenfunctions`` give, and raise, by one pass through psi."""
        scores = self.predict(batch)
        return scores, scores.softmax(1) if self.params.discrete else scores

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        """All that ``kernel`` depends on besides the batch."""
        return kernel_settings(self.params, self._graph_statistics())

    def kernel(self, batch: PatchBatch) -> Kernel:
        """The kernel that training approximates the eigenfunctions of, over the patches of these images.

        Raises:
            NumericalError: features or pixels are not finite.
        """
        return kernel_of(batch, self.params, self._graph_statistics())

    def hidden(self, batch: PatchBatch, *, normed: bool = False) -> Tensor:
        """(B, h, w, C) float32 outputs of psi's last block, or (``normed``) of the norm behind it, image by image."""
        psi = self._on(batch.pixels.device)
        with torch.no_grad():
            tokens = torch.cat([psi.hidden(image.features) for image in one_by_one(batch)])
            tokens = psi.norm(tokens) if normed else tokens
        return tokens.view(len(batch), *batch.grid, -1)

    def state_dict(self) -> dict[str, Tensor]:
        """Psi's weights, the statistics that its input, or its graph, is standardised by, and the separation (K, K)."""
        state: dict[str, Tensor] = dict(self._fitted().state_dict())
        if self._separation is not None:
            state[_SEPARATION] = self._separation
        if self.params.graph_standardise and self._statistics is not None:
            for level, parts in enumerate(zip(self._statistics.mean, self._statistics.std, strict=True)):
                state[f"{_GRAPH}{level}"] = torch.stack(parts)
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore psi on the device of the given tensors."""
        count = sum(name.startswith(_GRAPH) for name in state)
        levels = [state[f"{_GRAPH}{level}"].clone().unbind() for level in range(count)]
        self._statistics = Statistics(tuple(m for m, _ in levels), tuple(s for _, s in levels)) if levels else None
        self._separation = state[_SEPARATION].clone() if _SEPARATION in state else None
        state = {name: state[name] for name in state if not name.startswith(_GRAPH) and name != _SEPARATION}
        self.psi = restored(self._build, state)

    def _initial(self, channels: tuple[int, ...], context: FitContext) -> Psi:
        statistics = self._statistics if self.params.standardise else None
        return initial(lambda: self._build(channels), statistics, context)

    def _build(self, channels: tuple[int, ...]) -> Psi:
        params = self.params
        return Psi.of(params, channels, params.outputs, constrained=params.orthogonality == "constraint")

    def _fitted(self) -> Psi:
        if self.psi is None:
            raise RuntimeError("NeuralEF: fit or load a state before predicting")
        return self.psi

    def _on(self, device: torch.device) -> Psi:
        """Psi, ready to predict on a device."""
        psi = self._fitted()
        if psi.training or psi.mean.device != device:  # going through all modules takes a tenth of a small prediction
            self.psi = psi = psi.to(device).eval()
        return psi

    def _step(self, number: int, steps: int, batch: PatchBatch, context: FitContext) -> Step:
        params, psi = self.params, self._fitted()
        batch.shared("finite", lambda: require_finite(batch.features, images_of(batch)))
        with context.stage("graph"):
            kernel = self.kernel(batch)
        half = context.precision == "bfloat16"
        with torch.autocast(context.device.type, dtype=torch.bfloat16, enabled=half):
            hidden = psi.deep(self._tokens(psi, batch))
            logits = psi.outputs(hidden)
        step = training_step(logits.flatten(0, 1), kernel, params, number=number, steps=steps, context=context)
        return self._completed(step, hidden, batch, context)

    def _tokens(self, psi: Psi, batch: PatchBatch) -> Tensor:
        """What psi's first block sees of a batch; runs side by side with the same statistics find it once."""
        known_by = self._statistics.digest if self.params.standardise and self._statistics is not None else None
        tokens: Tensor = batch.shared(("tokens", known_by), lambda: psi.tokens(batch.features))
        return tokens

    def _separated(self, patches: PatchSource, context: FitContext) -> Tensor:
        """(K, K) float32 matrix that psi's outputs are multiplied by: orthonormal over the batches, then rotated."""
        params = self.params
        assert params.separate_batches is not None
        psi = self._on(context.device)

        def outputs(batch: PatchBatch) -> Tensor:
            with torch.no_grad():
                found: Tensor = psi(batch.features).flatten(0, 1)
            return found

        sigmas, pis = batch_moments(
            outputs,
            self.kernel,
            patches,
            context=context,
            batch_size=params.batch_size,
            batches=params.separate_batches,
        )
        white = whitening(sigmas.mean(0), "NeuralEF")
        rotation, _ = separation(white @ sigmas @ white.T, white @ pis @ white.T)
        return (white.T @ rotation).float()

    def _collapse_checks(self, patches: PatchSource, device: torch.device) -> tuple[Check, ...]:
        scores = list(training_scores(self._scores_at_once, patches, self.params.batch_size, device))
        used = clusters_in_use(scores)
        return (used, assignment_spread(batch.softmax(1) for batch in scores)) if self.params.discrete else (used,)

    def _scores_at_once(self, batch: PatchBatch) -> Tensor:
        """As ``predict``, to rounding: psi takes all images of a batch in one pass, as in training."""
        psi = self._on(batch.pixels.device)
        with torch.no_grad():
            outputs: Tensor = psi.outputs(psi.deep(self._tokens(psi, batch)))
        if not bool(torch.isfinite(outputs).all()):
            return self.predict(batch)  # says what is not finite
        return self._scores(outputs, batch)

    def _scores(self, outputs: Tensor, batch: PatchBatch) -> Tensor:
        """Psi's (B, h * w, K) outputs to the (B, K, h, w) scores that ``predict`` gives."""
        if self._separation is not None:
            outputs = outputs @ self._separation.to(outputs.device)
        scores = outputs / self.params.temperature_min if self.params.discrete else outputs
        return scores.view(len(batch), *batch.grid, -1).permute(0, 3, 1, 2)

    def _network(self) -> nn.Module:
        """What is trained: psi, and what a variant trains with it."""
        return self._fitted()

    def _completed(self, step: Step, hidden: Tensor, batch: PatchBatch, context: FitContext) -> Step:
        """The step with what a variant adds to the loss; ``hidden`` are psi's (B, h * w, C) features of the batch."""
        return step

    def _graph_statistics(self) -> Statistics | None:
        if not self.params.graph_standardise:
            return None
        if self._statistics is None:
            raise RuntimeError("NeuralEF: the graph is standardised, and the stored fit holds no statistics for it")
        return self._statistics
