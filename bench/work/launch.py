"""Which launch this process belongs to, and which Slurm job.

Times of runs that one launch made one after another rise and fall together, with what else the machine does, so they
are no independent repeats of a time. A record therefore says in which sitting it was made: the runs of one sitting
share the state of the machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime

import psutil

VARIABLE = "SPECTRAL_BENCH_SITTING"
"""How a launcher tells the workers that it starts on its own machine."""


def begin_sitting() -> None:
    """Make this process the sitting of the workers that it is going to start; a second time it stays the same."""
    os.environ[VARIABLE] = _this_process()


def sitting(executor: str) -> str:
    """The sitting of a run that this process carries out: host, number and start of the process that launched it.

    Args:
        executor: that the order was given to. A launch hands Slurm many jobs that start whenever there is room, so
            under ``slurm`` the job is the sitting.
    """
    job = os.environ.get("SLURM_JOB_ID", "") if executor == "slurm" else ""
    if job:
        restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
        return f"slurm job {job}" + (f", restart {restarts}" if restarts != "0" else "")
    return os.environ.get(VARIABLE) or _this_process()


def _this_process() -> str:
    begun = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    return f"{socket.gethostname()}, process {os.getpid()} of {begun.isoformat(timespec='milliseconds')}"


def own_job(environ: Mapping[str, str] = os.environ) -> str:
    """The id by which Slurm's commands reach the job of this process, and no other; empty outside of a job.

    A job of an array is named ``<array>_<index>``. ``SLURM_JOB_ID`` alone would not do: the last job of an array to
    start keeps the array's own id, and a command that is given that id acts on the whole array (Slurm 22.05.8).
    """
    array, index = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else environ.get("SLURM_JOB_ID", "")
