"""What sbatch is given: submitit writes the batch script, from settings that it checks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from submitit.slurm.slurm import SlurmExecutor as SubmititExecutor

from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused, said
from spectral_bench.bench.executors.slurm.ledger import SCRIPT_FILE, Submission, Unit, new_submission
from spectral_bench.bench.grid.executor import SlurmSettings
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes


class _Writer(SubmititExecutor):
    """Only writes scripts, so that they can be shown where there is no Slurm."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def script_text(submission: Submission, settings: SlurmSettings, folder: Path, job_ids: dict[str, str]) -> str:
    """The batch script of a submission.

    Args:
        submission: what it carries out.
        settings: what its jobs ask for.
        folder: where its files lie.
        job_ids: the ids of the submissions that it comes after, by name.
    """
    writer = _Writer(folder)
    writer.update_parameters(**_parameters(submission, settings, job_ids, folder))
    writer.parameters["map_count"] = len(submission.units)  # an array even of one, so that all jobs are named alike
    command = shlex.join(["-u", "-m", "spectral_bench.bench.executors.slurm.task", str(folder)])
    return str(writer._make_submission_file_text(f"{settings.python or shlex.quote(sys.executable)} {command}", "0"))


def submit(slurm: Slurm, script: str, folder: Path) -> tuple[str, str]:
    """Hand a script to sbatch.

    Returns:
        The id of the job, and the name of its cluster where sbatch says so.

    Raises:
        SlurmMissing, SlurmUnreachable: nobody knows whether it was submitted.
        SlurmRefused: it was not.
        StoreError: the store cannot be written.
    """
    path = folder / SCRIPT_FILE
    write_bytes(path, script.encode())
    answer = slurm.answer("sbatch", "--parsable", str(path))
    job_id, _, cluster = answer.out.strip().partition(";")
    if answer.code != 0 or not job_id.isdecimal():
        raise SlurmRefused(f"sbatch: {said(answer)}")
    return job_id, cluster


def refuse_unless_taken(slurm: Slurm, settings: SlurmSettings) -> None:
    """See that sbatch would take a job with such settings.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: it would not, and why.
    """
    trial = new_submission((Unit(entries=()),), after={}, settings={}, cluster="")
    with TemporaryDirectory() as folder:
        path = Path(folder) / SCRIPT_FILE
        path.write_text(script_text(trial, settings, Path(folder), {}))
        answer = slurm.answer("sbatch", "--test-only", str(path))
    if answer.code != 0:
        raise ConfigError(f"Slurm would refuse such jobs: {said(answer)}; change the settings of the executor")


def _parameters(
    submission: Submission, settings: SlurmSettings, job_ids: dict[str, str], folder: Path
) -> dict[str, Any]:
    """The settings in submitit's words."""
    stated = {
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "exclude": settings.exclude,
        "gpus_per_node": settings.gpus or None,
        "cpus_per_task": settings.cpus,
        "mem": settings.mem,
        "setup": list(settings.setup) or None,
        "dependency": _dependency(submission, job_ids),
        # Since 22.05 srun no longer takes the processors of a task from its job.
        "srun_args": None if settings.cpus is None else [f"--cpus-per-task={settings.cpus}"],
    }
    fixed = {
        "job_name": submission.name,
        "nodes": 1,
        "ntasks_per_node": 1,
        "time": settings.minutes,
        "signal_delay_s": settings.signal_delay,
        "array_parallelism": settings.array_parallelism,
        "stderr_to_stdout": True,
        "wckey": None,  # submitit's own would be refused where such keys are enforced
    }
    always = {"requeue": True, "kill-on-invalid-dep": "yes", "comment": f"store {folder.parent.parent}"}
    chosen = {name: value for name, value in stated.items() if value is not None}
    return fixed | chosen | {"additional_parameters": always | settings.sbatch}


def _dependency(submission: Submission, job_ids: dict[str, str]) -> str | None:
    after = [f"{job_ids[name]}_{index}" for name, found in submission.after.items() for index in found]
    return "afterok:" + ":".join(after) if after else None
