"""What all stages of one run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from spectral_bench.bench.code.records import RunCode, code_of_run, method_check
from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.measure.environment import environment
from spectral_bench.bench.measure.meter import Meter
from spectral_bench.bench.work.order import sitting
from spectral_bench.bench.work.progress import METRICS_FILE, PROGRESS_FILE, MetricsLog, ProgressFile
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.interface import DataRoots, DataSet
from spectral_bench.datasets.registry import open_data
from spectral_bench.methods.params import Colours
from spectral_bench.methods.registry import colours_asked
from spectral_bench.results.record import COHORT, SITTING

if TYPE_CHECKING:
    from spectral_bench.bench.features.backbones.network import FrozenNetwork
    from spectral_bench.bench.run.cohort import Member
    from spectral_bench.bench.work.order import Order
    from spectral_bench.results.record import MethodCheck
    from spectral_bench.results.specification import FitSpec
    from spectral_bench.results.store import Store


@dataclass(frozen=True)
class Run:
    """One order at work.

    Attributes:
        order: what was asked for.
        store: where the records go.
        should_stop: true once the run has been asked to stop.
        cohort: the run as one of those that are carried out side by side in this process; None: it is alone.
    """

    order: Order
    store: Store
    should_stop: Callable[[], bool]
    cohort: Member | None = None

    @property
    def spec(self) -> FitSpec:
        """The fit."""
        return self.order.spec

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.store.run_folder(self.spec.run_id)

    @cached_property
    def device(self) -> torch.device:
        """Where to compute."""
        return resolve_device(self.order.execution.device)

    @cached_property
    def backbone(self) -> FrozenNetwork:
        """The frozen backbone, loaded when first needed: a complete cache needs none."""
        return load_backbone(self.spec.backbone.name, self.spec.backbone.options, self.device)

    @cached_property
    def method_check(self) -> MethodCheck | None:
        """What the store knew of the method's own code, before that goes to work. None: the method ships."""
        # Asked once, as an edit while the method works, valid Python or not, must not change what is recorded of it.
        return method_check(self.store.path, self.spec.method)

    @cached_property
    def code(self) -> RunCode:
        """Fingerprints of the code of the fit and of its evaluations, taken when first asked for: before the work."""
        spec, looked_at = self.spec, tuple(sorted({view.dataset for view in self.order.views}))
        parts = spec.method, spec.data.dataset, looked_at, spec.backbone.name
        if self.cohort is None:
            return code_of_run(*parts)
        return self.cohort.shared(("code", *parts), lambda: code_of_run(*parts))  # of what the process has loaded

    def open_data(self, name: str) -> DataSet:
        """A data set under the order's roots."""
        return open_data(name, DataRoots(self.order.data_roots))

    def meter(self) -> Meter:
        """A fresh meter on the run's device."""
        meter = Meter(self.device)
        if self.cohort is not None:
            self.cohort.meter = meter
        return meter

    @cached_property
    def curve(self) -> MetricsLog:
        """The training curve."""
        return MetricsLog(self.folder / METRICS_FILE)

    @cached_property
    def _progress(self) -> ProgressFile:
        return ProgressFile(self.folder / PROGRESS_FILE, curve=self.curve)

    def progress(self, stage: str) -> Callable[[int, int], None]:
        """Tells watchers (done, total) of a stage."""
        return partial(self._progress.update, stage)

    def feature_settings(self, stage: str) -> dict[str, Any]:
        """How features are made in this run, as the openers of sources and views take it."""
        execution = self.order.execution
        return {
            "backbone": lambda: self.backbone,
            "folder": self.store.features_folder,
            "device": self.device,
            "workers": execution.workers,
            "inference_batch": execution.inference_batch,
            "cache_limit": execution.cache_limit,
            "progress": self.progress(stage),
            # One run's wish to stop must not end what is being read for all of them.
            "should_stop": self.should_stop if self.cohort is None else self.cohort.should_stop,
            "colours": self.colours,
        }

    @cached_property
    def colours(self) -> Colours:
        """The colours that the method looks at besides the pixels of patches."""
        return colours_asked(self.spec.method, self.spec.params)

    @cached_property
    def seen_as(self) -> tuple[str, str, Colours]:
        """How images are seen in this run: runs of a cohort that see them alike share what they read."""
        return self.spec.features.model_dump_json(), self.spec.backbone.model_dump_json(), self.colours

    def facts(self, meter: Meter) -> dict[str, Any]:
        """What every record says of where and how it was made, and what it cost."""
        execution = self.order.execution.model_dump(mode="json")
        here: dict[str, Any] = {
            "device": str(self.device),
            "threads": torch.get_num_threads(),  # as they were, not as they were asked for: rounding depends on them
            "memory_source": meter.memory_source,
            SITTING: sitting(self.order.execution.executor),
        }
        if self.cohort is not None:
            here[COHORT] = list(self.cohort.run_ids)
        return {"costs": meter.costs(), "environment": environment(), "execution": execution | here}


def resolve_device(name: str) -> torch.device:
    """The torch device behind ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: the name is none of these, or there is no such CUDA device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdecimal() or (number == "" and ":" not in name)):
        raise ConfigError(f'unknown device "{name}"; valid: auto, cpu, cuda, cuda:N')
    device = torch.device(name)
    # Here, as torch accepts any number and fails at the first tensor.
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f'device "{name}": this machine has {torch.cuda.device_count()} CUDA devices')
    return device
