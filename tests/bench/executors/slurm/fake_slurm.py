"""A Slurm that is a dictionary: it takes jobs, and tests say what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spectral_bench.bench.executors.slurm.cluster import Answer

NODES = "debug*|4|8000|(null)\nlow|4|8000|(null)\ngpu|8|16000|gpu:a100:2(S:0-1)\n"
HIDDEN = "quiet|4|8000|(null)\n"


@dataclass
class FakeJob:
    """One job of an array."""

    job_id: str
    index: int
    name: str
    script: str
    state: str = "PENDING"
    code: str = "0:0"
    reason: str = "None"
    nodes: str = ""
    steps: tuple[str, ...] = ()


@dataclass
class FakeSlurm:
    """Answers like Slurm's commands."""

    jobs: list[FakeJob] = field(default_factory=list)
    commands: list[tuple[str, ...]] = field(default_factory=list)
    refuse: str = ""
    unreachable: bool = False
    no_accounting: bool = False
    accounting: str = "accounting_storage/slurmdbd"
    limits: str = "4:00:00 N/A"
    private: bool = False
    cluster: str = "fake"
    host: str = "head1"
    longest: int = 1001
    scheduler: str = "bf_interval=2"
    rules: str = ""
    next_id: int = 100

    def __call__(self, command: Sequence[str], /) -> Answer:
        self.commands.append(tuple(command))
        answer: Callable[[Sequence[str]], Answer] = getattr(self, command[0])
        if command[1:] == ("--version",):
            return Answer(0, "slurm-wlm 22.05.8\n")
        if self.unreachable:
            return Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
        return answer(command[1:])

    def sbatch(self, given: Sequence[str]) -> Answer:
        script = Path(given[-1]).read_text()
        if self.refuse:
            return Answer(1, "", f"sbatch: error: {self.refuse}\n")
        if "--test-only" in given:
            return Answer(0, "", "sbatch: Job 1 to start at 2026-01-01T00:00:00\n")
        job_id, self.next_id = str(self.next_id), self.next_id + 1
        last = int(one[1]) if (one := re.search(r"--array=0-(\d+)", script)) else 0
        name = one[1] if (one := re.search(r"--job-name=(\S+)", script)) else ""
        self.jobs += [FakeJob(job_id, index, name, script) for index in range(last + 1)]
        return Answer(0, f"{job_id}\n")

    def squeue(self, given: Sequence[str]) -> Answer:
        if "-O" in given:
            return Answer(0, self.limits)
        if self.private:
            return Answer(0)
        names = next(one.removeprefix("--name=") for one in given if one.startswith("--name=")).split(",")
        live = [job for job in self.jobs if job.name in names and job.state in ("PENDING", "RUNNING", "COMPLETING")]
        rows = (f"{one.job_id}|{one.index}|{one.name}|{one.state}|{one.reason}|{one.nodes}\n" for one in live)
        return Answer(0, "".join(rows))

    def sacct(self, given: Sequence[str]) -> Answer:
        if self.no_accounting:
            return Answer(1, "", "sacct: error: slurm_persist_conn_open: Connection refused\n")
        if self.accounting == "accounting_storage/none":
            return Answer(1, "", "Slurm accounting storage is disabled\n")
        if self.private:
            return Answer(0)
        rows: list[str] = []
        for job in self.jobs:
            name = f"{job.job_id}_{job.index}"
            rows.append(f"{name}|{job.name}|{job.state}|{job.code}|{job.nodes or 'None assigned'}|{job.reason}\n")
            rows += [f"{name}.{number}|step|{state}|0:0|{job.nodes}|\n" for number, state in enumerate(job.steps)]
        return Answer(0, "".join(rows))

    def scontrol(self, given: Sequence[str]) -> Answer:
        if given[0] in ("requeue", "release"):
            return Answer(0)
        if "partition" in given:
            return Answer(0, self.rules)
        told = {
            "AccountingStorageType": self.accounting,
            "ClusterName": self.cluster,
            "MaxArraySize": self.longest,
            "SchedulerParameters": self.scheduler,
            "SlurmctldHost[0]": self.host,
        }
        lines = (f"{name:<24}= {value}\n" for name, value in told.items())
        return Answer(0, "Configuration data as of now\n" + "".join(lines))

    def sinfo(self, given: Sequence[str]) -> Answer:
        return Answer(0, NODES + (HIDDEN if "-a" in given else ""))

    def scancel(self, given: Sequence[str]) -> Answer:
        for job in self.jobs:
            if f"{job.job_id}_{job.index}" in given and job.state in ("PENDING", "RUNNING"):
                job.state = "CANCELLED by 0"
        return Answer(0)

    def asked(self, command: str) -> list[tuple[str, ...]]:
        """The calls of a command."""
        return [call for call in self.commands if call[0] == command and "--version" not in call]

    def submitted(self) -> list[tuple[str, ...]]:
        """The calls of sbatch that submitted."""
        return [call for call in self.asked("sbatch") if "--parsable" in call]
