"""What a job asks Slurm about itself: whether its time is over, and to be put back into the queue."""

from __future__ import annotations

import re
import time

from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused, SlurmUnreachable
from spectral_bench.bench.output import say
from spectral_bench.bench.slurm_job import own_job

SLACK_S = 90.0
"""Slurm looks at time limits every half minute, and starts the clock before the job."""
AGAIN_S = 2.0


def seconds_of(text: str) -> float | None:
    """A duration as squeue prints it, ``[days-][hours:]minutes:seconds``; None for none, such as ``UNLIMITED``."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def ran_out_of_time(slurm: Slurm, elapsed: float, delay: float, limit: float) -> bool:
    """Whether this job was asked to stop because of its time limit, and not for another job's sake.

    Args:
        slurm: whom to ask.
        elapsed: seconds since the job began, on a clock that does not jump.
        delay: seconds before the limit at which jobs are told.
        limit: seconds that were asked for; Slurm may know another limit by now.
    """
    try:
        told = slurm.ask("squeue", "-h", "-j", own_job(), "-O", "TimeLimit:40,PreemptTime:40").split()
    except (SlurmUnreachable, SlurmRefused):
        told = []
    if len(told) == 2 and told[1] not in ("N/A", "Unknown", "NONE"):
        return False
    found = seconds_of(told[0]) if told else limit
    return found is not None and elapsed >= found - delay - SLACK_S


def requeue(slurm: Slurm, patience: float) -> bool:
    """Put this job back into the queue, asking again for ``patience`` seconds while Slurm does not answer.

    Returns:
        Whether it is there. If not, its runs are as good as interrupted.
    """
    end = time.monotonic() + patience
    while True:
        try:
            slurm.ask("scontrol", "requeue", own_job())
        except SlurmUnreachable as error:
            if time.monotonic() > end:
                say(f"not put back into the queue: {error}")
                return False
            time.sleep(AGAIN_S)
        except SlurmRefused as error:
            say(f"not put back into the queue: {error}")
            return False
        else:
            say("put back into the queue")
            return True
