"""What Slurm knows of jobs: the queue first, as it knows of requeued ones, then the accounting."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spectral_bench.bench.executors.slurm.cluster import Slurm, SlurmRefused, accounts_of
from spectral_bench.bench.executors.slurm.submissions import JobKey
from spectral_bench.common.errors import UserError

_OVER = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY")
_GONE = ("PREEMPTED", "REVOKED", "TIMEOUT")
# Id of the array, index, name, state, reason, nodes: what `read_queue` takes apart.
_QUEUE_FORMAT = "%F|%K|%j|%T|%r|%N"
_ACCOUNT_FIELDS = "JobID,JobName,State,ExitCode,NodeList,Reason"
# Names or ids a question: command lines have a limit, and stores can have thousands of submissions.
_CHUNK = 200
# Of a job or, with a dot behind it, of a step: `7`, `7_3`, `7_[0-8:2,11%4]`, `7_3.batch`, `7.0`.
_ID = re.compile(r"(\d+)(?:\+\d+|_(\d+|\[.*))?(\.[^,\]]+)?")
_EXIT = re.compile(r"(\d+):(\d+)")
_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


@dataclass(frozen=True)
class SlurmJob:
    """One job of an array, as Slurm describes it.

    Attributes:
        job_id: of the array, digits only.
        state: in Slurm's words, without what follows the first one; empty where Slurm does not know the job.
        live: whether it waits or runs.
        reason: why it waits.
        exit_code: of its script.
        signal: that ended its script; 0 for none.
        nodes: where it runs or ran.
        memory_killed: whether one of its steps ran out of memory.
        by_user: whether it was cancelled at somebody's wish, and not by Slurm itself.
    """

    job_id: str
    state: str
    live: bool = False
    reason: str = ""
    exit_code: int = 0
    signal: int = 0
    nodes: str = ""
    memory_killed: bool = False
    by_user: bool = False

    @property
    def given_up(self) -> bool:
        """Whether Slurm itself cancelled it, as it does where a job that it must wait for has failed."""
        return self.state == "CANCELLED" and not self.by_user


@dataclass(frozen=True)
class ParsedJobs:
    """What one command printed of job arrays.

    Attributes:
        jobs: the jobs.
        unread: what could not be read, or not to its end; jobs may be missing then.
    """

    jobs: dict[JobKey, SlurmJob] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueueReport:
    """What Slurm said of the jobs that it was asked about.

    Attributes:
        jobs: what it knows.
        queue_error: why it could not be asked about the queue; empty where it could.
        accounting_error: why the accounting could not be asked; empty where it could.
    """

    jobs: Mapping[JobKey, SlurmJob] = field(default_factory=dict)
    queue_error: str = ""
    accounting_error: str = ""

    @property
    def error(self) -> str:
        """Why jobs may be missing from the report; empty where none are."""
        return self.queue_error or self.accounting_error


def ask(slurm: Slurm, arrays: Mapping[str, str | None]) -> QueueReport:
    """What Slurm knows of some job arrays. Never raises for a Slurm that is absent or does not answer.

    Args:
        slurm: whom to ask.
        arrays: name -> job id; None where a launcher died before it learnt the id.
    """
    if not arrays:
        return QueueReport()
    ended: dict[JobKey, SlurmJob] = {}
    accounting_error = ""
    try:
        ended, accounting_error = _ended(slurm, arrays)
    except UserError as error:
        accounting_error = str(error)
    try:
        # After the accounting: a job requeued in between is found in one of them at least.
        waiting = _queued(slurm, arrays)
    except UserError as error:
        return QueueReport(queue_error=str(error))
    # What waits or runs in the accounts alone has ended since, or was lost by a controller that died: nobody knows.
    over = {key: job for key, job in ended.items() if not job.live}
    return QueueReport({**over, **waiting}, accounting_error=accounting_error)


def _queued(slurm: Slurm, arrays: Mapping[str, str | None]) -> dict[JobKey, SlurmJob]:
    found: dict[JobKey, SlurmJob] = {}
    for names in _chunks(list(arrays)):
        # By name, which no two submissions share: ids start anew with a fresh cluster, and asked by user squeue passes
        # over those that this machine does not know, with exit code 0. -r: a line a job; -a: hidden partitions too.
        told = read_queue(slurm.ask("squeue", "-h", "-a", "-r", f"--name={','.join(names)}", "-o", _QUEUE_FORMAT))
        if told.unread:
            raise SlurmRefused(_cannot_read("squeue", told))
        found |= _of(arrays, told)
    return found


def _ended(slurm: Slurm, arrays: Mapping[str, str | None]) -> tuple[dict[JobKey, SlurmJob], str]:
    """The jobs in the accounts, and what is wrong with the answer."""
    found: dict[JobKey, SlurmJob] = {}
    wrong = ""
    ids = [job_id for job_id in arrays.values() if job_id is not None]
    nameless = [name for name, job_id in arrays.items() if job_id is None]
    questions: list[tuple[str, ...]] = [("-j", ",".join(chunk)) for chunk in _chunks(ids)]
    # No clock is trusted; and by name sacct shows one's own jobs only, unless asked for those of all.
    questions += [("-a", f"--name={','.join(chunk)}", "-S", "2000-01-01") for chunk in _chunks(nameless)]
    for question in questions:
        text = slurm.ask("sacct", *accounts_of(os.environ), "-n", "-P", "-o", _ACCOUNT_FIELDS, *question)
        told = read_accounts(text)
        found |= _of(arrays, told)
        wrong = wrong or (_cannot_read("sacct", told) if told.unread else "")
    return found, wrong


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _of(arrays: Mapping[str, str | None], told: ParsedJobs) -> dict[JobKey, SlurmJob]:
    # Name and id: a fresh cluster gives ids again, and then another job has one that was asked about.
    return {
        (name, index): job
        for (name, index), job in told.jobs.items()
        if name in arrays and arrays[name] in (None, job.job_id)
    }


def _cannot_read(command: str, told: ParsedJobs) -> str:
    return f"{command}: this line cannot be read to its end, so that jobs may be missing: {told.unread[0]}"


def read_queue(text: str) -> ParsedJobs:
    """The jobs in the output of squeue: array id, index, name, state, reason and nodes a line."""
    found: dict[JobKey, SlurmJob] = {}
    unread = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("CLUSTER:"):
            continue
        job_id, index, *name, state, reason, nodes = cells = _cells(line)
        listed, whole = indices("" if index == "N/A" else index)  # of a job without an array
        if not (whole and job_id.isdecimal() and all(cells[:4])):
            unread.append(line)
        job = SlurmJob(job_id, state, live=True, reason=reason, nodes=nodes)
        found |= {("|".join(name), one): job for one in listed}
    return ParsedJobs(found, tuple(unread))


def read_accounts(text: str) -> ParsedJobs:
    """The jobs in the output of sacct: id, name, state, exit code, nodes and reason a line, steps after their job.

    A job that is requeued, pending or running here counts as live; the queue knows better.
    """
    found: dict[JobKey, SlurmJob] = {}
    unread = []
    for line in filter(str.strip, text.splitlines()):
        full_id, *name, state, code, nodes, reason = _cells(line)
        match, exit_code = _ID.fullmatch(full_id), _EXIT.fullmatch(code)
        if match is None or exit_code is None:
            unread.append(line)
            continue
        listed, whole = indices(match[2] or "")
        unread += [] if whole else [line]
        # A step. Its death for want of memory is told of it alone: the job's own state may be another.
        if match[3]:
            if state == "OUT_OF_MEMORY":
                found |= _without_memory(found, match[1], listed)
        else:
            job = _job(match[1], state, exit_code, nodes, reason)
            found |= {("|".join(name), one): job for one in listed}
    return ParsedJobs(found, tuple(unread))


def _cells(line: str) -> list[str]:
    """Six cells of a line, or more where a name holds the very sign that divides them; empty ones where some lack."""
    cells = line.strip().split("|")
    return cells + [""] * (6 - len(cells))


def _job(job_id: str, state: str, code: re.Match[str], nodes: str, reason: str) -> SlurmJob:
    # Such as "CANCELLED by 1000".
    word, _, more = state.partition(" ")
    return SlurmJob(
        job_id=job_id,
        state=word,
        live=word not in (*_OVER, *_GONE),
        reason="" if reason == "None" else reason,
        exit_code=int(code[1]),
        signal=int(code[2]),
        nodes="" if nodes == "None assigned" else nodes,
        memory_killed=word == "OUT_OF_MEMORY",
        by_user=more.startswith("by "),
    )


def _without_memory(found: Mapping[JobKey, SlurmJob], job_id: str, listed: Sequence[int]) -> dict[JobKey, SlurmJob]:
    """The job that a step belongs to, which ran out of memory."""
    return {
        (name, index): replace(job, memory_killed=True)
        for (name, index), job in found.items()
        if index in listed and job.job_id == job_id
    }


def indices(text: str) -> tuple[list[int], bool]:
    """The indices of jobs in an array: ``4`` gives 4, ``[1-3,7%2]`` gives 1, 2, 3 and 7, ``[0-6:3]`` gives 0, 3 and 6.

    A list that Slurm has cut off, with ``...`` or without a closing bracket, ends before the index that is cut.

    Returns:
        The indices, and whether the whole of the text was read.
    """
    parts = text.strip("[]").partition("%")[0].split(",") if text else []
    cut = "..." in text or text.startswith("[") != text.endswith("]")
    if cut:
        parts.pop()
    matches = [_PART.fullmatch(part) for part in parts]
    found: list[int] = []
    for match in filter(None, matches):
        first = int(match[1])
        found += range(first, int(match[2] or first) + 1, int(match[3] or 1))
    return found, not cut and None not in matches


def plain_reason(reason: str) -> str:
    """A reason in small letters without signs: releases spell one with spaces, underscores or capitals."""
    return re.sub(r"[\W_]", "", reason).lower()
