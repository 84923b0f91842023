"""The name of ``job`` in the scripts of jobs that earlier releases have submitted: they may still wait in a queue."""

from __future__ import annotations

import sys

from spectral_bench.bench.executors.slurm.job import command_line

if __name__ == "__main__":
    sys.exit(command_line())
