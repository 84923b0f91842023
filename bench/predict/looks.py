"""How a stored fit looks at images of any place: as its first evaluation did, to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from spectral_bench.bench.features.backbones import backbone_info, load_backbone
from spectral_bench.bench.features.cache.meta import used_weights
from spectral_bench.bench.features.pipeline import Extraction, ImageShots
from spectral_bench.bench.features.recipes import Recipe, view_recipe
from spectral_bench.bench.features.views import ViewFeatures
from spectral_bench.bench.predict.files import FileImages
from spectral_bench.common.errors import DataError
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.registry import colours_asked
from spectral_bench.results.specification import FitSpec, View

_DTYPES = {"float16": torch.float16, "float32": torch.float32}
_BATCH = 8  # images a forward pass


def looks(spec: FitSpec, view: View, images: FileImages, device: torch.device) -> ViewFeatures:
    """What the backbone of a fit makes of images, with the bits that the fit's own cache would hold.

    Args:
        spec: of the fit; its features do not lie in files.
        view: how images are looked at.
        images: the images.
        device: where to compute.

    Raises:
        DataError: the weights are not those that the fit had.
    """
    backbone = spec.backbone
    work = _AsCached(
        images,
        images.ids,
        partial(load_backbone, backbone.name, backbone.options, device),
        device,
        workers=2,
        inference_batch=_BATCH,
        colours=colours_asked(spec.method, spec.params),
        dtype="float32" if spec.features.mode == "online" else spec.features.dtype,
    )
    used_weights(backbone, work)
    info = backbone_info(backbone.name, backbone.options)
    return ViewFeatures(work, view_recipe(view), info, None, merged=view.flip == "features")


@dataclass(frozen=True)
class _AsCached(Extraction):
    """Rounds what it extracts as a cache does, which keeps the features and pixels of each shot.

    Attributes:
        dtype: of the cache.
    """

    dtype: Literal["float16", "float32"] = "float32"

    def features(self, recipe: Recipe, indices: Iterable[int]) -> Iterator[tuple[ImageShots, PatchBatch]]:
        """Each image's shots and their features, on the device, in order.

        Raises:
            DataError: a feature is beyond float16.
        """
        for taken, batch in super().features(recipe, indices):
            yield taken, self._rounded(batch)

    def _rounded(self, batch: PatchBatch) -> PatchBatch:
        if self.dtype == "float32":
            return batch
        levels = tuple(map(self._round, batch.features))
        pairs = zip(levels, batch.features, strict=True)
        # What is not finite before it is rounded is told where scores are made of it.
        if any(bool((level.isinf() & whole.isfinite()).any()) for level, whole in pairs):
            name = batch.image_ids[0]
            raise DataError(f"image {name}: its features are beyond {self.dtype}, as which the run's own are kept")
        return replace(batch, features=levels, pixels=self._round(batch.pixels))

    def _round(self, values: Tensor) -> Tensor:
        return values.to(_DTYPES[self.dtype]).float()
