"""Where a fit saves its progress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from common.errors import StoreError
from common.files import atomic_writer
from results.record import StageCost

if TYPE_CHECKING:
    from bench.measure import Meter


class RunCheckpoint:
    """The checkpoint of one run: a single file, replaced atomically.

    It also keeps the time that the fit had taken when it was saved, so that the cost of a resumed fit is that of the
    whole of it.

    Args:
        path: the file.
        every: seconds between two saves that the fit makes of its own accord.
    """

    def __init__(self, path: Path, every: float) -> None:
        self.path = path
        self.every = every
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
            torch.save({"state": state, "spent": spent}, stream)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state with its tensors on the CPU, or None where there is none.

        Only tensors and plain values are read: a checkpoint cannot run code.

        Raises:
            StoreError: the file is there but cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            wall, cpu = saved["spent"]
            state = dict(saved["state"])
        except Exception as error:
            raise StoreError(
                f"{self.path}: the checkpoint cannot be read ({error}); remove it to start over"
            ) from error
        self._before = (float(wall), float(cpu))
        return state

    def charge(self, meter: Meter) -> None:
        """Add to stage ``fit`` what it had cost before it was resumed."""
        wall, cpu = self._before
        if wall > 0:
            meter.charge(StageCost(stage="fit", wall_s=wall, cpu_s=cpu, peak_rss=0))

    def remove(self) -> None:
        """Delete the saved state, once the fit it belongs to is stored."""
        self.path.unlink(missing_ok=True)
