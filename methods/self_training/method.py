"""Self-training: a student on frozen features learns the clusters of a stored fit, then those of its own average.

The parts are those of mean teacher (Tarvainen and Valpola, NeurIPS 2017) and FixMatch (Sohn et al., NeurIPS 2020): a
teacher whose weights are the moving average of the student's sees features as they are, and the student has to find
its cluster from features of which a part is hidden, where the teacher is confident. Here the first labels are those of
an unsupervised fit, and views differ in their features: images are augmented where the grid's ``transform`` or several
cached ``views`` say so.
"""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.health import HEALTH_STAGE, Check, clusters_in_use, training_scores
from spectral_bench.methods.inputs import images_of, one_by_one, require_finite, require_patches
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource, Segmenter
from spectral_bench.methods.labels import VOID, cross_entropy
from spectral_bench.methods.neuralef.psi import Psi, initial, restored
from spectral_bench.methods.registry import ANY
from spectral_bench.methods.self_training.params import SelfTrainingParams
from spectral_bench.methods.trainer import Budget, Cosine, Step, train


class _Pair(nn.Module):
    """The student and its average; the average has no gradient."""

    def __init__(self, student: Psi) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)

    def follow(self, keep: float) -> None:
        """Move the teacher towards the student: keep x itself + (1 - keep) x the student."""
        with torch.no_grad():
            for own, other in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                own.lerp_(other, 1 - keep)


class SelfTraining:
    """A network that starts from the clusters of any stored fit without labels and goes on by itself.

    Args:
        params: parameters; ``start`` and ``start_params`` say which fit.
    """

    Params = SelfTrainingParams
    uses_labels = False
    fit_from = ANY

    def __init__(self, params: SelfTrainingParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._network: Psi | None = None

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Train student and teacher on batches of whole images.

        Raises:
            ConfigError: no fit to start from or one of another K, more clusters than patches, or fewer images than a
                batch holds.
            NumericalError: features or the loss are not finite.
            RunInterrupted: the run was asked to stop; it goes on from its checkpoint.
        """
        params = self.params
        if context.base is None or context.base.n_clusters != params.k:
            raise ConfigError(f"self_training starts from a stored fit of {params.k} clusters, and was given none")
        require_patches(patches, params.k)
        statistics = patches.statistics() if params.standardise else None
        pair = _Pair(initial(lambda: self._build(patches.channels), statistics, context))
        train(
            pair,
            lambda number, steps, batch: self._step(pair, number, steps, batch, context),
            patches,
            context=context,
            budget=Budget(params.batch_size, params.epochs, params.steps),
            rate=Cosine(params.lr, params.lr_min),
        )
        pair.follow(params.average)
        self._network = pair.teacher.eval()
        with context.stage(HEALTH_STAGE):
            self.checks = (clusters_in_use(training_scores(self.predict, patches, params.batch_size, context.device)),)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) logits of the averaged teacher, in float32 and image by image.

        Raises:
            NumericalError: features, or the logits, are not finite.
        """
        require_finite(batch.features, images_of(batch))
        network = self._fitted().to(batch.pixels.device).eval()
        with torch.no_grad():
            logits = torch.cat([network(image.features) for image in one_by_one(batch)])
        if not bool(torch.isfinite(logits).all()):
            raise NumericalError("the student's logits hold NaN or infinite values: its training diverged")
        return logits.view(len(batch), *batch.grid, -1).permute(0, 3, 1, 2)

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the averaged teacher, and the statistics that its input is standardised by."""
        return dict(self._fitted().state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, on the device of the given tensors."""
        self._network = restored(self._build, state).requires_grad_(False)

    def _build(self, channels: tuple[int, ...]) -> Psi:
        return Psi.of(self.params, channels, self.params.k, constrained=False)

    def _step(self, pair: _Pair, number: int, steps: int, batch: PatchBatch, context: FitContext) -> Step:
        batch.shared("finite", lambda: require_finite(batch.features, images_of(batch)))
        # Before the step, not after it: a checkpoint lies between steps, and the resumed step moves the teacher.
        pair.follow(self.params.average if number else 1.0)
        with context.stage("teacher"), torch.no_grad():
            warming_up = number < self.params.warm_up * steps
            classes = self._taught(pair, context.base if warming_up else None, batch)
        half = context.precision == "bfloat16"
        with torch.autocast(context.device.type, dtype=torch.bfloat16, enabled=half):
            hidden = pair.student.deep(self._hidden_in_part(pair.student.tokens(batch.features), number, context))
            logits = pair.student.outputs(hidden)
        return Step(
            cross_entropy(logits.flatten(0, 1), classes),
            lambda: {"learnt": float((classes != VOID).float().mean())},
        )

    def _taught(self, pair: _Pair, base: Segmenter | None, batch: PatchBatch) -> Tensor:
        """(B h w,) int64 clusters that the student has to find, by ``base`` or by the average of the student.

        They are -1 where the average is not confident.
        """
        if base is not None:
            return base.predict(batch).argmax(1).flatten()
        confidence, classes = pair.teacher(batch.features).softmax(-1).max(-1)
        taught: Tensor = classes.where(confidence >= self.params.confidence, VOID)
        return taught.flatten()

    def _hidden_in_part(self, tokens: Tensor, number: int, context: FitContext) -> Tensor:
        """The (B, h w, C) tokens of the student's view: channels and whole patches set to 0, the training mean.

        Drawn on the CPU from a stream that knows the step, so that every device and a resumed run hide the same.
        """
        params, generator = self.params, context.seeds.torch("hidden", number)
        seen = (torch.rand(tokens.shape, generator=generator) >= params.channel_drop).float()
        seen /= 1 - params.channel_drop
        seen *= torch.rand((*tokens.shape[:2], 1), generator=generator) >= params.patch_drop
        return tokens * seen.to(tokens.device)

    def _fitted(self) -> Psi:
        if self._network is None:
            raise RuntimeError("SelfTraining: fit or load a state before predicting")
        return self._network
