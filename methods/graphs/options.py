"""What can be varied about a graph. Importing this file imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

GraphKind = Literal["knn", "mutual", "epsilon", "full"]
PixelColours = Literal["rgb", "lab"]


@dataclass(frozen=True)
class PixelVariant:
    """What a pixel graph can be beside the published one; see ``pixel_variants``.

    Attributes:
        colours: what is compared of pixels: ``rgb``, or ``lab``, CIELAB divided by 100.
        scales: scales 1, 2, 4, ... whose pixel graphs are summed.
        cut: share of an image's pixels, those of the strongest gradients, that no edge crosses; 0: none is cut.
        grid: pixels of a patch, down and across, whose edges are summed into the patch's own.
    """

    colours: PixelColours = "rgb"
    scales: int = 1
    cut: float = 0.0
    grid: int = 1

    def __post_init__(self) -> None:
        if self.colours not in get_args(PixelColours):
            raise ConfigError(unknown("colours of pixels", str(self.colours), get_args(PixelColours)))
        if self.scales < 1:
            raise ConfigError(f"pixel graph: scales = {self.scales}: expected 1 or more")
        if not 0 <= self.cut < 1:
            raise ConfigError(f"pixel graph: cut = {self.cut}: expected a share >= 0 and below 1")
        if self.grid < 1:
            raise ConfigError(f"pixel graph: grid = {self.grid}: expected 1 or more pixels a patch")

    @property
    def reweighs(self) -> bool:
        """Whether pixels are joined by more than their neighbours on one scale. (Colours alone change no rule.)"""
        return self.scales > 1 or self.cut > 0 or self.grid > 1


PUBLISHED = PixelVariant()


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
        pixels: which pixel graph, the published one or another.
    """

    kind: GraphKind = "knn"
    epsilon: float = 0.5
    pixel_near: int = 10
    pixel_far: int = 5
    near_weight: float = 2.0
    far_weight: float = 0.1
    pixels: PixelVariant = PUBLISHED

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
