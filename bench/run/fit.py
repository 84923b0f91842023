"""Train one method on the images of one data set, store what it learnt, and read it back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from spectral_bench.bench.evaluation.counting import training_labels
from spectral_bench.bench.features import open_training_source
from spectral_bench.bench.measure.environment import now
from spectral_bench.bench.measure.meter import Meter
from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.health import health_records, status_of
from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import atomic_writer, write_bytes
from spectral_bench.common.names import few
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.interface import FitContext
from spectral_bench.methods.registry import load_method, method_facts, params_model
from spectral_bench.results.record import BASE_STAGE, FitRecord, StageCost
from spectral_bench.results.runs import CHECKPOINT_FILE

if TYPE_CHECKING:
    from spectral_bench.bench.features.source import TrainingSource
    from spectral_bench.bench.run.cohort import Source
    from spectral_bench.datasets.interface import ImageLoader
    from spectral_bench.methods.interface import LabelSource, Segmenter
    from spectral_bench.results.specification import FitSpec
    from spectral_bench.results.store import Store


logger = logging.getLogger(__name__)

STATE_FILE = "fit.safetensors"

_CANNOT_LOAD = "the stored state of {} cannot be loaded into a fresh method"


class StateError(RuntimeError):
    """What a method stored is not what it loads: its fit would be of no use to anybody."""


def fit(run: Run) -> tuple[FitRecord, Segmenter]:
    """Train the run's method, from its checkpoint where there is one, and store state and record.

    Raises:
        RunInterrupted: the run was asked to stop; it goes on from its checkpoint when it is ordered again.
        UserError: the data or the backbone is not as it should be.
        StateError: what the method stored cannot be loaded again; its checkpoint stays.
        Exception: whatever the method raises; the caller records it as the run's failure.
    """
    started, meter = now(), run.meter()
    run.progress("start")(0, 0)  # what an earlier attempt said is over
    check = run.method_check  # of the code that is about to work
    execution = run.order.execution
    labels = training_labels(run.spec, run.open_data, meter, workers=execution.workers, should_stop=run.should_stop)
    # Before anything is read: what changes from here on makes the run stale, not its record wrong.
    data_digest = training_images(run).digest()
    label_digest, labels_seen = ("", "") if labels is None else (labels.digest, labels.files)
    source = training_patches(run, meter)
    method = build_method(run.spec)
    every = run.order.execution.checkpoint_every
    seen = f"{data_digest} {label_digest}"
    checkpoint = RunCheckpoint(run.folder / CHECKPOINT_FILE, every, seen, run.code[0], clock=meter.total)
    logger.info("fit %s on %d images, %d patches", run.spec.run_id, len(source), source.n_patches)
    context = _context(run, meter, checkpoint, labels)
    with meter.stage("fit", items=len(source)):
        method.fit(source, context=context)
    checkpoint.charge(meter)
    n_numbers = save_state(run.folder, method)
    # Now, with the checkpoint still there: found out at an evaluation, the fit would be lost.
    require_loadable(run.folder, run.spec, method)
    health = health_records(method)
    record = FitRecord(
        run_id=run.spec.run_id,
        spec=run.spec,
        status=status_of(health),
        started=started,
        finished=now(),
        n_clusters=method.n_clusters,
        parameters=n_numbers,
        health=health,
        uses_labels=method_facts(run.spec.method).uses_labels,
        code=checkpoint.code,
        method_check=check,
        base=run.order.requires,
        data_digest=data_digest,
        label_digest=label_digest,
        label_files=labels_seen,
        **run.facts(meter),
    )
    # The record after the state that it vouches for, and the checkpoint last: a kill between two of them costs nothing.
    run.store.write_fit(record)
    checkpoint.remove()
    return record, method


def training_images(run: Run) -> ImageLoader:
    """The images of the training split. Labels have another loader: see ``bench.run.label_access``."""
    return run.open_data(run.spec.data.dataset).images(run.spec.data.split)


def training_patches(run: Run, meter: Meter) -> TrainingSource | Source:
    """The training patches. Features that are to be cached are extracted now, unless they are there."""
    images = training_images(run)
    ids = subset(images.ids, run.spec.data.subset)
    settings = run.feature_settings("features")
    with meter.stage("features", items=len(ids)):
        source = opened_source(run, lambda: open_training_source(run.spec, images=images, ids=ids, **settings))
    if source.reused:
        meter.reused("features")
    return source


def opened_source(run: Run, make: Callable[[], TrainingSource]) -> TrainingSource | Source:
    """The training patches; those of a cohort are the same for all runs of one seed, and opened once."""
    if run.cohort is None:
        return make()
    return run.cohort.source((run.spec.data.model_dump_json(), run.spec.seed, *run.seen_as), make)


def _context(run: Run, meter: Meter, checkpoint: RunCheckpoint, labels: LabelSource | None) -> FitContext:
    return FitContext(
        seeds=SeedStreams(run.spec.seed),
        device=run.device,
        precision=run.spec.precision,
        progress=run.progress("fit"),
        log=run.curve.append,
        checkpoint=checkpoint,
        should_stop=run.should_stop,
        stage=meter.stage,
        base=_base(run, meter),
        labels=labels,
    )


def _base(run: Run, meter: Meter) -> Segmenter | None:
    """The stored fit that the run starts from. Its training is another run's cost; loading it is a stage of its own."""
    if run.order.requires is None:
        return None
    with meter.stage(BASE_STAGE):
        base = load_fit(run.store, run.order.requires, run.device)
    meter.reused(BASE_STAGE)
    return base


class RunCheckpoint:
    """The checkpoint of one run: a single file, replaced atomically.

    Args:
        path: the file.
        every: seconds between two saves that the fit makes of its own accord.
        data: digest of all that the fit is trained on; a state that was saved on other data is not gone on from.
        code: fingerprints of the code that fits.
        clock: wall and CPU seconds that this run has taken up to now; None: those of the process.

    Attributes:
        code: fingerprints of the code that the fit was begun with: those of the saved state, once that is loaded. A
            fit that other code has ended is none of that code's.
    """

    def __init__(
        self,
        path: Path,
        every: float,
        data: str = "",
        code: Mapping[str, str] | None = None,
        clock: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        self.path = path
        self.every = every
        self.code = dict(code or {})
        self._data = data
        self._clock = clock or (lambda: (time.monotonic(), time.process_time()))
        self._last = time.monotonic()
        self._begun = self._clock()
        self._before = (0.0, 0.0)

    def due(self) -> bool:
        """Whether ``every`` seconds have passed since the start or the last save."""
        return time.monotonic() - self._last >= self.every

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state.

        Raises:
            StoreError: the disk is full; the state saved before is untouched.
        """
        # With what earlier attempts took: the cost of a resumed fit is that of the whole of it.
        spent = [old + new - begun for old, new, begun in zip(self._before, self._clock(), self._begun, strict=True)]
        with atomic_writer(self.path) as stream:
            torch.save({"state": state, "spent": spent, "data": self._data, "code": self.code}, stream)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state with its tensors on the CPU, or None where there is none, or one of other data.

        Raises:
            StoreError: the file is there but cannot be read.
        """
        if not self.path.exists():
            return None
        # weights_only: a checkpoint cannot run code. mmap: who copies its tensors never holds them twice in memory.
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            wall, cpu = saved["spent"]
            state, data = dict(saved["state"]), str(saved.get("data", ""))
            code = dict(saved.get("code", self.code))
        except Exception as error:  # of pickle, zip or torch, by what is damaged
            raise StoreError(
                f"{self.path}: the checkpoint cannot be read ({error}); remove it to start over"
            ) from error
        if data != self._data:
            logger.warning("%s: its state belongs to other images or labels; the fit starts over", self.path)
            return None
        self._before, self.code = (float(wall), float(cpu)), code
        done = state.get("done")  # of methods that ship; others may keep what they like
        logger.info("resumed %s", f"at step {done}" if isinstance(done, int) else "from the checkpoint")
        return state

    def charge(self, meter: Meter) -> None:
        """Add to stage ``fit`` what it had cost before it was resumed."""
        wall, cpu = self._before
        if wall > 0:
            meter.charge(StageCost(stage="fit", wall_s=wall, cpu_s=cpu, peak_rss=0))

    def remove(self) -> None:
        """Delete the saved state, once the fit it belongs to is stored."""
        self.path.unlink(missing_ok=True)


def build_method(spec: FitSpec) -> Segmenter:
    """An unfitted method with the parameters of ``spec``."""
    parameters = params_model(spec.method)(**spec.params)
    method: Segmenter = load_method(spec.method)(parameters)
    return method


def save_state(folder: Path, method: Segmenter) -> int:
    """Write what ``method`` learnt into a run's folder, atomically. Returns how many numbers that is."""
    # On the CPU: a fit made on a GPU is read where there is none.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in method.state_dict().items()}
    write_bytes(folder / STATE_FILE, save(state))
    return sum(tensor.numel() for tensor in state.values())


def require_loadable(folder: Path, spec: FitSpec, fitted: Segmenter) -> None:
    """Load what ``save_state`` wrote into a fresh method, as every evaluation to come will.

    Raises:
        StateError: the method does not load it, or is another one afterwards: other state, other clusters.
    """
    state: dict[str, Tensor] = load_file(folder / STATE_FILE)
    with torch.random.fork_rng(devices=[]):  # what a constructor draws changes nothing of what follows
        try:
            fresh = build_method(spec)
            fresh.load_state_dict(dict(state))
            again = {name: tensor.detach().cpu().contiguous() for name, tensor in fresh.state_dict().items()}
        except Exception as error:
            problem = f"load_state_dict raised {type(error).__name__}: {error}"
            raise StateError(f"{_CANNOT_LOAD.format(spec.method)}: {problem}") from error
    other = sorted(state.keys() ^ again.keys())
    other += sorted(name for name in state.keys() & again.keys() if not _same_bits(state[name], again[name]))
    if other:
        raise StateError(f"{_CANNOT_LOAD.format(spec.method)}: {few(other)} of state_dict is not what was stored")
    if fresh.n_clusters != fitted.n_clusters:
        raise StateError(
            f"{_CANNOT_LOAD.format(spec.method)}: it has {fresh.n_clusters} clusters then, and {fitted.n_clusters} "
            "after its fit; n_clusters belongs to what state_dict tells"
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    # As bytes, so that NaN equals NaN, and 0 is not -0.
    same = one.dtype == other.dtype and one.shape == other.shape
    return same and torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def load_fit(store: Store, run_id: str, device: torch.device | str = "cpu", spec: FitSpec | None = None) -> Segmenter:
    """The fitted method of a finished run.

    Args:
        store: where it lies.
        run_id: the run.
        device: where its state goes.
        spec: the fit as it is ordered today: a method of a user's own may lie elsewhere by now. None: as recorded.

    Raises:
        StoreError: the run is not in the store, or is not finished, or its state is missing or torn.
    """
    record = store.fit_record(run_id)
    if record is None or record.status == "failed":
        raise StoreError(f"run {run_id}: no finished fit in {store.path}")
    path = store.run_folder(run_id) / STATE_FILE
    try:
        state: dict[str, Tensor] = load_file(path, device=str(device))
    except Exception as error:
        raise StoreError(
            f"{path}: the stored fit cannot be read ({error}); remove the run's folder and run again"
        ) from error
    # By the class of today: state is plain tensors, and no pickle that would bring its own.
    method = build_method(spec or record.spec)
    method.load_state_dict(state)
    return method
