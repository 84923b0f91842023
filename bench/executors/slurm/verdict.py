"""Why a run of a Slurm job has no record: what Slurm says of the job, told in the words of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.executors.slurm.queue import Element, plain_reason
from spectral_bench.bench.progress import tail
from spectral_bench.bench.worker import ExitCode
from spectral_bench.results.record import Failure

_MEMORY_WORDS = ("exceeded memory limit", "oom-kill", "oom_kill", "out of memory", "out_of_memory")
_NO_OUTPUT = 53
"""Slurm's code for a job whose output files it could not open on the node."""
NOT_FOUND = (126, 127)
"""Exit codes of a shell that could not start a program."""
_NO_PROGRAM = "execve()"
"""What srun says of a program that it could not start; it leaves with 2 then."""
_NEVER = plain_reason("DependencyNeverSatisfied")
NOT_SEEN = "this node does not see the store"
"""What a task says that does not find its submission."""


@dataclass(frozen=True)
class Job:
    """What is known of a Slurm job that is over.

    Attributes:
        element: what Slurm says.
        index: of the job in its array.
        store: the store's folder.
        began: whether the job left a trace in the store.
        cancelled: whether it was cancelled by way of ``bench cancel``.
        lacking: jobs that it was to wait for and that did not succeed.
        output: the files with what Slurm and the job said.
        minutes: its time limit.
    """

    element: Element
    index: int
    store: Path
    began: bool = True
    cancelled: bool = False
    lacking: Sequence[str] = ()
    output: Sequence[Path] = ()
    minutes: int | None = None

    @property
    def name(self) -> str:
        """How Slurm calls it."""
        return f"{self.element.job_id}_{self.index}"


def failure_of_job(job: Job) -> Failure:
    """Why a run that the job should have carried out has no record."""
    element = job.element
    said = "\n".join(filter(None, (tail(path) for path in job.output)))
    where = f" on {element.nodes}" if element.nodes else ""
    kind, message = _why(job, said.lower(), f"job {job.name}{where}")
    return Failure(kind=kind, message=message, log_tail=said)


def blames_all(failure: Failure) -> bool:
    """Whether what ended a job holds for all of its runs, and not only for the one that was at work."""
    return failure.kind in ("cancelled", "dependency")


def _why(job: Job, said: str, name: str) -> tuple[str, str]:
    element = job.element
    state = element.state
    if job.cancelled:
        return "cancelled", f"{name} was cancelled by bench cancel"
    if element.memory_killed or state == "OUT_OF_MEMORY" or (state != "COMPLETED" and _told_of_memory(said)):
        return "out_of_memory", f"{name} needed more memory than it may have; ask for more with --mem"
    if state in ("TIMEOUT", "DEADLINE"):
        limit = f" of {job.minutes} min" if job.minutes else ""
        return "time_limit", f"{name} was ended at its time limit{limit} and had not saved; ask for more with --time"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return "node_failure", f"{name} lost its node, and Slurm did not start it again; bench retry does"
    if state == "PREEMPTED":
        return "preempted", f"{name} was preempted, and Slurm did not start it again; bench retry does"
    if state == "CANCELLED" or plain_reason(element.reason) == _NEVER:
        if job.lacking:
            return "dependency", f"{name} needs {', '.join(job.lacking)}, which did not succeed"
        return "cancelled", f"{name} was cancelled outside of bench"
    return _broke_off(job, said, name)


def _broke_off(job: Job, said: str, name: str) -> tuple[str, str]:
    element = job.element
    if not job.began and NOT_SEEN in said:
        return "store", f"{name} could not see {job.store}; put --out on a file system that all nodes share"
    if not job.began and (element.exit_code in NOT_FOUND or _NO_PROGRAM in said):
        return "setup", f"{name} could not start Python; name its environment with --setup or --python"
    if not job.began and (element.signal == _NO_OUTPUT or element.exit_code == _NO_OUTPUT or not job.output):
        return "store", (
            f"{name} left no trace in {job.store}: that node cannot see the store; put --out on a file system that all "
            "nodes share"
        )
    if element.exit_code == ExitCode.STORE:
        last = next(iter(tail(job.output[-1], lines=1).splitlines()), "") if job.output else ""
        return "store", f"{name} could not read or write the store: {last.partition('error: ')[2] or 'see its log'}"
    how = f"by signal {element.signal}" if element.signal else f"with exit code {element.exit_code}"
    when = "without a record" if job.began else "before it began"
    return "killed", f"{name} ended ({element.state.lower()}) {how} {when}"


def _told_of_memory(said: str) -> bool:
    return any(words in said for words in _MEMORY_WORDS)
