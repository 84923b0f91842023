"""What Slurm knows of jobs: the queue first, as it knows of requeued ones, then the accounting."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused, SlurmUnreachable

ElementId = tuple[str, int]
"""Name of a job array, and the index of one of its jobs."""

_OVER = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY")
_GONE = ("PREEMPTED", "REVOKED", "TIMEOUT")
_QUEUE_FORMAT = "%F|%K|%j|%T|%r|%N"
_ACCOUNT_FIELDS = "JobID,JobName,State,ExitCode,NodeList,Reason"
_CHUNK = 200


@dataclass(frozen=True)
class Element:
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
class Known:
    """What Slurm said of the jobs that it was asked about.

    Attributes:
        elements: what it knows.
        silent: why it could not be asked about the queue; empty where it could.
        forgetful: why the accounting could not be asked; empty where it could.
    """

    elements: Mapping[ElementId, Element] = field(default_factory=dict)
    silent: str = ""
    forgetful: str = ""


def ask(slurm: Slurm, jobs: Mapping[str, str | None], users: Iterable[str]) -> Known:
    """What Slurm knows of some job arrays. Never raises for a Slurm that is absent or does not answer.

    Jobs are told by their names, which no two submissions share: ids start anew with a fresh cluster.

    Args:
        slurm: whom to ask.
        jobs: name -> job id; None where a launcher died before it learnt the id.
        users: who submitted them.
    """
    if not jobs:
        return Known()
    ended: dict[ElementId, Element] = {}
    forgetful = ""
    try:
        ended = _ended(slurm, jobs)
    except (SlurmUnreachable, SlurmRefused) as error:
        forgetful = str(error)
    try:
        # After the accounting: a job requeued in between is found in one of them at least.
        waiting = _queued(slurm, jobs, users)
    except (SlurmUnreachable, SlurmRefused) as error:
        return Known(silent=str(error))
    # What waits or runs in the accounts alone has ended since, or was lost by a controller that died: nobody knows.
    over = {key: element for key, element in ended.items() if not element.live}
    return Known({**over, **waiting}, forgetful=forgetful)


def _queued(slurm: Slurm, jobs: Mapping[str, str | None], users: Iterable[str]) -> dict[ElementId, Element]:
    text = slurm.ask("squeue", "-h", "-a", "-r", "-u", ",".join(sorted(set(users))), "-o", _QUEUE_FORMAT)
    return {key: element for key, element in read_queue(text) if _is_ours(key, element, jobs)}


def _ended(slurm: Slurm, jobs: Mapping[str, str | None]) -> dict[ElementId, Element]:
    found: dict[ElementId, Element] = {}
    ids = [job_id for job_id in jobs.values() if job_id is not None]
    nameless = [name for name, job_id in jobs.items() if job_id is None]
    chunks = (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
    questions: list[tuple[str, ...]] = [("-j", ",".join(chunk)) for chunk in chunks]
    if nameless:
        questions.append((f"--name={','.join(nameless)}", "-S", "2000-01-01"))  # no clock is trusted
    for question in questions:
        text = slurm.ask("sacct", "-n", "-P", "-o", _ACCOUNT_FIELDS, *question)
        found |= {key: element for key, element in read_accounts(text) if _is_ours(key, element, jobs)}
    return found


def _is_ours(key: ElementId, element: Element, jobs: Mapping[str, str | None]) -> bool:
    name = key[0]
    return name in jobs and jobs[name] in (None, element.job_id)


def read_queue(text: str) -> Iterator[tuple[ElementId, Element]]:
    """The jobs in the output of squeue: array id, index, name, state, reason and nodes a line."""
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) == 6 and cells[0].isdecimal() and cells[1].isdecimal():
            job_id, index, name, state, reason, nodes = cells
            yield (name, int(index)), Element(job_id, state, live=True, reason=reason, nodes=nodes)


def read_accounts(text: str) -> Iterator[tuple[ElementId, Element]]:
    """The jobs in the output of sacct: id, name, state, exit code, nodes and reason a line, steps after their job.

    A job that is requeued, pending or running here counts as live; the queue knows better.
    """
    found: dict[str, tuple[str, Element]] = {}
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) != 6:
            continue
        job_id, name, state, code, nodes, reason = cells
        whole, dot, _ = job_id.partition(".")
        state, _, more = state.partition(" ")
        if dot:
            if state == "OUT_OF_MEMORY" and whole in found:
                found[whole] = (found[whole][0], replace(found[whole][1], memory_killed=True))
            continue
        exit_code, _, signal = code.partition(":")
        element = Element(
            job_id=whole.partition("_")[0],
            state=state,
            live=state not in (*_OVER, *_GONE),
            reason="" if reason == "None" else reason,
            exit_code=int(exit_code or 0),
            signal=int(signal or 0),
            nodes="" if nodes == "None assigned" else nodes,
            memory_killed=state == "OUT_OF_MEMORY",
            by_user=more.startswith("by "),
        )
        found[whole] = (name, element)
    for job_id, (name, element) in found.items():
        for index in indices(job_id.partition("_")[2]):
            yield (name, index), element


def indices(text: str) -> list[int]:
    """The indices of a job in an array: ``4`` gives 4, ``[1-3,7%2]`` gives 1, 2, 3 and 7, nothing gives none."""
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is not None:
            first = int(match[1])
            found += range(first, int(match[2] or first) + 1, int(match[3] or 1))
    return found
