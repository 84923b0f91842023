"""Peak resident memory of this process since a moment of one's choice."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

import psutil

SAMPLE_S = 0.02

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def resident_peak() -> int:
    """The most resident memory of this process since its start (or since a ``ResidentPeak`` restarted), in bytes.

    Where there is no ``VmHWM`` (outside of Linux) the present size. The ``ru_maxrss`` of getrusage(2) would not do:
    Linux hands that of the process that started this one down to it, through fork and exec.
    """
    try:
        return _mark()
    except OSError:
        return _resident()


class ResidentPeak:
    """The highest resident memory since the last ``restart``, in bytes.

    Where Linux lets a process reset its high-water mark, the kernel keeps it (``source`` is ``VmHWM``) and the value
    is exact. Elsewhere a thread looks every 20 ms (``source`` is ``sampled``) and may miss a shorter peak.
    """

    def __init__(self) -> None:
        self.source = "VmHWM" if _restart_mark() else "sampled"
        self._sampler = None if self.source == "VmHWM" else _Sampler()
        if self._sampler is not None:
            weakref.finalize(self, self._sampler.stop)

    def restart(self) -> None:
        """Forget what was before."""
        if self._sampler is not None:
            self._sampler.peak = _resident()
        else:
            _restart_mark()

    def read(self) -> int:
        """The peak so far, in bytes."""
        if self._sampler is not None:
            return max(self._sampler.peak, _resident())
        return _mark()


class _Sampler:
    """A daemon thread that keeps the highest resident memory it sees."""

    def __init__(self) -> None:
        self.peak = _resident()
        self._ended = threading.Event()
        threading.Thread(target=self._sample, name="memory-sampler", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.peak = max(self.peak, _resident())


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _restart_mark() -> bool:
    """Set the kernel's high-water mark to the present size; whether that is possible here (see proc(5))."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _mark() -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return _resident()
