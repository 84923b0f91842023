"""What sbatch is given: a batch script, which submitit writes from checked settings, and its options once more."""

from __future__ import annotations

import shlex
import sys
import unicodedata
from itertools import dropwhile, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from submitit.slurm.slurm import SlurmExecutor as SubmititExecutor

from spectral_bench.bench.executors.slurm.cluster import Cluster
from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused, said
from spectral_bench.bench.executors.slurm.ledger import SCRIPT_FILE, Submission, Unit, new_submission
from spectral_bench.bench.grid.executor import SlurmSettings
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes

_OPTION = "#SBATCH "
_PERCENT = "\0"
"""Stands for a percent sign of the store's path while submitit writes its own; no path holds it."""
_TOO_MANY = ("submitlimit", "maxsubmit")
"""What Slurm calls limits of jobs in the queue, as in ``QOSMaxSubmitJobPerUserLimit``."""


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
    refuse_unwritable(folder)
    writer = _Writer(str(folder).replace("%", _PERCENT))
    writer.update_parameters(**_parameters(submission, settings, job_ids, folder))
    writer.parameters["map_count"] = len(submission.units)  # an array even of one, so that all jobs are named alike
    command = shlex.join(["-u", "-m", "spectral_bench.bench.executors.slurm.task", str(folder)])
    python = settings.python or shlex.quote(sys.executable)
    text = str(writer._make_submission_file_text(f"{python} {command}", "0"))
    return text.replace(_PERCENT, "%%")  # which Slurm reads as one sign that stands for nothing


def refuse_unwritable(folder: Path) -> None:
    """See that Slurm could write logs below a folder.

    Raises:
        ConfigError: a sign of its path cannot be told to Slurm.
    """
    path = str(folder)
    wrong = {
        "a backslash": "\\" in path,
        "a control character": any(unicodedata.category(sign) == "Cc" for sign in path),
        "bytes that are not UTF-8": any(unicodedata.category(sign) == "Cs" for sign in path),
    }
    for name in (name for name, found in wrong.items() if found):
        raise ConfigError(
            f"--out: {path!r} has {name} in its path, and Slurm writes no log there; choose another folder"
        )


def options_in(script: str) -> list[str]:
    """The options that a script states, for sbatch's command line: the environment outranks the script, not these."""
    rest = dropwhile(lambda line: not line.startswith(_OPTION), script.split("\n"))
    lines = takewhile(lambda line: line.startswith(_OPTION), rest)
    return [option for line in lines for option in shlex.split(line.removeprefix(_OPTION))]


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
    answer = slurm.answer("sbatch", "--parsable", *options_in(script), str(path))
    job_id, _, cluster = answer.out.strip().partition(";")
    if answer.code != 0 or not job_id.isdecimal():
        raise SlurmRefused(f"sbatch: {said(answer)}{_advice(said(answer))}")
    return job_id, cluster


def refuse_unless_taken(slurm: Slurm, settings: SlurmSettings) -> None:
    """See that sbatch would take a job with such settings.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: it would not, and why.
    """
    trial = new_submission((Unit(entries=()),), after={}, settings={}, cluster=Cluster())
    with TemporaryDirectory() as folder:
        path = Path(folder) / SCRIPT_FILE
        script = script_text(trial, settings, Path(folder), {})
        path.write_text(script)
        answer = slurm.answer("sbatch", "--test-only", *options_in(script), str(path))
    if answer.code != 0:
        advice = _advice(said(answer)) or "; change the settings of the executor"
        raise ConfigError(f"Slurm would refuse such jobs: {said(answer)}{advice}")


def _advice(refusal: str) -> str:
    if any(words in refusal.lower() for words in _TOO_MANY):
        return "; put more runs into a job with --runs-per-job, or come back when some jobs have ended"
    return ""


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
        "srun_args": _srun(settings),
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


def _srun(settings: SlurmSettings) -> list[str]:
    # What a job exports before srun, as setup does, reaches its step only by this where sbatch was told to export less.
    always = ["--export=ALL"]
    # Since 22.05 srun no longer takes the processors of a task from its job.
    return always if settings.cpus is None else [*always, f"--cpus-per-task={settings.cpus}"]


def _dependency(submission: Submission, job_ids: dict[str, str]) -> str | None:
    after = [f"{job_ids[name]}_{index}" for name, found in submission.after.items() for index in found]
    return "afterok:" + ":".join(after) if after else None
