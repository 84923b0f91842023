"""Parameters of ``nystrom``. Importing this file imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from spectral_bench.methods.params import CentreParams, DiscretiseOption, PixelGraphParams, Solver

Extension = Literal["nearest", "weighted_nearest", "representatives", "nystrom", "cluster_means"]
REPRESENTATIVES, CANDIDATES = 64, 512
WEIGHTED = 32

_Bandwidth = Annotated[Literal["auto"] | float | None, Field(exclude_if=lambda value: value is None)]

# Identities of runs with another extension are those of before there was a search.
_OfSearch = Annotated[int | None, Field(ge=1, exclude_if=lambda value: value is None)]


class NystromParams(PixelGraphParams, CentreParams):
    """Spectral clustering of sampled patches (Ng, Jordan and Weiss, 2001), extended to all other patches."""

    k: int = Field(64, ge=2, description="number of clusters")

    samples: int = Field(4000, ge=2, description="training patches in the graph; all if there are no more")
    sampling: Literal["uniform", "farthest", "images"] = Field(
        "uniform",
        exclude_if=lambda value: value == "uniform",  # identities are those of before there was a choice
        description="samples are drawn uniformly, or each is the farthest from all before it, of the patches of whole "
        "training images, or they are all patches of as many whole images as samples holds, drawn at random",
    )
    input: Literal["last_l2", "all_standardised_l2"] = Field(
        "last_l2", description="what the graph compares: the last level, or all levels standardised per channel"
    )
    kernel: Literal["cosine_knn", "rbf"] = Field(
        "cosine_knn",
        exclude_if=lambda value: value == "cosine_knn",  # as for sampling
        description="affinity: cosine similarity to neighbours, by graph and neighbours, or exp(-|x - y|^2 / (2 b^2)) "
        "of all pairs, by bandwidth",
    )
    bandwidth: _Bandwidth = Field(
        None,
        description="b of kernel: rbf, there auto: the median distance of two of 1024 samples; or a number, "
        "in distances of unit vectors",
    )
    graph: Literal["knn", "mutual"] = Field(
        "knn", description="union of the nearest neighbours by cosine similarity, or mutual neighbours only"
    )
    neighbours: int = Field(32, ge=1, description="nearest neighbours of a patch in the sample, clipped to samples - 1")
    alpha: float = Field(
        0.0,
        ge=0,
        exclude_if=lambda value: value == 0,  # as for sampling
        description="weight of the pixel graph beside that of features, for sampling: images; 0 leaves it out",
    )
    eigenvectors: int | None = Field(
        None, ge=1, description="leading eigenvectors, the trivial one included; null: as many as clusters"
    )
    solver: Solver = Field(
        "arpack",
        description="dense reference, Lanczos, conjugate gradients in float64, or a filtered subspace, which "
        "works on a GPU",
    )
    row_normalise: bool = Field(True, description="a patch's values of the eigenvectors are scaled to unit length")
    discretise: DiscretiseOption = "kmeans"

    extension: Extension = Field(
        "nearest",
        description="how the sample's clusters reach all patches. nearest, nystrom: a patch gets values of the "
        "eigenvectors, the mean of the nearest sampled patches' or those of Nystrom's formula, and the nearest centre. "
        "weighted_nearest: as nearest, a mean of extension_neighbours weighed by similarity. "
        "representatives: as nearest, but among the candidates of its nearest representative alone: faster, not exact. "
        "cluster_means: it gets the cluster whose sampled patches have the nearest mean feature, sampled ones too",
    )
    extension_neighbours: int = Field(
        1,
        ge=1,
        description="sampled patches whose mean is taken, for extension: nearest and representatives, and for the "
        "eigenfunctions of extension: cluster_means; clipped to the sample, or to candidates. For extension: "
        f"weighted_nearest {WEIGHTED} unless it is given",
    )
    representatives: _OfSearch = Field(
        None, description=f"means that stand for the sample, for extension: representatives, there {REPRESENTATIVES}"
    )
    candidates: _OfSearch = Field(
        None,
        description="sampled patches around a representative that a patch is compared with, for extension: "
        f"representatives, there {CANDIDATES}; clipped to the sample",
    )

    @field_validator("bandwidth", mode="before")
    @classmethod
    def _auto_or_positive(cls, value: object) -> object:
        number = value is None or value == "auto" or (isinstance(value, int | float) and 0 < value < float("inf"))
        if not number:
            raise ValueError(f"bandwidth = {value}: expected auto or a number above 0")
        return value

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """As many eigenvectors as clusters, fewer than samples; the numbers of a search where there is one."""
        if self.eigenvectors is None:
            object.__setattr__(self, "eigenvectors", self.k)
        for name in ("k", "eigenvectors"):
            if getattr(self, name) >= self.samples:
                raise ValueError(f"{name} = {getattr(self, name)} must be below samples = {self.samples}")
        if self.extension == "weighted_nearest" and "extension_neighbours" not in self.model_fields_set:
            object.__setattr__(self, "extension_neighbours", WEIGHTED)
        self._fit_kernel()
        self._fit_pixels()
        searches = self.extension == "representatives"
        for name, usual in (("representatives", REPRESENTATIVES), ("candidates", CANDIDATES)):
            if getattr(self, name) is None and searches:
                object.__setattr__(self, name, usual)
            elif getattr(self, name) is not None and not searches:
                raise ValueError(f"{name} = {getattr(self, name)} is for extension: representatives alone")
        return self

    def _fit_kernel(self) -> None:
        """The parameters of one kernel are not for the other; a rotation takes a vector for each cluster."""
        if self.kernel == "rbf":
            if self.bandwidth is None:
                object.__setattr__(self, "bandwidth", "auto")
            for name in ("graph", "neighbours"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} = {getattr(self, name)} is for kernel: cosine_knn alone")
        elif self.bandwidth is not None:
            raise ValueError(f"bandwidth = {self.bandwidth} is for kernel: rbf alone")
        if self.discretise != "kmeans" and self.eigenvectors != self.k:
            raise ValueError(f"eigenvectors = {self.eigenvectors}: discretise: {self.discretise} needs k, {self.k}")

    def _fit_pixels(self) -> None:
        """The pixel graph is one of whole images, beside a graph of neighbours."""
        if self.alpha == 0:
            if varied := self.varied_pixels():
                raise ValueError(f"{varied}: alpha = 0 leaves the pixel graph out")
            return
        if self.sampling != "images":
            few = f"a sampled patch has hardly a neighbour of its image among samples of sampling: {self.sampling}"
            raise ValueError(f"alpha = {self.alpha}: {few}; use sampling: images")
        if self.kernel != "cosine_knn":
            raise ValueError(f"alpha = {self.alpha} is for kernel: cosine_knn alone")
        if self.extension == "nystrom":
            none = "the formula would need edges of pixels between a patch and sampled images, of which it has none"
            others = ", ".join(name for name in get_args(Extension) if name != "nystrom")
            raise ValueError(f"extension = nystrom: with alpha = {self.alpha} {none}; expected one of {others}")

    def sampled(self, images: int, patches: int) -> int:
        """How many patches are in the graph, of training images of as many patches each."""
        size = min(self.samples, patches)
        return size if self.sampling != "images" else size - size % (patches // images)

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, fewer eigenvectors than patches, and room for a whole image where images are sampled."""
        found = super().misfits(images, patches)
        if patches is None or "k" in found:
            return found
        if (self.eigenvectors or 0) >= patches:
            found["eigenvectors"] = f"fewer than the {patches} training patches"
        elif not (size := self.sampled(images, patches)):
            found["samples"] = f"at least {patches // images}, the patches of one image, for sampling: images"
        elif max(self.k, (self.eigenvectors or 0) + 1) > size:
            name = "k" if self.k > size else "eigenvectors"
            found[name] = f"fewer than the {size} patches of the {size * images // patches} sampled images"
        return found
