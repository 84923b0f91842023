"""Parameters of ``deep_spectral``. Importing this file imports no torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from spectral_bench.methods.params import CentreParams, DiscretiseOption, FeatureInput, PixelGraphParams

_OF_CUTS = {"affinity_power": 10.0, "similarity": "rescaled", "colour_weight": 0.0}
"""What another cut than ``eigenvectors`` has in the place of the defaults: the graph of DiffCut."""


class DeepSpectralParams(PixelGraphParams, CentreParams):
    """Per-image graphs, segments an image by eigenvectors or cuts, and k-means of the segments over the data set."""

    k: int = Field(64, ge=2, description="number of clusters of segments over the data set")

    cut: Literal["eigenvectors", "recursive", "kway"] = Field(
        "eigenvectors",
        description="how an image is cut into segments: k-means of its eigenvectors, bipartition of the graph and of "
        "its parts while the normalised cut is below tau, or a discrete K-way normalised cut; the latter two have "
        "other defaults of the graph: affinity_power 10, similarity rescaled, colour_weight 0",
    )
    tau: float = Field(
        0.5, gt=0, le=1, description="a part is cut in two if its normalised cut is below this, for cut: recursive"
    )

    level: Literal[0, 1, 2, -1, "all_standardised"] = Field(
        -1,
        description="feature level that the affinity compares: 0 the lowest, -1 the last, or all levels concatenated "
        "and standardised per channel with training statistics",
    )
    published: bool = Field(
        False,
        exclude_if=lambda value: value is False,  # identities are those of before there was a choice
        description="the graph of the released code: each patch is among its own colour neighbours, so that one other "
        "fewer is and the degrees hold a diagonal, and the image is shrunk with antialiasing",
    )
    affinity_power: float = Field(
        1.0, gt=0, le=100, description="power of the similarity of two patches' features; large ones keep strong edges"
    )
    similarity: Literal["clamped", "rescaled"] = Field(
        "clamped",
        description="of two patches' features: their cosine, negatives as 0, or moved so that its least and largest "
        "value in the image are 0 and 1",
    )
    colour_weight: float = Field(10.0, ge=0, description="lambda, weight of the colour affinity; 0 leaves it out")
    colour_edges: Literal["sum", "union"] = Field(
        "sum",
        description="colour affinity of two patches: how many of the near and far neighbourhoods of both hold the "
        "other, 0 to 4, or 1 if any does",
    )
    colour_near: int = Field(20, ge=0, description="colour neighbours of a patch where place weighs near_weight")
    colour_far: int = Field(10, ge=0, description="colour neighbours of a patch where place weighs far_weight")
    near_weight: float = Field(2.0, ge=0, description="factor on x and y in [0, 1] beside RGB in [0, 1]")
    far_weight: float = Field(0.1, ge=0, description="the same for the second set of neighbours")

    eigenvectors: int = Field(
        14,
        ge=1,
        description="smallest eigenvectors of an image besides the constant one, clipped to its patches with an "
        "edge - 1",
    )
    solver: Literal["eigh", "arpack", "lobpcg"] = Field(
        "arpack", description="dense reference, Lanczos, or conjugate gradients; on CUDA only eigh is batched"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of affinities and eigenvectors")
    segments: int = Field(
        24, ge=2, description="segments an image, clipped to its patches; for cut: recursive the most of them"
    )
    segments_by: Literal["number", "eigengap", "silhouette"] = Field(
        "number",
        description="as many segments as segments says, or no more than that but as the largest eigengap says, or the "
        "largest silhouette of k-means of the eigenvectors",
    )
    segment_restarts: int = Field(
        1, ge=1, description="seedings tried for the segments of an image; cut: recursive draws none"
    )
    discretise: DiscretiseOption = "kmeans"
    descriptor: FeatureInput = Field(
        "last", description="features whose mean over a segment describes it: as the input of kmeans"
    )

    @property
    def antialiased_pixels(self) -> bool:
        """The released code shrinks images with antialiasing."""
        return self.published

    @model_validator(mode="before")
    @classmethod
    def _take_defaults_of_the_cut(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("tau") is not None and values.get("cut", "eigenvectors") in ("eigenvectors", "kway"):
            raise ValueError(f"tau = {values['tau']}: only cut: recursive looks at it")
        cuts = values.get("cut") in ("recursive", "kway") and not values.get("published")
        return {**_OF_CUTS, **values} if cuts else values

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_looked_at(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Identities of runs by eigenvectors are those of before there was a choice."""
        written: dict[str, Any] = write(self)
        fields = type(self).model_fields
        unused = [] if self.cut == "recursive" else ["tau"]
        if self.cut == "eigenvectors":
            named = ("cut", "affinity_power", "similarity")
            unused += [name for name in named if getattr(self, name) == fields[name].default]
        return {name: value for name, value in written.items() if name not in unused}

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        """What the released code has no choice of; lambda is one of its options, at 0 without colours at all."""
        if self.published:
            fields = type(self).model_fields
            fixed = (
                "level",
                "affinity_power",
                "similarity",
                "colour_edges",
                "colour_near",
                "colour_far",
                "near_weight",
                "far_weight",
                *PixelGraphParams.model_fields,
            )
            changed = [name for name in fixed if getattr(self, name) != fields[name].default]
            if changed:
                name = changed[0]
                raise ValueError(f"{name} = {getattr(self, name)}: with published: true it is {fields[name].default}")
            if self.colour_weight == 0:
                raise ValueError("colour_weight = 0 leaves out the colours, which are all that published: true changes")
        return self

    @model_validator(mode="after")
    def _vary_what_is_there(self) -> Self:
        if self.colour_weight == 0 and (varied := self.varied_pixels()):
            raise ValueError(f"{varied}: colour_weight = 0 leaves the colours out")
        return self

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        if self.segments_by == "eigengap" and self.eigenvectors < 2:
            raise ValueError(f"eigenvectors = {self.eigenvectors}: an eigengap needs 2 or more")
        if self.segments_by != "number" and self.cut == "recursive":
            raise ValueError(f"segments_by = {self.segments_by}: with cut: recursive tau says how many there are")
        return self

    @model_validator(mode="after")
    def _one_vector_a_segment(self) -> Self:
        if self.discretise != "kmeans" and self.cut != "eigenvectors":
            raise ValueError(f"discretise = {self.discretise}: it turns eigenvectors into segments; cut is {self.cut}")
        if self.discretise != "kmeans" and self.segments > self.eigenvectors + 1:
            most = f"at most eigenvectors + 1 = {self.eigenvectors + 1}, the constant vector included"
            raise ValueError(f"segments = {self.segments}: discretise: {self.discretise} makes {most}")
        return self

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, and no more clusters than segments."""
        found = super().misfits(images, patches)
        if "k" not in found and self.k > images * self.segments:
            expected = f"at most {images * self.segments}, {self.segments} segments in each of {images} training images"
            found["k"] = expected
        return found
