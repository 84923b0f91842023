"""MaskCLIP: each patch goes to the class whose text vector is nearest to its feature; nothing is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import named, one_by_one, require_finite, require_patches, unit_rows
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.maskclip.params import MaskClipParams, TextParams
from spectral_bench.methods.maskclip.text_vectors import TextVectors, read_text

_LOOKED_AT = 8  # training images of which one at least must show that features differ from patch to patch


class MaskClip:
    """Cosines of the last level's features to text vectors, of each class the largest (Zhou et al., ECCV 2022).

    Its last level has to lie in the space of the text: ``facet: language`` of CLIP's and SigLIP's transformers, whose
    option ``attention`` says what becomes of the last attention (``neighbour``: NACLIP). Training images decide
    nothing: of some it is looked at whether their features are fit for it.

    Args:
        params: parameters; ``text`` names the file of vectors.
    """

    Params = MaskClipParams
    uses_labels = False
    fit_from = None
    classes_as_clusters = True

    def __init__(self, params: MaskClipParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._vectors: Tensor | None = None
        self._class_of = torch.empty(0, dtype=torch.int64)

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Take the vectors of the text file.

        Raises:
            ConfigError: the file holds another text than when the run was planned, its vectors are of another width
                than the last level, there is no level of keys, or K is more than the patches.
            DataError: as ``read_text``.
            NumericalError: features are not finite, or those of all patches are alike.
        """
        require_patches(patches, self.n_clusters)
        text = planned_text(self.params, patches.channels)
        if self.params.key_smoothing is not None and len(patches.channels) < 2:
            raise ConfigError(
                "key_smoothing looks at the keys in the level before the last; the backbone has one level"
            )
        require_sound(patches)
        self._vectors = torch.from_numpy(text.vectors.copy()).to(context.device)
        self._class_of = torch.from_numpy(text.class_of.copy()).to(context.device)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores: cosines times ``logit_scale``, or with ``key_smoothing`` mean probabilities.

        Raises:
            NumericalError: features are not finite.
        """
        vectors = self._fitted().to(batch.pixels.device)
        with torch.no_grad(), named(batch):
            require_finite(batch.features, "a batch")
            return torch.cat([self._of_image(image, vectors) for image in one_by_one(batch)])

    def state_dict(self) -> dict[str, Tensor]:
        """Text vectors (P, D), and the class of each (P,)."""
        return {"vectors": self._fitted(), "class_of": self._class_of}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._vectors, self._class_of = state["vectors"].clone(), state["class_of"].clone()

    def _of_image(self, image: PatchBatch, vectors: Tensor) -> Tensor:
        """(1, K, h, w) scores of one image or window."""
        cosines = unit_rows(image.features[-1].float()).flatten(0, 2) @ vectors.T
        scores = self.params.logit_scale * of_classes(cosines, self._class_of, self.n_clusters)
        if self.params.prompt_denoising is not None:
            scores = _denoised(scores, self.params.prompt_denoising, lowest=-2 * self.params.logit_scale)
        if self.params.key_smoothing is not None:
            scores = _smoothed(scores.softmax(1), image.features[-2].float().flatten(0, 2), self.params.key_smoothing)
        return scores.T.reshape(1, self.n_clusters, *image.grid)

    def _fitted(self) -> Tensor:
        if self._vectors is None:
            raise RuntimeError("MaskClip: fit or load a state before predicting")
        return self._vectors


def _denoised(scores: Tensor, threshold: float, *, lowest: float) -> Tensor:
    """Scores (n, K) with those classes at ``lowest`` whose probability is below the threshold in all n patches.

    Where that would leave no class, all stay.
    """
    absent = scores.softmax(1).amax(0) < threshold
    return scores if bool(absent.all()) else scores.masked_fill(absent, lowest)


def _smoothed(probabilities: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Probabilities (n, K), those of unsure patches a mean over all patches by the cosines of keys (n, D).

    Weights may be negative, as published; they are divided by the sum of their magnitudes, so that smoothed patches
    and others are of one scale when scores are up-sampled.
    """
    unit = unit_rows(keys)
    weights = unit @ unit.T
    mean = (weights @ probabilities) / weights.abs().sum(1, keepdim=True).clamp_min(1e-12)
    return torch.where(probabilities.amax(1, keepdim=True) <= threshold, mean, probabilities)


def of_classes(cosines: Tensor, class_of: Tensor, k: int) -> Tensor:
    """(n, K): of cosines (n, P) to text vectors, whose classes are ``class_of`` (P,), the largest of each class."""
    lowest = cosines.new_full((len(cosines), k), -torch.inf)
    return lowest.scatter_reduce(1, class_of.to(cosines.device).expand_as(cosines), cosines, "amax")


def planned_text(params: TextParams, channels: tuple[int, ...]) -> TextVectors:
    """The text that a run was planned with, for the last of its backbone's levels, of ``channels``.

    Raises:
        ConfigError: the file holds another text by now, or its vectors are of another width than the last level.
        DataError: as ``read_text``.
    """
    text = read_text(Path(params.text))
    if text.digest != params.text_digest:
        raise ConfigError(
            f"text {params.text}: holds another text ({text.digest}) than when the run was planned "
            f"({params.text_digest}); plan it anew"
        )
    if channels[-1] != text.width:
        raise ConfigError(
            f"text {params.text}: its vectors have {text.width} channels and the last level of the backbone "
            f"{channels[-1]}; its features must be those of the text's own model, in the space that both share"
        )
    return text


def require_sound(patches: PatchSource) -> None:
    """Look at a few training images.

    Raises:
        NumericalError: features are not finite, or those of all patches that were looked at are alike.
    """
    for seen, image in enumerate(patches.images(), 1):
        require_finite(image.features, "the training images")
        points = image.features[-1].flatten(0, 2)
        if not torch.equal(points, points[:1].expand_as(points)):
            return
        if seen == _LOOKED_AT:
            break
    raise NumericalError("the features of all patches are alike: nothing tells them apart")
