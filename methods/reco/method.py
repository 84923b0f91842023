"""ReCo: each class is a prototype, found by retrieving images by its name and co-segmenting them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import named, one_by_one, require_finite, require_patches, unit_rows
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.maskclip.method import of_classes, planned_text, require_sound
from spectral_bench.methods.reco.cosegment import cosegment, unlike
from spectral_bench.methods.reco.params import ReCoParams

HELD_BYTES = 2**31  # features of archives of more bytes are not held at once: classes are taken in turns


class _Text(NamedTuple):
    """Vectors (P, D), and the class of each (P,)."""

    vectors: Tensor
    class_of: Tensor

    def to(self, device: torch.device) -> _Text:
        """The same on another device."""
        return _Text(self.vectors.to(device), self.class_of.to(device))

    def cosines(self, image: PatchBatch, k: int) -> Tensor:
        """(n, K) cosines of the patches of an image to the classes."""
        return of_classes(_unit(image, -1) @ self.vectors.T, self.class_of, k)


class _Member(NamedTuple):
    """An image of one archive or of several: (n, C) features, and (n, K) cosines to the classes' texts."""

    features: Tensor
    cosines: Tensor


@dataclass
class _Learnt:
    """What a fit has found so far.

    Attributes:
        similarity: (M, K) of images and classes, float32; empty before it is known.
        patches: (M,) patches of each image, int64.
        prototypes: class -> (C,).
        seeds: class -> (A,) int64.
    """

    similarity: Tensor = field(default_factory=lambda: torch.empty(0))
    patches: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    prototypes: dict[int, Tensor] = field(default_factory=dict)
    seeds: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def restored(cls, saved: dict[str, Any], device: torch.device) -> _Learnt:
        """What was saved, prototypes on a device; nothing yet where nothing was."""
        found = cls(**saved)
        found.prototypes = {index: direction.to(device) for index, direction in found.prototypes.items()}
        found.seeds = {index: seeds.to(device) for index, seeds in found.seeds.items()}
        return found

    def archives(self, size: int) -> Tensor:
        """(K, A) the images of each class, the most similar first, of equal ones the first."""
        return self.similarity.argsort(dim=0, descending=True, stable=True)[:size].T.contiguous()


class ReCo:
    """Likeness to the prototypes of classes, times MaskCLIP's likeness to their texts (Shin et al., NeurIPS 2022).

    The archive of a class holds the training images that are most similar to its text. In each, the seed is the patch
    that all images of the archive support most; the mean of the seeds is the class's prototype. No label is looked at,
    and nothing is drawn. A backbone as for ``maskclip``: one level lies in the space of the texts, and another one, or
    the same, is co-segmented, where the paper takes a second network.

    Args:
        params: parameters; ``text`` names the file of vectors.
    """

    Params = ReCoParams
    uses_labels = False
    fit_from = None
    classes_as_clusters = True

    def __init__(self, params: ReCoParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._text: _Text | None = None
        self._prototypes = self._archives = self._seeds = torch.empty(0)

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Retrieve an archive a class, in one pass over the images, and co-segment it, in further ones.

        Raises:
            ConfigError: the file holds another text than when the run was planned, its vectors are of another width
                than the last level, there is no such level, the archive is larger than the training data, or K than
                the patches.
            DataError: as ``read_text``.
            NumericalError: features are not finite, or those of all patches are alike.
            RunInterrupted: the run was asked to stop; it goes on with the classes that are left.
        """
        require_patches(patches, self.n_clusters)
        text = planned_text(self.params, patches.channels)
        self._require_fitting(patches)
        require_sound(patches)
        known = _Text(torch.from_numpy(text.vectors.copy()), torch.from_numpy(text.class_of.copy()))
        self._text = known.to(context.device)
        ahead = [text.classes.index(name) for name in self.params.context]
        order = ahead + [index for index in range(self.n_clusters) if index not in ahead]
        learnt = self._learn(patches, order, self._text, context)
        self._prototypes = torch.stack([learnt.prototypes[index] for index in range(self.n_clusters)])
        self._seeds = torch.stack([learnt.seeds[index] for index in range(self.n_clusters)])
        self._archives = learnt.archives(self.params.archive).to(context.device)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores of 0 to 1: sigmoid(cosine to the prototype) sigmoid(text_scale x cosine to the text).

        Raises:
            NumericalError: features are not finite.
        """
        device = batch.pixels.device
        text, prototypes = self._fitted().to(device), self._prototypes.to(device)
        with torch.no_grad(), named(batch):
            require_finite(batch.features, "a batch")
            return torch.cat([self._of_image(image, text, prototypes) for image in one_by_one(batch)])

    def state_dict(self) -> dict[str, Tensor]:
        """Text vectors (P, D) and the class of each (P,), prototypes (K, C), and whence these are.

        ``archives`` (K, A) are images of the training split by number, and ``seeds`` (K, A) a patch of each, counted
        row by row.
        """
        vectors, class_of = self._fitted()
        learnt = {"prototypes": self._prototypes, "archives": self._archives, "seeds": self._seeds}
        return {"vectors": vectors, "class_of": class_of, **learnt}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._text = _Text(state["vectors"].clone(), state["class_of"].clone())
        self._prototypes, self._archives = state["prototypes"].clone(), state["archives"].clone()
        self._seeds = state["seeds"].clone()

    def _require_fitting(self, patches: PatchSource) -> None:
        levels = len(patches.channels)
        if not -levels <= self.params.level < levels:
            raise ConfigError(
                f"level = {self.params.level}: expected {-levels} to {levels - 1}, a level of the backbone"
            )
        for name, expected in self.params.misfits(len(patches), patches.n_patches).items():
            raise ConfigError(f"{name} = {getattr(self.params, name)}: expected {expected}")

    @torch.no_grad()
    def _learn(self, patches: PatchSource, order: list[int], text: _Text, context: FitContext) -> _Learnt:
        """Prototypes, class by class in this order."""
        learnt = _Learnt.restored(context.checkpoint.load() or {}, context.device)
        try:
            if not len(learnt.similarity):
                with context.stage("retrieval"):
                    self._retrieve(patches, learnt, text, context)
            archives = learnt.archives(self.params.archive).tolist()
            while left := [index for index in order if index not in learnt.prototypes]:
                group = self._group(left, archives, learnt.patches.tolist(), patches.channels[self.params.level])
                members = self._held({one for index in group for one in archives[index]}, patches, text, context)
                for index in group:
                    with context.stage("cosegmentation"):
                        self._cosegment(index, [members[one] for one in archives[index]], order, learnt)
                    context.progress(len(learnt.prototypes), self.n_clusters)
                    if context.checkpoint.due():
                        context.checkpoint.save(vars(learnt))
                    if context.should_stop():
                        raise RunInterrupted
        except RunInterrupted:
            context.checkpoint.save(vars(learnt))
            raise
        return learnt

    def _retrieve(self, patches: PatchSource, learnt: _Learnt, text: _Text, context: FitContext) -> None:
        """How similar each image is to each class."""
        rows, counts = [], []
        for image in _passing(patches, context):
            unit = _unit(image, -1)
            if self.params.retrieval == "mean":
                unit = unit_rows(unit.mean(0, keepdim=True))
            rows.append(of_classes(unit @ text.vectors.T, text.class_of, self.n_clusters).amax(0))
            counts.append(image.grid[0] * image.grid[1])
        learnt.similarity, learnt.patches = torch.stack(rows).cpu(), torch.tensor(counts)

    def _group(self, left: list[int], archives: list[list[int]], counts: list[int], channels: int) -> list[int]:
        """The next classes whose archives can be held at once, at least one."""
        images: set[int] = set()
        for place, index in enumerate(left):
            images.update(archives[index])
            if place and sum(counts[image] for image in images) * (channels + self.n_clusters) * 4 > HELD_BYTES:
                return left[:place]
        return left

    def _held(self, wanted: set[int], patches: PatchSource, text: _Text, context: FitContext) -> dict[int, _Member]:
        """What is compared of these images, in one pass up to the last of them."""
        members: dict[int, _Member] = {}
        for number, image in enumerate(_passing(patches, context)):
            if number in wanted:
                features = image.features[self.params.level].float().flatten(0, 2)
                members[number] = _Member(features, text.cosines(image, self.n_clusters))
            if len(members) == len(wanted):
                break
        return members

    def _cosegment(self, index: int, members: list[_Member], order: list[int], learnt: _Learnt) -> None:
        """The prototype of a class, out of its archive and of the prototypes of context before it."""
        ahead = order[: len(self.params.context)]
        against = [learnt.prototypes[other] for other in ahead[: ahead.index(index) if index in ahead else None]]
        weights = []
        for member in members:
            weight = unlike(member.features, against)
            if self.params.text_attention:
                weight = weight * (self.params.text_scale * member.cosines[:, index]).sigmoid()
            weights.append(weight)
        found = cosegment([member.features for member in members], weights)
        learnt.prototypes[index], learnt.seeds[index] = found

    def _of_image(self, image: PatchBatch, text: _Text, prototypes: Tensor) -> Tensor:
        """(1, K, h, w) scores of one image or window."""
        scores = (_unit(image, self.params.level) @ prototypes.T).sigmoid()
        if self.params.text_map:
            scores = scores * (self.params.text_scale * text.cosines(image, self.n_clusters)).sigmoid()
        return scores.T.reshape(1, self.n_clusters, *image.grid)

    def _fitted(self) -> _Text:
        if self._text is None:
            raise RuntimeError("ReCo: fit or load a state before predicting")
        return self._text


def _passing(patches: PatchSource, context: FitContext) -> Iterator[PatchBatch]:
    """The training images in order, on the context's device."""
    for image in patches.images():
        if context.should_stop():
            raise RunInterrupted
        with named(image):
            require_finite(image.features, "the training images")
        yield image.to(context.device)


def _unit(image: PatchBatch, level: int) -> Tensor:
    """(n, C) unit features of the patches of an image."""
    return unit_rows(image.features[level].float()).flatten(0, 2)
