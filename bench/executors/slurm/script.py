"""What is checked before anything is submitted, and the batch script that sbatch is given.

submitit writes the script from checked settings. Its options are stated once more on the command line of sbatch.
"""

from __future__ import annotations

import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable
from itertools import dropwhile, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spectral_bench.bench.executors.slurm.cluster import (
    Cluster,
    Partition,
    Slurm,
    SlurmRefused,
    accounts_of,
    ask_partitions,
    chosen_cluster,
    read_cluster,
    said,
)
from spectral_bench.bench.executors.slurm.submissions import SCRIPT_FILE, Submission, Unit, new_submission
from spectral_bench.bench.grid.keys import SlurmSettings, megabytes
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import unknown

NO_ACCOUNTING = (
    "Slurm keeps no accounts here ({why}), so nobody could tell how a job ended; ask for slurmdbd to be set up, or use "
    "--executor local inside of a job of your own"
)

_OPTION = "#SBATCH "

_PERCENT = "\0"  # stands for a percent sign of the store's path while submitit writes its own; no path holds it

# What Slurm calls limits of jobs in the queue, as in `QOSMaxSubmitJobPerUserLimit`.
_TOO_MANY = ("submitlimit", "maxsubmit")


def check_cluster(slurm: Slurm) -> Cluster:
    """See that Slurm answers, keeps accounts and takes job arrays.

    Returns:
        The cluster.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: accounting is off, arrays are not allowed, or the environment names several clusters.
    """
    chosen_cluster(os.environ)  # for its checks
    # A cheap question each: what is missing is named before anything is written.
    for needed in ("sbatch", "squeue", "scancel"):
        slurm.ask(needed, "--version")
    cluster = read_cluster(slurm)
    kind = cluster.accounting
    if kind in ("", "(null)", "accounting_storage/none"):
        raise ConfigError(NO_ACCOUNTING.format(why=f"AccountingStorageType is {kind or 'not set'}"))
    try:
        # Of a job that need not exist: what matters is that the accounts answer.
        slurm.ask("sacct", *accounts_of(os.environ), "-n", "-P", "-X", "-o", "JobID", "-j", "1")
    except SlurmRefused as error:
        raise ConfigError(NO_ACCOUNTING.format(why=str(error))) from error
    if cluster.longest == 0:
        raise ConfigError("this cluster takes no job arrays (MaxArraySize is 0), and runs are submitted as such")
    return cluster


Partitions = tuple[dict[str, Partition], str | None]
"""Those of a cluster by name, and the name of the default one."""


def check_settings(slurm: Slurm, wanted: Iterable[SlurmSettings], known: Partitions | None = None) -> None:
    """See that some node of the partition could carry out such jobs.

    Args:
        slurm: whom to ask.
        wanted: the settings.
        known: the partitions; None: they are asked for.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: there is no such partition, none of its nodes is large enough, or sbatch would refuse.
    """
    partitions, default = known or ask_partitions(slurm)
    distinct = {settings.model_dump_json(): settings for settings in wanted}
    for settings in distinct.values():
        _check(settings, partitions, default)
        refuse_unless_taken(slurm, settings)


def _check(settings: SlurmSettings, partitions: dict[str, Partition], default: str | None) -> None:
    names = settings.partition.split(",") if settings.partition else [default] if default else []
    for name in names:
        if name not in partitions:
            raise ConfigError(f"--partition: {unknown('partition', name, partitions)}")
    if not names:
        raise ConfigError(f"--partition: this cluster has no default; name one of {', '.join(sorted(partitions))}")
    # Of several partitions Slurm takes the one that can start the job first, so one that is large enough will do.
    found = [partitions[name] for name in names]
    where = ", ".join(names)
    memory = megabytes(settings.mem) if settings.mem else 0
    largest = max(one.memory for one in found)
    if memory > largest:
        raise ConfigError(
            f"--mem {settings.mem}: the largest node of partition {where} has {largest} MB; ask for less, or for "
            "another partition"
        )
    for option, asked, most in (
        ("--cpus", settings.cpus or 0, max(one.cpus for one in found)),
        ("--gpus", settings.n_gpus, max(one.gpus for one in found)),
    ):
        if asked > most:
            what = option.removeprefix("--")
            raise ConfigError(f"{option} {asked}: no node of partition {where} has more than {most} {what}")


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


def refuse_unless_taken(slurm: Slurm, settings: SlurmSettings) -> None:
    """See that sbatch would take a job with such settings.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: it would not, and why.
    """
    # Only sbatch knows all rules of a site (limits of accounts, QOS, plugins): it is asked with a script like the real.
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


def run_sbatch(slurm: Slurm, script: str, folder: Path) -> tuple[str, str]:
    """Hand a script to sbatch.

    Returns:
        The id of the job, and the name of its cluster where sbatch says so.

    Raises:
        SlurmMissing, SlurmUnreachable: nobody knows whether it was submitted.
        SlurmRefused: it was not.
        StoreError: the store cannot be written.
    """
    path = folder / SCRIPT_FILE
    # In the store, where it can be read, and tried by hand, after the fact.
    write_bytes(path, script.encode())
    answer = slurm.answer("sbatch", "--parsable", *options_in(script), str(path))
    job_id, _, cluster = answer.out.strip().partition(";")
    if answer.code != 0 or not job_id.isdecimal():
        raise SlurmRefused(f"sbatch: {said(answer)}{_advice(said(answer))}")
    return job_id, cluster


def options_in(script: str) -> list[str]:
    """The options that a script states, for sbatch's command line: the environment outranks the script, not these."""
    rest = dropwhile(lambda line: not line.startswith(_OPTION), script.split("\n"))
    lines = takewhile(lambda line: line.startswith(_OPTION), rest)
    return [option for line in lines for option in shlex.split(line.removeprefix(_OPTION))]


def script_text(submission: Submission, settings: SlurmSettings, folder: Path, job_ids: dict[str, str]) -> str:
    """The batch script of a submission.

    Args:
        submission: what it carries out.
        settings: what its jobs ask for.
        folder: where its files lie.
        job_ids: the ids of the submissions that it comes after, by name.
    """
    refuse_unwritable(folder)
    writer = _writer(str(folder).replace("%", _PERCENT))
    writer.update_parameters(**_parameters(submission, settings, job_ids, folder))
    writer.parameters["map_count"] = len(submission.units)  # an array even of one, so that all jobs are named alike
    command = shlex.join(["-u", "-m", "spectral_bench.bench.executors.slurm.job", str(folder)])
    python = settings.python or shlex.quote(sys.executable)
    # Private, since submitit has no public way to the text of a script.
    text = str(writer._make_submission_file_text(f"{python} {command}", "0"))
    return text.replace(_PERCENT, "%%")  # which Slurm reads as one sign that stands for nothing


def _writer(folder: str) -> Any:
    """submitit's executor, which only writes scripts, so that they can be shown where there is no Slurm."""
    from submitit.slurm.slurm import SlurmExecutor  # with asyncio and ssl: of no use to a launch on this machine

    class Writer(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2

    return Writer(folder)


def _parameters(
    submission: Submission, settings: SlurmSettings, job_ids: dict[str, str], folder: Path
) -> dict[str, Any]:
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
    # Whatever the site has as default. Without the second, a job whose dependency failed would wait for ever.
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
