"""Parameters that methods share, and those of methods in one file; default, range and unit. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spectral_bench.methods.graphs.options import PixelVariant


@dataclass(frozen=True)
class Colours:
    """The colours of images that a batch brings besides ``PatchBatch.pixels``, for methods that ask for them.

    Attributes:
        antialiased: whether it has ``PatchBatch.antialiased``.
        samples: colour samples of a patch, down and across, in ``PatchBatch.fine``; 1: that is None.
    """

    antialiased: bool = False
    samples: int = 1


PLAIN = Colours()
"""Those of a batch that brings ``pixels`` alone."""


class Params(BaseModel):
    """Base of the parameters of a method: every default, range and unit stated, unknown names refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_truth_values_as_numbers(cls, values: Any) -> Any:
        """``k: true`` would pass as ``k: 1``; it is a slip, so it is refused."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f'parameter "{name}" is a number or a name, not {str(value).lower()}')
        return values

    @property
    def antialiased_pixels(self) -> bool:
        """Whether the method looks at ``PatchBatch.antialiased``, which is made only for those that do."""
        return False

    @property
    def colour_samples(self) -> int:
        """How many samples of a patch, down and across, the method looks at in ``PatchBatch.fine``; 1: at none."""
        return 1

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """Parameters that training data of this size cannot do with: name -> what is expected of its value.

        Args:
            images: training images.
            patches: in all of them; None where their number depends on images that are not seen yet.
        """
        found = {}
        if getattr(self, "batch_size", 0) > images:
            found["batch_size"] = f"at most the {images} training images"
        if patches is not None and getattr(self, "k", 0) > patches:
            found["k"] = f"at most {patches}, the number of training patches in {images} images"
        return found

    def held_bytes(self, channels: int) -> int:
        """Memory that a fit holds between two training steps, such as weights and what their optimiser keeps.

        Runs that are trained side by side hold theirs at once. 0: the fit is made in one go.

        Args:
            channels: of the features of all levels.
        """
        return 0

    def base_params(self) -> dict[str, Any]:
        """The complete parameters of the fit that a method with ``fit_from`` starts from."""
        raise NotImplementedError(f"{type(self).__name__} belongs to a method that starts from no other fit")


FeatureInput = Literal["last", "last_l2", "all_standardised_l2"]


class CentreParams(Params):
    """How Lloyd's iterations are run; shared by the methods that end in k-means."""

    scores: Literal["one_hot", "distance"] = Field(
        "one_hot", description="predicted scores: 1 for the nearest centre and 0 else, or minus the squared distance"
    )
    iterations: int = Field(100, ge=1, description="most Lloyd iterations")
    tol: float = Field(
        1e-4, ge=0, description="stop once the centres' summed squared shift is below tol x the mean channel variance"
    )
    restarts: int = Field(1, ge=1, description="seedings tried; the one of the lowest inertia is kept")


Solver = Literal["eigh", "arpack", "lobpcg", "chebyshev"]
"""Of the largest eigenpairs of symmetric matrices: ``methods.eigensolvers``."""

Discretise = Literal["kmeans", "rotation", "qr"]

DiscretiseOption = Annotated[
    Discretise,
    Field(
        exclude_if=lambda value: value == "kmeans",  # identities are those of before there was a choice
        description="how eigenvectors become clusters: k-means of their rows, an orthogonal rotation towards "
        "indicator vectors (Yu and Shi, ICCV 2003), or one by column-pivoted QR (Damle, Minden and Ying, 2019)",
    ),
]


class LloydParams(CentreParams):
    """k-means of patches, of which there may be more than fit in memory."""

    max_patches: int = Field(
        300_000, ge=1, description="patches fitted on: all training patches, or this many drawn uniformly from more"
    )

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, and no more clusters than patches that are fitted on."""
        found = super().misfits(images, patches)
        if "k" not in found and getattr(self, "k", 0) > self.max_patches:
            found["k"] = f"at most max_patches = {self.max_patches}"
        return found


class KMeansParams(LloydParams):
    """k-means on patch features."""

    k: int = Field(64, ge=2, description="number of clusters")
    input: FeatureInput = Field(
        "last",
        description="what is clustered: the last level, the last level L2-normalised, or all levels concatenated, "
        "standardised per channel with training statistics and L2-normalised",
    )


class PixelGraphParams(Params):
    """What a graph of pixels can be beside the published one; see ``methods.graphs.pixel_variants``."""

    pixel_colours: Literal["rgb", "lab"] = Field(
        "rgb",
        exclude_if=lambda value: value == "rgb",  # identities are those of before there was a choice
        description="colours that neighbours are found by: RGB in [0, 1], or CIELAB divided by 100",
    )
    pixel_scales: int = Field(
        1,
        ge=1,
        le=4,
        exclude_if=lambda value: value == 1,
        description="scales whose pixel graphs are summed: pixels, and means of 2 x 2, 4 x 4 and 8 x 8 of them",
    )
    pixel_cut: float = Field(
        0.0,
        ge=0,
        lt=1,
        exclude_if=lambda value: value == 0,
        description="share of an image's pixels, those of the strongest gradients, that no edge crosses; 0: none is "
        "cut",
    )
    pixel_grid: int = Field(
        1,
        ge=1,
        le=8,
        exclude_if=lambda value: value == 1,
        description="colour samples of a patch, down and across, that are the pixels of the graph; the edges of those "
        "of two patches are summed",
    )

    @property
    def pixel_variant(self) -> PixelVariant:
        """The same in one value, as graphs take it."""
        return PixelVariant(self.pixel_colours, self.pixel_scales, self.pixel_cut, self.pixel_grid)

    @property
    def colour_samples(self) -> int:
        """Those of the grid."""
        return self.pixel_grid

    def varied_pixels(self) -> str | None:
        """The first parameter that asks for another pixel graph than the published one, as ``name = value``."""
        for name, field in PixelGraphParams.model_fields.items():
            if (value := getattr(self, name)) != field.default:
                return f"{name} = {value}"
        return None


class GraphParams(PixelGraphParams):
    """The kernel of a batch of patches, shared by the methods that approximate its eigenfunctions."""

    graph: Literal["knn", "mutual", "epsilon", "full"] = Field(
        "knn",
        description="feature graph: union of the nearest neighbours, mutual neighbours only, all similarities of at "
        "least graph_epsilon, or all positive similarities",
    )
    neighbours: int = Field(256, ge=1, description="nearest neighbours of a patch within the batch, clipped to N - 1")
    graph_epsilon: float = Field(0.5, gt=0, le=1, description="least cosine similarity of an edge, for graph: epsilon")
    graph_level: Literal[0, 1, 2, -1, "all"] = Field(
        -1, description="feature level that the graph compares: 0 the lowest, -1 the last, all: concatenated"
    )
    graph_standardise: bool = Field(False, description="standardise the graph's level with training statistics")
    alpha: float = Field(0.3, ge=0, description="weight of the pixel graph; 0 leaves it out")

    @model_validator(mode="after")
    def _vary_what_is_there(self) -> Self:
        if self.alpha == 0 and (varied := self.varied_pixels()):
            raise ValueError(f"{varied}: alpha = 0 leaves the pixel graph out")
        return self


class TrainingParams(Params):
    """How a network is trained; shared by the methods that train one."""

    epochs: int = Field(40, ge=1, description="passes over the training images")
    steps: int | None = Field(None, ge=1, description="optimiser steps, in place of epochs")
    batch_size: int = Field(16, ge=1, description="images a step; an incomplete last batch is dropped")
    lr: float = Field(1e-3, gt=0, description="Adam's learning rate at the first step")
    lr_min: float = Field(1e-5, ge=0, description="learning rate at the last step, reached along a cosine")

    @model_validator(mode="after")
    def _refuse_a_rising_rate(self) -> Self:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min = {self.lr_min} must not be above lr = {self.lr}")
        return self


SEPARATE_BATCHES = 64
"""Batches that functions are separated over, where a grid does not say."""

TRAINED_BYTES = 16
"""Bytes a parameter in training: itself, its gradient and Adam's two moments, in float32."""


class PsiSizes(Protocol):
    """The parameters that say how large psi, the network of NeuralEF, is."""

    @property
    def depth(self) -> int:
        """Transformer blocks."""

    @property
    def heads(self) -> int:
        """Attention heads a block."""

    @property
    def head_width(self) -> int:
        """Channels a head."""

    @property
    def mlp_width(self) -> int:
        """Hidden channels of a block's MLP."""


def psi_parameters(sizes: PsiSizes, channels: int, outputs: int) -> int:
    """Numbers that psi learns: blocks of attention and MLP with their norms, the last norm, and the head."""
    inner = sizes.heads * sizes.head_width
    attention = channels * 4 * inner + channels
    mlp = 2 * channels * sizes.mlp_width + sizes.mlp_width + channels
    return sizes.depth * (attention + mlp + 4 * channels) + 2 * channels + channels * outputs


AngleLimit = Annotated[
    float | None,
    Field(
        gt=0,
        le=90,
        exclude_if=lambda value: value is None,  # identities of runs that set none are those of before it was there
        description="largest angle in degrees to the exact eigenspace of held-out images at which a fit counts as "
        "converged; null: any",
    ),
]


class FunctionParams(GraphParams, TrainingParams, LloydParams):
    """A network whose outputs become eigenfunctions, and k-means on them; shared by the methods that learn them."""

    k: int = Field(64, ge=2, description="number of clusters: k-means centres")
    functions: int = Field(16, ge=2, description="eigenfunctions that are learnt, those of the largest eigenvalues")
    lr: float = Field(3e-3, gt=0, description="Adam's learning rate at the first step")
    features: Literal["all", "last"] = Field("all", description="what the network sees: all levels, or the last")
    standardise: bool = Field(True, description="the network's input is standardised per channel")
    width: int = Field(128, ge=1, description="units of a hidden layer")
    depth: int = Field(2, ge=0, description="hidden layers")
    activation: Literal["gelu", "tanh", "softplus"] = Field("gelu", description="of the hidden layers")
    input: Literal["eigenfunctions", "eigenfunctions_l2"] = Field(
        "eigenfunctions_l2",
        description="what is clustered: the values of a patch's eigenfunctions, as they are or L2-normalised",
    )
    angle_limit: AngleLimit = None
    discretise: DiscretiseOption = "kmeans"

    @model_validator(mode="after")
    def _one_function_a_cluster(self) -> Self:
        if self.discretise != "kmeans" and self.functions != self.k:
            raise ValueError(f"functions = {self.functions}: discretise: {self.discretise} needs k of them, {self.k}")
        return self

    @property
    def bound_by_batch(self) -> str | None:
        """Why there may be no more functions than patches in a batch: a step divides by its covariance; None: it does
        not."""
        return None

    @property
    def jacobian_pairs(self) -> int:
        """Pairs of functions whose averaged Jacobian, a vector of the network's size, is held in training."""
        return 0

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, and no more functions than patches to tell them apart by."""
        found = super().misfits(images, patches)
        if patches is None:
            return found
        sampled, batch = min(patches, self.max_patches), self.batch_size * patches // max(images, 1)
        if self.functions > sampled:
            found["functions"] = f"at most the {sampled} training patches that are clustered"
        elif self.functions > batch and self.bound_by_batch and "batch_size" not in found:
            found["functions"] = (
                f"at most the {batch} patches of a batch of {self.batch_size} images: {self.bound_by_batch}"
            )
        return found

    def held_bytes(self, channels: int) -> int:
        """The network with its optimiser, and the averaged Jacobian: see ``methods.spin.memory``."""
        seen = [channels, *[self.width] * self.depth, self.functions]
        numbers = sum((one + 1) * other for one, other in pairwise(seen))
        return numbers * (TRAINED_BYTES + 4 * self.jacobian_pairs)


class SpinParams(FunctionParams):
    """SpIN (Pfau et al., ICLR 2019) on patches, and k-means on its eigenfunctions."""

    decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share that moving averages of the functions' covariance and its Jacobian keep at a step, 1 - the "
        "paper's rate; 0: no averages",
    )
    jacobian_patches: int | None = Field(
        512, ge=1, description="patches of a batch that its Jacobian is estimated on, where decay > 0; null: all"
    )

    @property
    def bound_by_batch(self) -> str | None:
        """Without averages a step divides by the covariance of its batch."""
        return None if self.decay else "without averages (decay: 0) more are never independent"

    @property
    def jacobian_pairs(self) -> int:
        """Those of i <= j, with averages."""
        return self.functions * (self.functions + 1) // 2 if self.decay else 0


_CLASSES = "number of clusters, which is that of the classes; a grid that leaves it out gets that of its data set"


class LinearProbeParams(Params):
    """A linear classifier on standardised features of all levels."""

    k: int = Field(11, ge=2, description=_CLASSES)
    epochs: int = Field(20, ge=1, description="passes over the training images")
    steps: int | None = Field(None, ge=1, description="optimiser steps, in place of epochs")
    batch_size: int = Field(16, ge=1, description="images a step; an incomplete last batch is dropped")
    lr: float = Field(1e-2, gt=0, description="Adam's learning rate at the first step; 0 at the last, along a cosine")
    label_budget: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda value: value is None,  # identities are those of before there was a choice
        description="training images whose labels are seen, drawn by the seed, a larger number holding a smaller one; "
        "there are as many steps as with all; null: all",
    )

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, and no more labelled images than there are."""
        found = super().misfits(images, patches)
        if self.label_budget is not None and self.label_budget > images:
            found["label_budget"] = f"at most the {images} training images"
        return found

    def held_bytes(self, channels: int) -> int:
        """The linear map with its optimiser."""
        return TRAINED_BYTES * (channels + 1) * self.k


class OracleParams(Params):
    """Labels at patch resolution."""

    k: int = Field(11, ge=2, description=_CLASSES)
