"""How the job of a process is named to Slurm."""

from __future__ import annotations

import pytest

from spectral_bench.bench.work.order import own_job


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "9"}, "9"),
        # The last job of an array to start bears the array's own id.
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "4"}, "9_4"),
        ({"SLURM_JOB_ID": "11", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "0"}, "9_0"),
    ],
)
def test_a_job_of_an_array_is_never_called_by_the_id_of_all(environ: dict[str, str], expected: str) -> None:
    assert own_job(environ) == expected
