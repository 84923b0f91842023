"""What a node runs in place of ``spectral_bench.bench.executors.slurm.job``: the same with runs that cost nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import fake_work

from spectral_bench.bench.executors.slurm import job as task

if __name__ == "__main__":
    folder, index = Path(sys.argv[-1]), int(os.environ["SLURM_ARRAY_TASK_ID"])
    sys.exit(task.main(folder, index, target=fake_work.target, preload=["fake_work"]))
