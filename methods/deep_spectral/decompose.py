"""Images one by one: their graphs, and the eigenvectors of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.deep_spectral.affinity import all_alike, image_affinity
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.eigensolvers import Eigenpairs
from spectral_bench.methods.graphs.batch import graph_pixels, level_index
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.inputs import Standardiser, images_of, named, require_finite
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.laplacian import smallest_eigenpairs
from spectral_bench.methods.threads import each_on_one_thread

Result = TypeVar("Result")


@dataclass(frozen=True)
class Decomposer:
    """What is done to an image before its segments are looked for.

    Attributes:
        params: of the graph and the eigenvectors.
        standardiser: of all levels, where ``params.level`` asks for it.
        restart_seed: of what a solver draws beyond its starting vectors.
    """

    params: DeepSpectralParams
    standardiser: Standardiser
    restart_seed: int = 0

    def affinity(self, image: PatchBatch) -> Tensor:
        """W of a batch of one image, (n, n) on its device.

        Raises:
            NumericalError: features or pixels are not finite, or features are so large that their length overflows.
            ConfigError: there is no such level.
        """
        params = self.params
        colour = GraphOptions(
            pixel_near=params.colour_near,
            pixel_far=params.colour_far,
            near_weight=params.near_weight,
            far_weight=params.far_weight,
            pixels=params.pixel_variant,
        )
        require_finite(image.features, images_of(image))
        with named(image):
            return image_affinity(
                self._compared(image),
                self._pixels(image)[0],
                colour_weight=params.colour_weight,
                colour=colour,
                binary=params.colour_edges == "union",
                published=params.published,
                power=params.affinity_power,
                rescaled=params.similarity == "rescaled",
                dtype=getattr(torch, params.dtype),
            )

    def eigenpairs(self, images: Sequence[PatchBatch]) -> list[Eigenpairs | None]:
        """The smallest eigenpairs of every image, on the CPU; None for an image whose patches are all alike.

        Dense decompositions on CUDA go to the device in one call. Everywhere else the images are shared among the
        threads of the CPU; how many there are changes no bit.

        Args:
            images: batches of one image each, of one grid and on one device.

        Raises:
            NumericalError: an image is not finite, or a solver did not converge; the message names the image.
        """
        return self.each(lambda image, affinity, pairs: pairs, images)

    def each(
        self, function: Callable[[PatchBatch, Tensor, Eigenpairs | None], Result], images: Sequence[PatchBatch]
    ) -> list[Result]:
        """``function`` of every image, its affinity and its eigenpairs, as ``eigenpairs`` gives these.

        Pairs are None for every image too where the parameters cut images without them.

        Args:
            function: is called in a thread that computes alone.
            images: as for ``eigenpairs``.

        Raises:
            NumericalError: as ``eigenpairs``.
        """
        if self.params.solver == "eigh" and self.needs_vectors and images[0].pixels.device.type != "cpu":
            affinities = [self.affinity(image) for image in images]
            rows = list(zip(images, affinities, self._of_affinities(affinities), strict=True))
            return each_on_one_thread(lambda row: function(*row), rows)
        return each_on_one_thread(lambda image: function(image, *self._one(image)), images)

    @property
    def needs_vectors(self) -> bool:
        """Whether eigenvectors of an image decide its segments, or how many there are."""
        return self.params.cut == "eigenvectors" or self.params.segments_by != "number"

    def count(self, affinity: Tensor) -> int:
        """How many eigenvectors an (n, n) affinity has besides the constant one, and at most as many as are wanted.

        One fewer than there are patches with an edge; below 1 where there is at most one.
        """
        return min(self.params.eigenvectors, int((affinity.sum(1) > 0).sum()) - 1)

    def smallest(self, affinity: Tensor, count: int) -> Eigenpairs:
        """The ``count`` smallest eigenpairs of an (n, n) affinity, by the solver that the parameters name."""
        return smallest_eigenpairs(affinity, count, solver=self.params.solver, restart_seed=self.restart_seed)

    def _one(self, image: PatchBatch) -> tuple[Tensor, Eigenpairs | None]:
        affinity = self.affinity(image)
        if not self.needs_vectors or all_alike(affinity):
            return affinity, None
        with named(image):
            found = self.smallest(affinity, self.count(affinity))
        return affinity, Eigenpairs(found.values.cpu(), found.vectors.cpu(), found.residual)

    def _of_affinities(self, affinities: Sequence[Tensor]) -> list[Eigenpairs | None]:
        pairs: list[Eigenpairs | None] = [None] * len(affinities)
        of_count: dict[int, list[int]] = {}
        for index, affinity in enumerate(affinities):
            if not all_alike(affinity):
                of_count.setdefault(self.count(affinity), []).append(index)
        for count, indices in of_count.items():
            found = smallest_eigenpairs(torch.stack([affinities[index] for index in indices]), count, solver="eigh")
            values, vectors = found.values.cpu(), found.vectors.cpu()
            for place, index in enumerate(indices):
                pairs[index] = Eigenpairs(values[place], vectors[place], found.residual)
        return pairs

    def _pixels(self, image: PatchBatch) -> Tensor:
        """The (1, g h, g w, 3) colours that are compared."""
        if not self.params.published:
            return graph_pixels(image, self.params.pixel_grid)
        if image.antialiased is None:
            raise ConfigError("published: true looks at antialiased pixels, and the batch has none: ask for them")
        return image.antialiased

    def _compared(self, image: PatchBatch) -> Tensor:
        """The (h, w, C) features whose directions are compared."""
        if self.params.level == "all_standardised":
            return self.standardiser(image.features)[0]
        return image.features[level_index(self.params.level, len(image.features))][0]
