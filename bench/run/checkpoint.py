"""Where a fit saves its progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import atomic_writer
from spectral_bench.results.record import StageCost

if TYPE_CHECKING:
    from spectral_bench.bench.measure import Meter

logger = logging.getLogger(__name__)


class RunCheckpoint:
    """The checkpoint of one run: a single file, replaced atomically.

    It also keeps the time that the fit had taken when it was saved, so that the cost of a resumed fit is that of the
    whole of it.

    Args:
        path: the file.
        every: seconds between two saves that the fit makes of its own accord.
        data: digest of all that the fit is trained on; a state that was saved on other data is not gone on from.
        code: fingerprints of the code that fits.

    Attributes:
        code: fingerprints of the code that the fit was begun with: those of the saved state, once that is loaded. A
            fit that other code has ended is none of that code's.
    """

    def __init__(self, path: Path, every: float, data: str = "", code: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.every = every
        self.code = dict(code or {})
        self._data = data
        self._wall = self._last = time.monotonic()
        self._cpu = time.process_time()
        self._before = (0.0, 0.0)

    def due(self) -> bool:
        """Whether ``every`` seconds have passed since the start or the last save."""
        return time.monotonic() - self._last >= self.every

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state.

        Raises:
            StoreError: the disk is full; the state saved before is untouched.
        """
        wall, cpu = self._before
        spent = [wall + time.monotonic() - self._wall, cpu + time.process_time() - self._cpu]
        with atomic_writer(self.path) as stream:
            torch.save({"state": state, "spent": spent, "data": self._data, "code": self.code}, stream)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state with its tensors on the CPU, or None where there is none, or one of other data.

        Only tensors and plain values are read: a checkpoint cannot run code. Tensors are mapped from the file, so that
        what copies them never holds them twice in memory.

        Raises:
            StoreError: the file is there but cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            wall, cpu = saved["spent"]
            state, data = dict(saved["state"]), str(saved.get("data", ""))
            code = dict(saved.get("code", self.code))
        except Exception as error:
            raise StoreError(
                f"{self.path}: the checkpoint cannot be read ({error}); remove it to start over"
            ) from error
        if data != self._data:
            logger.warning("%s: its state belongs to other images or labels; the fit starts over", self.path)
            return None
        self._before, self.code = (float(wall), float(cpu)), code
        return state

    def charge(self, meter: Meter) -> None:
        """Add to stage ``fit`` what it had cost before it was resumed."""
        wall, cpu = self._before
        if wall > 0:
            meter.charge(StageCost(stage="fit", wall_s=wall, cpu_s=cpu, peak_rss=0))

    def remove(self) -> None:
        """Delete the saved state, once the fit it belongs to is stored."""
        self.path.unlink(missing_ok=True)
