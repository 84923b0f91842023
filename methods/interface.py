"""What a method is given and what it must offer. Nothing here can carry a label except ``LabelSource``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from spectral_bench.common.geometry import Crop
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.params import Params

if TYPE_CHECKING:
    from spectral_bench.methods.graphs.kernel import Kernel
    from spectral_bench.methods.shared import Products

T = TypeVar("T")


@dataclass(frozen=True)
class PatchBatch:
    """Patch features of B images or crops that share one grid of h x w patches.

    Attributes:
        features: one (B, h, w, C_l) float32 tensor a level, from low to high.
        pixels: (B, h, w, 3) float32, the image bilinearly down-sampled to the patch grid, RGB in [0, 1].
        image_ids: B names.
        crops: B crops: which part of its image each entry shows.
        antialiased: as ``pixels``, but shrunk with antialiasing and in 8 bits, as image libraries do; None unless the
            method's ``Params.antialiased_pixels`` asks for them.
        products: what runs side by side have computed of this very batch; None where a run is alone.
        fine: (B, h, w, g, g, 3) float32, g x g colour samples of each patch, as ``pixels`` from a grid g times as fine;
            None unless the method's ``Params.colour_samples`` asks for them.
    """

    features: tuple[Tensor, ...]
    pixels: Tensor
    image_ids: tuple[str, ...]
    crops: tuple[Crop, ...]
    antialiased: Tensor | None = None
    products: Products | None = field(default=None, repr=False, compare=False)
    fine: Tensor | None = None

    def __len__(self) -> int:
        """The number B of images."""
        return int(self.pixels.shape[0])

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across, (h, w)."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def to(self, device: torch.device | str) -> PatchBatch:
        """The same batch on another device."""

        def moved() -> PatchBatch:
            return self.each(lambda tensor: tensor.to(device), products=self.products)

        return self.shared(("on", str(device)), moved)

    def part(self, entries: slice) -> PatchBatch:
        """Some of its images as a batch of their own."""
        return self.each(lambda tensor: tensor[entries], image_ids=self.image_ids[entries], crops=self.crops[entries])

    def each(self, function: Callable[[Tensor], Tensor], **changes: Any) -> PatchBatch:
        """The batch with ``function`` of each of its tensors, whose first axes are B, h and w.

        Args:
            function: of one tensor.
            changes: of further attributes; ``products``, which are of this very batch, are left out otherwise.
        """

        def of(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else function(tensor)

        features, pixels = tuple(function(level) for level in self.features), function(self.pixels)
        colours = {"antialiased": of(self.antialiased), "fine": of(self.fine)}
        return replace(self, features=features, pixels=pixels, **{"products": None, **colours, **changes})

    def shared(self, key: Hashable, make: Callable[[], T], serves: Callable[[T], bool] = lambda value: True) -> T:
        """What ``make`` computes of this batch; runs side by side that give the same key compute it once.

        Args:
            key: names all that the result depends on besides the batch.
            make: computes it. The result is for several runs: none may change it.
            serves: whether a result that is there will do.
        """
        return make() if self.products is None else self.products.recall(key, make, serves)


@dataclass(frozen=True)
class PatchSample:
    """n patches drawn uniformly from a source.

    Attributes:
        features: one (n, C_l) float32 tensor a level, from low to high.
        pixels: (n, 3) float32 RGB in [0, 1].
        image_index: (n,) int64, the position of each patch's image in ``PatchSource.image_ids``.
        position: (n, 2) int64, row and column of the patch in its grid.
    """

    features: tuple[Tensor, ...]
    pixels: Tensor
    image_index: Tensor
    position: Tensor


@dataclass(frozen=True)
class Statistics:
    """Per-channel mean and standard deviation of each level over all training patches, (C_l,) float32 tensors."""

    mean: tuple[Tensor, ...]
    std: tuple[Tensor, ...]

    @cached_property
    def digest(self) -> str:
        """Of all numbers: what is told apart by it is the same wherever its tensors lie."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (*self.mean, *self.std):
            digest.update(part.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()


class PatchSource(Protocol):
    """The training patches: re-iterable, seeded, of known length, on the CPU."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images, in their fixed order."""
        ...

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels C_l of each level, from low to high."""
        ...

    @property
    def n_patches(self) -> int:
        """Patches of one pass over the images."""
        ...

    def __len__(self) -> int:
        """The number of images."""
        ...

    def n_batches(self, size: int) -> int:
        """Full batches of ``size`` images an epoch: an incomplete last batch is dropped."""
        ...

    def batches(self, epoch: int, size: int, start: int = 0) -> Iterator[PatchBatch]:
        """The shuffled batches of an epoch, from batch ``start`` on; the same (seed, epoch, size) gives the same ones.

        A resumed fit names the batch where it stopped, so that those before it need not be computed again.
        """
        ...

    def subsample(self, n: int) -> PatchSample:
        """``n`` patches drawn uniformly without replacement (all of them where there are no more than ``n``)."""
        ...

    def images(self) -> Iterator[PatchBatch]:
        """One ordered pass over whole images, one image a batch."""
        ...

    def statistics(self) -> Statistics:
        """Mean and standard deviation a channel over all training patches."""
        ...


class LabelSource(Protocol):
    """Labels at patch resolution for methods that declare ``uses_labels``; no other method is handed one.

    An image is looked at as its features were: ``crop`` and ``grid`` are those of its ``PatchBatch``.
    """

    @property
    def n_classes(self) -> int:
        """The number C of classes: those of the data set's default class set."""
        ...

    def labels(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> Tensor:
        """(h, w) int64 class indices on the CPU: what most of a patch's pixels are, -1 where that is void."""
        ...

    def shares(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> Tensor:
        """(C, h, w) float32 on the CPU: the share of a patch's pixels that each class has; void takes the rest."""
        ...


class CheckpointFolder(Protocol):
    """Where a fit saves its progress. Writing is atomic; the last saved state wins."""

    def due(self) -> bool:
        """Whether enough time has passed since the last save."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Keep ``state`` (tensors, numbers, strings, lists and dictionaries of them)."""
        ...

    def load(self) -> dict[str, Any] | None:
        """The last saved state, on the CPU, or None at a fresh start."""
        ...


@dataclass(frozen=True)
class FitContext:
    """What a fit may know and use besides its patches.

    Attributes:
        seeds: independent random streams of the run's seed.
        device: where to compute.
        precision: ``float32`` or ``bfloat16`` (autocast of networks; graphs and losses stay in float32).
        progress: called with (steps done, steps in all).
        log: called with (step, {name: value}) to record a training curve.
        checkpoint: where to save progress.
        should_stop: true once the run has been asked to stop: save, then raise ``common.errors.RunInterrupted``.
        stage: context manager that charges its block's cost to a named stage, such as ``graph``.
        base: the stored fit that ``fit_from`` asked for, else None.
        labels: a label source for methods with ``uses_labels``, else None.
    """

    seeds: SeedStreams
    device: torch.device
    precision: str
    progress: Callable[[int, int], None]
    log: Callable[[int, dict[str, float]], None]
    checkpoint: CheckpointFolder
    should_stop: Callable[[], bool]
    stage: Callable[[str], AbstractContextManager[None]]
    base: Segmenter | None = None
    labels: LabelSource | None = None


@runtime_checkable
class Segmenter(Protocol):
    """Groups dense patch features into K clusters.

    A class that implements it is constructed as ``Method(params)`` with an instance of its ``Params`` and names these
    class attributes: ``Params`` (its parameter model), ``uses_labels``, and ``fit_from`` (the name of the method whose
    stored fit it starts from, or None; it then offers ``base_params(params) -> dict`` too). Two more may be left out:
    ``classes_as_clusters`` (cluster j is class j, so K is the number of classes) and ``labels_at_prediction`` (it is a
    ``LabelReader``).
    """

    Params: ClassVar[type[Params]]
    uses_labels: ClassVar[bool] = False
    fit_from: ClassVar[str | None] = None
    n_clusters: int

    def __init__(self, params: Any) -> None: ...

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Learn from the patches of the training images."""
        ...

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) float32 scores on the batch's device; the argmax over K is the assignment."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """All that was learnt, as tensors."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave; the instance was built with the same parameters."""
        ...


class LabelReader(Protocol):
    """What a ceiling offers that looks at the labels of the very images that are evaluated.

    Its class declares ``labels_at_prediction = True``, and ``uses_labels = True`` with it. Only such a class is asked
    by ``predict_labelled``; every other method is asked by ``predict``, which has no labels to give.
    """

    def predict_labelled(self, batch: PatchBatch, labels: LabelSource) -> Tensor:
        """(B, K, h, w) float32 scores on the batch's device, out of the labels of the batch's own images."""
        ...


@runtime_checkable
class Spectral(Protocol):
    """What a method offers besides ``Segmenter`` if it has eigenfunctions that can be looked at and checked.

    The harness checks the functions of such a method on held-out images (``methods.spectral_health``). More attributes
    are read where they are there:

    * ``per_image`` (True: each image is decomposed by itself, so that each is a graph of its own),
    * ``health_limits`` (name of a figure -> the most that a converged fit may have of it),
    * ``kernel_settings`` (all that ``kernel`` depends on besides the batch: numbers, texts, None, and tuples, lists or
      dictionaries of them; fits of one class with the same settings find the kernel of a graph once),
    * ``predict_with_functions`` (of a batch: what ``predict`` and what ``eigenfunctions`` give, at the cost of one; of
      an image the same whatever else is in the batch).

    A class that overrides ``kernel`` gives its own ``kernel_settings``, too, and one that overrides ``predict`` or
    ``eigenfunctions`` its own ``predict_with_functions``: those of its base are not read.
    """

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        """(B, n, h, w) float32 values of the n functions on the batch's device, in the method's own order.

        A method that decomposes each image by itself returns each image's own eigenvectors.
        """
        ...

    def kernel(self, batch: PatchBatch) -> Kernel:
        """The kernel over the B h w patches of the batch, image by image and row by row, that the functions belong to.

        The functions approximate its principal eigenvectors (those of the largest eigenvalues). A method that
        decomposes each image by itself accepts one image.
        """
        ...


def offers(method: object, name: str, of: tuple[str, ...]) -> bool:
    """Whether a method has an attribute that speaks of its own ``of``, and not of those of a base that it overrides."""
    if name in getattr(method, "__dict__", {}):
        return True
    kinds = type(method).__mro__

    def place(attribute: str) -> int:
        return next((index for index, kind in enumerate(kinds) if attribute in vars(kind)), len(kinds))

    return place(name) < len(kinds) and all(place(name) <= place(other) for other in of)
