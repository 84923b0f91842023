"""CRFs in processes: the same in any number of them, in order, within the memory, and stopped when asked."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spectral_bench.bench.evaluation import crf as crf_pool
from spectral_bench.bench.evaluation.counting import ScoredImage, count
from spectral_bench.bench.evaluation.crf import CrfPool, crf_bytes, refine
from spectral_bench.bench.evaluation.layout import WindowLayout
from spectral_bench.bench.measure.meter import Meter
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.common.geometry import Crop
from spectral_bench.results.specification import Crf, Guided

pytest.importorskip("pydensecrf.densecrf")

LAYOUT = WindowLayout((Crop.whole(16, 20),), (4, 5), (16, 20), Crop.whole(16, 20), (16, 20))
NEED = crf_bytes(4, (16, 20))


class Pictures:
    """Random images and labels."""

    ids = tuple("abcdef")

    def __init__(self, height: int = 16, width: int = 20) -> None:
        self.size = height, width

    def image(self, image_id: str) -> NDArray[np.uint8]:
        return np.random.default_rng(ord(image_id)).integers(0, 256, (*self.size, 3), dtype=np.uint8)

    def label(self, image_id: str) -> NDArray[np.uint16]:
        return np.random.default_rng(ord(image_id)).integers(0, 3, self.size).astype(np.uint16)

    def digest(self) -> str:
        return ""


def scored() -> list[ScoredImage]:
    generator = torch.Generator().manual_seed(0)
    return [
        ScoredImage(name, (16, 20), torch.randn(1, 4, 4, 5, generator=generator) * 3, LAYOUT) for name in Pictures.ids
    ]


class Stages:
    """Counts how often each stage was entered."""

    def __init__(self) -> None:
        self.entered: list[str] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.entered.append(name)
        yield


def pool(processes: int, images: Pictures | None = None, **options: object) -> CrfPool:
    settings = {"should_stop": lambda: False, "stage": Stages(), **options}
    return CrfPool(Crf(), images or Pictures(), processes=processes, **settings)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("crf_server")
@pytest.mark.parametrize(
    ("processes", "memory", "guided"),
    [(0, None, None), (1, None, Guided(iterations=2)), (3, None, None), (3, NEED, None)],
)
def test_the_number_of_processes_and_the_memory_change_nothing(
    processes: int, memory: int | None, guided: Guided | None
) -> None:
    expected = [refine(image.scores, LAYOUT, Pictures().image(image.image_id), Crf(), guided) for image in scored()]
    stages = Stages()
    with pool(processes, memory=memory, stage=stages, guided=guided) as crf:
        found = [(image.image_id, crf.assign(image).numpy()) for image in crf.ahead(scored())]
    assert [name for name, _ in found] == list(Pictures.ids)
    for (_, clusters), wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(clusters, wanted)
    assert stages.entered == ["crf"] * 7  # the last for the end of the processes


@pytest.mark.slow
@pytest.mark.usefixtures("crf_server")
def test_counting_through_the_pool_and_what_goes_wrong_in_it() -> None:
    images = scored()
    with pool(1) as crf:
        contingency = count(crf.ahead(images), Pictures(), n_clusters=4, n_labels=3, assign=crf.assign)
        assert contingency.image_ids == Pictures.ids
        assert contingency.n_pixels == 6 * 16 * 20
        images[0].scores[0, 0, 0, 0] = torch.inf
        with pytest.raises(FloatingPointError, match="image a: patch scores hold nan or infinite values"):
            count(crf.ahead(images[:1]), Pictures(), n_clusters=4, n_labels=3, assign=crf.assign)


@pytest.mark.slow
def test_what_the_processes_cost_is_the_cost_of_the_stage() -> None:
    """Their CPU time is known when they have ended, and their memory to themselves only."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    meter = Meter()
    with (
        meter.stage("evaluate"),
        pool(2, stage=meter.stage, helpers=meter.helpers) as crf,
    ):
        for image in crf.ahead(scored()):
            crf.assign(image)
    with meter.stage("next"):
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    costs = {cost.stage: cost for cost in meter.costs()}
    assert spent > 0.1  # each process imports torch
    assert costs["crf"].cpu_s >= spent - 1e-6
    assert costs["evaluate"].cpu_s + costs["next"].cpu_s < spent
    assert costs["crf"].peak_rss > costs["next"].peak_rss + 100 * 2**20


@pytest.mark.slow
def test_a_process_tells_its_own_peak_and_not_that_of_its_parent() -> None:
    told: list[int] = []
    held = bytearray(b"x") * (1500 * 2**20)
    with pool(1, helpers=told.append) as crf:
        (image,) = crf.ahead(scored()[:1])
        crf.assign(image)
    assert len(held) > 50 * 2**20
    assert 50 * 2**20 < told[0] < len(held)
    assert told[-1] == 0


@pytest.mark.parametrize(("free", "processes"), [(2 * 10**9, 2), (10**9, 1), (10**12, 8)])
def test_the_processes_and_their_images_fit_into_what_is_free(
    monkeypatch: pytest.MonkeyPatch, free: int, processes: int
) -> None:
    monkeypatch.setattr(crf_pool, "free_bytes", lambda device: free)
    made = pool(8)
    assert made._processes == processes
    assert 0 < made._memory + processes * crf_pool.PROCESS_BYTES <= 0.8 * free


def test_an_image_that_does_not_fit_is_named_with_what_it_needs() -> None:
    message = r"image a: a CRF over 4 clusters of 16 x 20 pixels takes about 0\.0 GB, and 0\.0 GB are there"
    with pool(1, memory=NEED - 1) as crf, pytest.raises(MemoryError, match=message):
        next(crf.ahead(scored()))


@pytest.mark.usefixtures("crf_server")
def test_a_stop_is_heeded_before_an_image_and_during_it() -> None:
    answers = iter([False, False, True])
    with pytest.raises(RunInterrupted, match="before the CRF of image c"), pool(1, should_stop=answers.__next__) as crf:
        list(crf.ahead(scored()))
    with pool(1, should_stop=lambda: True) as crf:
        crf._begun["a"] = Future()  # never done
        with pytest.raises(RunInterrupted, match="during the CRF of image a"):
            crf.assign(scored()[0])


@pytest.mark.usefixtures("crf_server")
@pytest.mark.parametrize("delay", [0.0, 0.5])  # the image is still to be sent, or is on its way
def test_a_process_that_is_killed_is_told_as_a_lack_of_memory(delay: float) -> None:
    slow = WindowLayout((Crop.whole(16, 20),), (4, 5), (16, 20), Crop.whole(16, 20), (800, 1000))
    large = ScoredImage("a", (800, 1000), torch.zeros(1, 64, 4, 5), slow)
    with pool(1, Pictures(800, 1000)) as crf:
        (image,) = crf.ahead([large])
        time.sleep(delay)
        for process in set(multiprocessing.active_children()) - crf._others:
            process.kill()
        with pytest.raises(MemoryError, match="was killed during the CRF; image a: a CRF over 64 clusters"):
            crf.assign(image)
