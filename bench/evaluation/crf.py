"""DenseCRF over the scores of images, by ``pydensecrf2``: of one image, and of several at a time in processes.

Mean-field inference in a fully connected CRF with Gaussian edge potentials (Kraehenbuehl and Koltun, NIPS 2011). As in
the code of Deng and Luo (ICCV 2023), the energies are those of all K clusters at the label's pixels: minus the
logarithm of the softmax of the scores, cut at 1e-5. This is the only place where a softmax is taken of scores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.counting import ScoredImage, view_image
from spectral_bench.bench.evaluation.guided import Guide, at_once, guided_bytes
from spectral_bench.bench.evaluation.layout import WindowLayout, score_bands
from spectral_bench.bench.measure.meter import resident_peak
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.methods.memory import free_bytes
from spectral_bench.results.specification import Crf, Guided

COPIES = 12
"""Matrices of K x pixels float32 that inference holds at its peak (energies, beliefs, messages, the lattice's values).
8 to 10 were measured on photographs, 18 on pure noise.
"""

_MOST_VALUES = 2**31 // 2
"""The library counts the values of its lattice, up to 6 x pixels x K / 4 of them, in 32 bits."""

_POLL_S = 0.5  # how soon a stop is noticed while an image is waited for

_SHARE = 0.8  # of the free memory

PROCESS_BYTES = 400 * 10**6
"""What a process of the pool takes before its first image: 300 MB of its own and as much of files that all share were
measured (torch 2.14, CPU build).
"""


def crf_bytes(n_clusters: int, target: tuple[int, int]) -> int:
    """Bytes that a CRF over ``n_clusters`` at (height, width) pixels takes at its peak, about."""
    return COPIES * 4 * n_clusters * target[0] * target[1]


def require_countable(n_clusters: int, target: tuple[int, int]) -> None:
    """Refuse what is too large for the counters of the library, which would overflow in silence.

    Raises:
        OverflowError: as said.
    """
    if n_clusters * target[0] * target[1] > _MOST_VALUES:
        raise OverflowError(
            f"a CRF over {n_clusters} clusters of {target[0]} x {target[1]} pixels is more than pydensecrf2 can count"
        )


def energies(scores: Tensor, layout: WindowLayout, guide: Guide | None = None) -> NDArray[np.float32]:
    """(K, H * W) float32 unary energies: minus the logarithm of the softmax of the resampled scores, cut at 1e-5.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows, on the CPU.
        layout: where windows and label lie.
        guide: what up-samples the scores along the image; None: they are up-sampled bilinearly.

    Raises:
        FloatingPointError: a score is nan or infinite.
    """
    from pydensecrf.utils import unary_from_softmax

    out = np.empty((scores.shape[1], *layout.target), np.float32)
    for rows, band in score_bands(scores, layout) if guide is None else _guided_bands(scores, guide):
        shares = torch.softmax(band, dim=-1).permute(2, 0, 1).numpy()
        out[:, rows] = unary_from_softmax(shares).reshape(shares.shape)
    return out.reshape(len(out), -1)


def _guided_bands(scores: Tensor, guide: Guide) -> Iterator[tuple[slice, Tensor]]:
    """As ``score_bands``. Guided up-sampling needs all pixels at once, and so goes by parts of the clusters."""
    step = at_once(guide.layout.target[0] * guide.layout.target[1])
    scores = guide.of_patches(scores)
    whole = torch.cat([guide.scores(scores[:, first : first + step]) for first in range(0, scores.shape[1], step)], -1)
    for row in range(len(whole)):
        yield slice(row, row + 1), whole[row : row + 1]


def refine(
    scores: Tensor, layout: WindowLayout, image: NDArray[np.uint8], crf: Crf, guided: Guided | None = None
) -> NDArray[np.int64]:
    """The cluster of each label pixel after a DenseCRF.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows, on the CPU.
        layout: where windows and label lie.
        image: (H, W, 3) uint8 RGB at the label's pixels.
        crf: iterations, sizes and weights. ``black_image`` puts zeros in the place of ``image``: the released code cast
            values of 0 to 1 to integers.
        guided: how scores are up-sampled; None: bilinearly.

    Returns:
        (H, W) int64; ties go to the lowest cluster index.

    Raises:
        FloatingPointError: a score is nan or infinite.
        OverflowError: the matrix of beliefs is more than the library can count.
    """
    from pydensecrf.densecrf import DenseCRF2D

    height, width = layout.target
    require_countable(scores.shape[1], layout.target)
    field = DenseCRF2D(width, height, scores.shape[1])
    guide = None if guided is None else Guide.of(layout, image, guided, scores.device)
    field.setUnaryEnergy(energies(scores, layout, guide))  # copied there, and freed here at once
    seen = np.zeros_like(image) if crf.black_image else np.array(image, order="C")  # the library wants to write
    field.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_weight)
    field.addPairwiseBilateral(sxy=crf.bilateral_sxy, srgb=crf.bilateral_srgb, rgbim=seen, compat=crf.bilateral_weight)
    beliefs = np.asarray(field.inference(crf.iterations))
    return np.asarray(beliefs.argmax(axis=0).reshape(height, width), dtype=np.int64)


@dataclass(frozen=True)
class _Refined:
    """What comes back of an image: (H, W) clusters, and the most memory that its process has ever held, in bytes."""

    clusters: NDArray[np.int64]
    process: int
    peak: int


class CrfPool:
    """A DenseCRF over each image of a stream; the number of processes does not change what comes out.

    Each process computes with one thread. Images are begun ahead of the one that is asked for, as many as there are
    processes and as fit together into four fifths of the memory that was free at the start; of that, processes take
    half at most for themselves.

    Args:
        crf: iterations, sizes and weights.
        images: where the images themselves come from.
        processes: images at a time; 0 counts as 1.
        should_stop: asked while an image is waited for.
        stage: measures the waiting, and the end of the processes: only then does the kernel count their CPU time as
            this process's.
        helpers: told the bytes that the processes hold, each at its own peak, whenever that is known anew.
        guided: how scores are up-sampled; None: bilinearly.
        memory: bytes that all processes may take together; None: four fifths of what is free.
    """

    def __init__(
        self,
        crf: Crf,
        images: ImageLoader,
        *,
        processes: int,
        should_stop: Callable[[], bool],
        stage: Callable[[str], AbstractContextManager[None]],
        helpers: Callable[[int], None] = lambda n_bytes: None,
        guided: Guided | None = None,
        memory: int | None = None,
    ) -> None:
        self._crf, self._images, self._guided = crf, images, guided
        self._should_stop, self._stage, self._helpers = should_stop, stage, helpers
        self._processes, self._memory = max(1, processes), memory or 0
        if memory is None:
            room = int(free_bytes(torch.device("cpu")) * _SHARE)
            self._processes = max(1, min(self._processes, room // (2 * PROCESS_BYTES)))
            self._memory = max(0, room - self._processes * PROCESS_BYTES)
        self._begun: dict[str, Future[_Refined]] = {}
        self._peaks: dict[int, int] = {}  # process id -> bytes

    def __enter__(self) -> Self:
        self._others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads in mid-flight
        self._pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_prepare)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stage("crf"):
            self._end(failed=error is not None)
        self._helpers(0)

    def _end(self, failed: bool) -> None:
        if failed:  # nobody waits for what the processes are at
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        if sys.version_info < (3, 11, 5) and (failed or self._pool._broken):
            # Without processes the thread that feeds them waits for ever on a pipe, and a shutdown waits for it
            # (CPython issue 94777): without a reader its write fails.
            self._pool._call_queue._reader.close()  # type: ignore[attr-defined]
        self._pool.shutdown(cancel_futures=True)

    def ahead(self, images: Iterable[ScoredImage]) -> Iterator[ScoredImage]:
        """The images in their order, the CRFs of the following ones begun before each is handed over.

        Raises:
            MemoryError: one image alone needs more memory than there is.
            RunInterrupted: the run was asked to stop.
        """
        waiting: deque[ScoredImage] = deque()
        for image in images:
            while waiting and self._full(waiting, image):
                yield waiting.popleft()
            self._begin(image)
            waiting.append(image)
        while waiting:
            yield waiting.popleft()

    def assign(self, image: ScoredImage) -> Tensor:
        """(H, W) int64 clusters of an image that ``ahead`` has handed over.

        Raises:
            RunInterrupted: the run was asked to stop.
            FloatingPointError: a score is nan or infinite.
            MemoryError: the process was ended from outside, most likely for the memory it took.
        """
        future = self._begun.pop(image.image_id)
        with self._stage("crf"):
            while not wait([future], timeout=_POLL_S).done:
                if self._should_stop():
                    raise RunInterrupted(f"stopped during the CRF of image {image.image_id}")
            try:
                refined = future.result()
            except BrokenProcessPool as error:
                raise MemoryError(f"a process was killed during the CRF; {self._needs(image)}") from error
            self._peaks[refined.process] = max(refined.peak, self._peaks.get(refined.process, 0))
            self._helpers(sum(self._peaks.values()))
            return torch.from_numpy(refined.clusters)

    def _full(self, waiting: Iterable[ScoredImage], image: ScoredImage) -> bool:
        at_work = [other for other in waiting if not self._begun[other.image_id].done()]
        taken = sum(self._bytes(other) for other in at_work)
        return len(at_work) >= 2 * self._processes or taken + self._bytes(image) > self._memory

    def _begin(self, image: ScoredImage) -> None:
        if self._should_stop():
            raise RunInterrupted(f"stopped before the CRF of image {image.image_id}")
        require_countable(image.scores.shape[1], image.layout.target)
        if self._bytes(image) > self._memory:
            raise MemoryError(f"{self._needs(image)}, and {self._memory / 1e9:.1f} GB are there to be used")
        picture = view_image(self._images, image.image_id, image.layout)
        task = (image.scores.cpu().numpy(), image.layout, picture, self._crf, self._guided)
        try:
            self._begun[image.image_id] = self._pool.submit(_refine, *task)
        except BrokenProcessPool as error:
            raise MemoryError(f"a process was killed during the CRF before image {image.image_id}") from error

    def _bytes(self, image: ScoredImage) -> int:
        """Of the CRF; scores that are up-sampled along the image are there before it, twice as they are joined."""
        count, size = image.scores.shape[1], image.layout.target
        if self._guided is None:
            return crf_bytes(count, size)
        return max(crf_bytes(count, size), guided_bytes(count, size, self._guided) + 8 * count * size[0] * size[1])

    def _needs(self, image: ScoredImage) -> str:
        height, width = image.layout.target
        return (
            f"image {image.image_id}: a CRF over {image.scores.shape[1]} clusters of {height} x {width} pixels takes "
            f"about {self._bytes(image) / 1e9:.1f} GB"
        )


def _refine(
    scores: NDArray[np.float32], layout: WindowLayout, image: NDArray[np.uint8], crf: Crf, guided: Guided | None
) -> _Refined:
    clusters = refine(torch.from_numpy(scores), layout, image, crf, guided)
    return _Refined(clusters, os.getpid(), resident_peak())


def _prepare() -> None:
    """Of a new process: one thread, so that sums have one order; stopping is the parent's; no life without a parent."""
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
