"""Runs side by side in one process: each with a thread of its own, of which one at a time works.

Runs of a cohort see the same batches. Whoever is furthest behind has the turn, and gives it up before each batch and
each evaluated image: so all of them look at a batch before any of them goes on, it is read once, and what depends on it
alone is computed once (``methods.shared``). A run does what it does alone, operation by operation, and ends with the
same bits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from spectral_bench.methods.shared import Product, Products

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from spectral_bench.bench.features import ViewFeatures, ViewItem
    from spectral_bench.bench.features.source import TrainingSource
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.datasets.interface import LabelLoader
    from spectral_bench.methods.interface import PatchBatch, PatchSample, Statistics

T = TypeVar("T")

Position = tuple[int, int, int]
"""How far a run is: 0 in its fit, 1 in its first evaluation and so on; passes over images so far; batch or image."""

_BEGIN: Position = (-1, 0, 0)

_HELD = 2  # batches, images and labels: those that the runs are at, and those before
_PASSES = 4  # whose items are held: an epoch's, of each batch size
_SAMPLE_BYTES = 2**28  # of patches drawn for a fit that are held for the next run


class Turns:
    """Whose turn it is, among threads of which one at a time works: that of the least position.

    Args:
        count: of members, told apart by their numbers, lower ones before higher ones of the same position.
        begun: told of a member whose turn begins, in its thread.
    """

    def __init__(self, count: int, begun: Callable[[int], None]) -> None:
        self._waiting: dict[int, Position] = dict.fromkeys(range(count), _BEGIN)
        self._wakes = [threading.Semaphore(0) for _ in range(count)]
        self._begun = begun
        self._pass_on()

    def begin(self, member: int) -> None:
        """Wait for the first turn."""
        self._wakes[member].acquire()
        self._begun(member)

    def wait(self, member: int, position: Position) -> None:
        """Give up the turn and wait for the next; a member that is the furthest behind just goes on."""
        self._waiting[member] = position
        following = self._pass_on()
        self._wakes[member].acquire()
        # Told only when the turn has changed hands: each time, the log would be switched for nothing.
        if following != member:
            self._begun(member)

    def leave(self) -> None:
        """Give up the turn for good."""
        self._pass_on()

    def _pass_on(self) -> int | None:
        # No lock: only who has the turn comes here. Ties by number, so that the order of turns, and with it that of all
        # output, is the same each time.
        following = min(self._waiting, key=lambda member: (self._waiting[member], member), default=None)
        if following is not None:
            del self._waiting[following]
            self._wakes[following].release()
        return following


class Cohort:
    """What the runs of one process share.

    Args:
        run_ids: of the runs, in the order of their turns.
        should_stop: whether the process has been asked to stop.
        begun: told of the number of a run whose turn begins.
    """

    def __init__(
        self, run_ids: Sequence[str], *, should_stop: Callable[[], bool], begun: Callable[[int], None]
    ) -> None:
        self.run_ids = tuple(run_ids)
        self.should_stop = should_stop
        self.members = [Member(self, number) for number in range(len(run_ids))]
        self.turns = Turns(len(run_ids), self._begin)
        self._told, self._at_work = begun, 0
        self._opened: dict[Hashable, Any] = {}
        self.products = self.fresh()

    def _begin(self, member: int) -> None:
        self._at_work = member
        self._told(member)

    def fresh(self) -> Products:
        """Products of something that has none yet."""
        return Products(self._used, _synchronise)

    def opened(self, key: Hashable, make: Callable[[], T]) -> tuple[T, bool]:
        """What all members read from, made when it is first asked for, and whether it was made just now."""
        new = key not in self._opened
        if new:
            self._opened[key] = make()
        return self._opened[key], new

    def _used(self, product: Product, made: bool) -> None:
        meter = self.members[self._at_work].meter
        if meter is not None:
            meter.used(product, made)


class Member:
    """One run of a cohort: where its stages ask for what the others may have read or computed already.

    Attributes:
        meter: the one that the run is charged by now; None before its first stage.
    """

    def __init__(self, cohort: Cohort, number: int) -> None:
        self.meter: Meter | None = None
        self._cohort, self._number = cohort, number
        self._views = self._passes = 0

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs of the cohort."""
        return self._cohort.run_ids

    def should_stop(self) -> bool:
        """Whether all runs have been asked to stop: what one reads for all of them ends for nothing less."""
        return self._cohort.should_stop()

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` computes, once for all runs that give this key; none of them may change it."""
        return self._cohort.products.recall(key, make)

    def alike(self, batch: PatchBatch) -> PatchBatch:
        """A batch that several runs look at, with room for what they compute of it."""
        return replace(batch, products=self._cohort.fresh())

    def source(self, key: Hashable, make: Callable[[], TrainingSource]) -> Source:
        """The training patches of the cohort, opened unless they are."""
        passes, new = self._cohort.opened(("source", key), lambda: _Passes(make(), self._cohort))
        return Source(self, passes, reused=passes.inner.reused or not new)

    def view(self, key: Hashable, make: Callable[[], ViewFeatures], *, in_turns: bool = True) -> View:
        """The features of a view, opened unless they are. The run's evaluations come in the order of these calls.

        Args:
            key: names the view, and how its images are seen.
            make: opens it.
            in_turns: give up the turn before each image, not before the first alone.
        """
        self._views += 1
        self._passes = 0
        held, new = self._cohort.opened(("view", key), lambda: _HeldView(make(), self._cohort))
        return View(self, held, reused=held.inner.reused or not new, in_turns=in_turns)

    def labels(self, key: Hashable, loader: LabelLoader) -> Labels:
        """The labels of a view, each read once for all runs."""
        return self._cohort.opened(("labels", key), lambda: Labels(loader, self._cohort))[0]

    def next_pass(self, least: int = 0) -> int:
        """The number of a pass over the images that begins now: higher than all before, and no less than ``least``."""
        self._passes = max(self._passes + 1, least)
        return self._passes

    def wait(self, number: int, index: int) -> None:
        """Let those that are further behind go first."""
        with nullcontext() if self.meter is None else self.meter.suspended():
            self._cohort.turns.wait(self._number, (self._views, number, index))

    def begin(self) -> None:
        """Wait for the first turn."""
        self._cohort.turns.begin(self._number)

    def leave(self) -> None:
        """Let the others go on without this run."""
        self.meter = None
        self._cohort.turns.leave()


class _Held(Generic[T]):
    """Items in the order of a pass, read once, of which the last few are held with what was computed of them.

    Args:
        start: the items from an index on.
        attached: an item with room for products.
        tensors: of an item: one that a run has changed in place is read again for the others.
    """

    def __init__(
        self,
        cohort: Cohort,
        start: Callable[[int], Iterator[T]],
        attached: Callable[[T, Products], T],
        tensors: Callable[[T], Sequence[Tensor]],
    ) -> None:
        self._cohort, self._start, self._attached, self._tensors = cohort, start, attached, tensors
        self._held: OrderedDict[int, tuple[Products, list[int]]] = OrderedDict()
        self._items: Iterator[T] | None = None
        self._next = -1

    def at(self, index: int) -> T:
        """The item of an index; each run that asks is charged with reading it."""
        products, versions = self._held.get(index) or (self._cohort.fresh(), [])
        item = products.recall("item", lambda: self._attached(self._read(index), products))
        # torch counts changes in place: a method that makes some must not pass them on to the next run.
        now = [tensor._version for tensor in self._tensors(item)]
        if versions and now != versions:
            self._forget(index)
            return self.at(index)
        if not versions:
            self._held[index] = products, now
        while len(self._held) > _HELD:
            self._forget(next(iter(self._held)))
        return item

    def _read(self, index: int) -> T:
        # One step ahead is the rule; a run that was resumed begins in the middle.
        if self._items is None or index != self._next:
            self._items = self._start(index)
        items, self._items = self._items, None  # one that raises is not gone on with
        item = next(items)
        self._items, self._next = items, index + 1
        return item

    def clear(self) -> None:
        for index in [*self._held]:
            self._forget(index)

    def _forget(self, index: int) -> None:
        self._held.pop(index)[0].clear()  # an item holds its products and they hold it


class _Passes:
    def __init__(self, inner: TrainingSource, cohort: Cohort) -> None:
        self.inner, self._cohort, self._number = inner, cohort, 0
        self._held: OrderedDict[Hashable, _Held[PatchBatch]] = OrderedDict()

    def batch(self, key: Hashable, start: Callable[[int], Iterator[PatchBatch]], number: int, index: int) -> PatchBatch:
        """Batch ``index`` of a pass. Those of lower numbers are over for all runs, and nothing of them is held."""
        while number != self._number and self._held:
            self._held.popitem()[1].clear()
        self._number = number
        if key not in self._held:
            self._held[key] = _Held(self._cohort, start, _with_products, _tensors)
        self._held.move_to_end(key)
        while len(self._held) > _PASSES:
            self._held.popitem(last=False)[1].clear()
        return self._held[key].at(index)

    def sample(self, n: int) -> PatchSample:
        product = ("sample", id(self))
        _, sample = self._cohort.products.recall(
            product, lambda: (n, self.inner.subsample(n)), lambda held: held[0] == n
        )
        if sum(part.nbytes for part in (*sample.features, sample.pixels)) > _SAMPLE_BYTES:
            self._cohort.products.forget(product)
        return sample

    def statistics(self) -> Statistics:
        return self._cohort.products.recall(("statistics", id(self)), self.inner.statistics)


class Source:
    """The training patches as one run of a cohort sees them: a ``methods.interface.PatchSource``."""

    def __init__(self, member: Member, passes: _Passes, *, reused: bool) -> None:
        self._member, self._passes, self._inner = member, passes, passes.inner
        self.image_ids, self.channels, self.grid = self._inner.image_ids, self._inner.channels, self._inner.grid
        self.n_patches = self._inner.n_patches
        self.reused = reused

    def __len__(self) -> int:
        """The number of images."""
        return len(self._inner)

    def n_batches(self, size: int) -> int:
        """Full batches of ``size`` images an epoch."""
        return self._inner.n_batches(size)

    def batches(self, epoch: int, size: int, start: int = 0) -> Iterator[PatchBatch]:
        """The shuffled batches of an epoch from batch ``start`` on, as many as the source's own."""
        number = self._member.next_pass(epoch + 1)  # that of a run that was resumed, too
        for index in range(start, self.n_batches(size)):
            self._member.wait(number, index)
            start_at = partial(self._inner.batches, epoch, size)
            yield self._passes.batch((epoch, size), start_at, number, index)

    def images(self) -> Iterator[PatchBatch]:
        """One ordered pass, one image a batch."""
        number = self._member.next_pass()
        for index in range(len(self)):
            self._member.wait(number, index)
            yield self._passes.batch("images", lambda first: _from(self._inner.images(), first), number, index)

    def subsample(self, n: int) -> PatchSample:
        """``n`` patches drawn without replacement: the same ones for every run of a cohort."""
        return self._passes.sample(n)

    def statistics(self) -> Statistics:
        """Mean and standard deviation a channel over one pass."""
        return self._passes.statistics()


class _HeldView:
    def __init__(self, inner: ViewFeatures, cohort: Cohort) -> None:
        self.inner = inner
        self.held: _Held[ViewItem] = _Held(
            cohort,
            lambda first: _from(iter(inner), first) if inner.computed else map(inner.at, range(first, len(inner))),
            lambda item, products: replace(item, patches=_with_products(item.patches, products)),
            lambda item: _tensors(item.patches),
        )


class View:
    """The features of a view as one run of a cohort sees them: see ``bench.features.ViewFeatures``."""

    def __init__(self, member: Member, held: _HeldView, *, reused: bool, in_turns: bool) -> None:
        self._member, self._held, self._in_turns = member, held, in_turns
        self.image_ids, self.reused = held.inner.image_ids, reused

    def __len__(self) -> int:
        """The number of images."""
        return len(self._held.inner)

    def __iter__(self) -> Iterator[ViewItem]:
        """Each image with its features."""
        number = self._member.next_pass()
        for index in range(len(self)):
            if self._in_turns or index == 0:
                self._member.wait(number, index)
            yield self._held.held.at(index)

    def at(self, index: int) -> ViewItem:
        """Image number ``index`` alone."""
        return self._held.inner.at(index)


class Labels:
    """Labels of which the last few are held: the runs of a cohort look at them one after the other."""

    def __init__(self, loader: LabelLoader, cohort: Cohort) -> None:
        self._loader, self._cohort, self.ids = loader, cohort, loader.ids
        self._held: OrderedDict[str, Products] = OrderedDict()

    def label(self, image_id: str) -> NDArray[np.uint16]:
        """(H, W) raw label ids, read-only."""
        products = self._held.setdefault(image_id, self._cohort.fresh())
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return products.recall("label", lambda: self._read(image_id))

    def _read(self, image_id: str) -> NDArray[np.uint16]:
        label = self._loader.label(image_id)
        label.flags.writeable = False  # the runs that follow look at this very array
        return label


def _synchronise() -> None:
    # Not before CUDA is in use: to ask would initialise it, and take memory on a device that nobody wants.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def _with_products(batch: PatchBatch, products: Products) -> PatchBatch:
    return replace(batch, products=products)


def _tensors(batch: PatchBatch) -> list[Tensor]:
    held = [*batch.features, batch.pixels, batch.antialiased, batch.fine]
    # Tensors made in inference mode keep no version; nor can they be changed in place outside of it.
    return [tensor for tensor in held if tensor is not None and not tensor.is_inference()]


def _from(items: Iterator[T], first: int) -> Iterator[T]:
    for _ in range(first):
        next(items)
    return items
