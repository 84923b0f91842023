"""Jobs that Slurm itself has put on hold because it could not start them, as when its controller died meanwhile."""

from __future__ import annotations

import contextlib
from collections import Counter

from spectral_bench.bench.executors.slurm.board import Board
from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused, SlurmUnreachable
from spectral_bench.bench.executors.slurm.queue import plain_reason

HELD = plain_reason("launch failed requeued held")
"""Other releases write underscores."""
MOST = 3


def release_held(board: Board, slurm: Slurm, released: Counter[str]) -> None:
    """Let such jobs go, each a few times: a node that never starts one is for people to look at.

    Args:
        board: how things stand.
        slurm: who holds them.
        released: how often each was released before; grows.
    """
    found = ((place.job, place.element) for place in board.places)
    held = {job for job, element in found if element is not None and plain_reason(element.reason) == HELD}
    for job in sorted(job for job in held if released[job] < MOST):
        with contextlib.suppress(SlurmRefused, SlurmUnreachable):
            slurm.ask("scontrol", "release", job)
            released[job] += 1
