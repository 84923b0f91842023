"""The Slurm job that this process is part of."""

from __future__ import annotations

import os
from collections.abc import Mapping


def own_job(environ: Mapping[str, str] = os.environ) -> str:
    """The id by which Slurm's commands reach the job of this process, and no other; empty outside of a job.

    A job of an array is named ``<array>_<index>``. ``SLURM_JOB_ID`` alone would not do: the last job of an array to
    start keeps the array's own id, and a command that is given that id acts on the whole array (Slurm 22.05.8).
    """
    array, index = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else environ.get("SLURM_JOB_ID", "")
