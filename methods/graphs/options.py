"""What can be varied about a graph. Importing this file imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

GraphKind = Literal["knn", "mutual", "epsilon", "full"]
PixelColours = Literal["rgb", "lab"]


@dataclass(frozen=True)
class GraphOptions:
    """Which pairs of patches the feature graph joins, and how many pixels the pixel graph does.

    Attributes:
        kind: ``knn`` joins a patch to its nearest neighbours and averages with the transpose, ``mutual`` keeps the
            pairs that are neighbours of each other, ``epsilon`` joins patches of at least ``epsilon`` similarity,
            ``full`` joins all patches of positive similarity.
        epsilon: least cosine similarity of an edge of kind ``epsilon``, in (0, 1].
        pixel_near: neighbours of a pixel where place weighs much (``near_weight``).
        pixel_far: neighbours of a pixel where place weighs little (``far_weight``).
        near_weight: factor on x and y, which run over [0, 1], beside RGB in [0, 1].
        far_weight: the same for the second set of neighbours.
        pixel_colours: what is compared of pixels: ``rgb``, or ``lab``, CIELAB divided by 100.
        pixel_scales: scales 1, 2, 4, ... whose pixel graphs are summed; see ``pixel_variants``.
        pixel_cut: share of an image's pixels, those of the strongest gradients, that no edge crosses; 0: none is cut.
    """

    kind: GraphKind = "knn"
    epsilon: float = 0.5
    pixel_near: int = 10
    pixel_far: int = 5
    near_weight: float = 2.0
    far_weight: float = 0.1
    pixel_colours: PixelColours = "rgb"
    pixel_scales: int = 1
    pixel_cut: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(GraphKind):
            raise ConfigError(unknown("kind of graph", str(self.kind), get_args(GraphKind)))
        if not 0 < self.epsilon <= 1:
            raise ConfigError(f"graph option epsilon = {self.epsilon}: expected a cosine similarity in (0, 1]")
        for name in ("pixel_near", "pixel_far"):
            if getattr(self, name) < 0:
                raise ConfigError(f"graph option {name} = {getattr(self, name)}: expected 0 or more neighbours")
        for name in ("near_weight", "far_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"graph option {name} = {getattr(self, name)}: expected a finite factor >= 0")
        if self.pixel_colours not in get_args(PixelColours):
            raise ConfigError(unknown("colours of pixels", str(self.pixel_colours), get_args(PixelColours)))
        if self.pixel_scales < 1:
            raise ConfigError(f"graph option pixel_scales = {self.pixel_scales}: expected 1 or more scales")
        if not 0 <= self.pixel_cut < 1:
            raise ConfigError(f"graph option pixel_cut = {self.pixel_cut}: expected a share >= 0 and below 1")
