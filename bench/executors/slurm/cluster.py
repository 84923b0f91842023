"""Which cluster answers and what it allows, and who asks it."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

from spectral_bench.bench.executors.slurm.commands import Slurm

LONGEST_ARRAY = 1000
"""Slurm's own default limit of an array is 1001; a site may have set less."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, as far as it is of interest here.

    Attributes:
        name: of the cluster; several sites may have one of the same name.
        controller: its (first) controller's host.
        accounting: the plugin that keeps accounts; empty where none is named.
        longest: jobs that one array may have; 0 where arrays are not allowed.
    """

    name: str = ""
    controller: str = ""
    accounting: str = ""
    longest: int = LONGEST_ARRAY


@dataclass(frozen=True)
class User:
    """A user of this machine, by what the kernel says and not by ``LOGNAME``."""

    uid: int
    name: str


def this_user() -> User:
    """The user whose process this is; the number stands for the name where the machine knows none."""
    uid = os.getuid()
    try:
        return User(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return User(uid, str(uid))


def read_cluster(slurm: Slurm) -> Cluster:
    """The cluster that answers.

    Raises:
        SlurmMissing, SlurmUnreachable, SlurmRefused: as said.
    """
    told = slurm.ask("scontrol", "show", "config")
    config: dict[str, str] = dict(re.findall(r"^(\w+(?:\[0\])?)\s*=\s*(.*?)\s*$", told, re.M))
    return Cluster(
        name=config.get("ClusterName", ""),
        controller=config.get("SlurmctldHost[0]", ""),
        accounting=config.get("AccountingStorageType", ""),
        longest=_longest_array(config),
    )


def _longest_array(config: dict[str, str]) -> int:
    """Indices end one below ``MaxArraySize``; ``max_array_tasks`` counts the jobs, whatever their indices."""
    scheduler = config.get("SchedulerParameters", "")
    stated = [config.get("MaxArraySize", ""), *re.findall(r"(?:^|,)max_array_tasks=(\d+)", scheduler)]
    return min([LONGEST_ARRAY, *(int(limit) for limit in stated if limit.isdecimal())])


@dataclass(frozen=True)
class Partition:
    """The nodes of a partition, each at its largest: processors, MB of memory, GPUs."""

    name: str
    cpus: int = 0
    memory: int = 0
    gpus: int = 0


def ask_partitions(slurm: Slurm) -> tuple[dict[str, Partition], str | None]:
    """The partitions by name, hidden ones too, as sbatch takes them; and the name of the default one.

    Raises:
        SlurmMissing, SlurmUnreachable, SlurmRefused: as said.
    """
    return read_partitions(slurm.ask("sinfo", "-a", "-h", "-N", "-o", "%P|%c|%m|%G"))


def read_partitions(text: str) -> tuple[dict[str, Partition], str | None]:
    """The partitions in the output of sinfo, a node a line: partition (``*`` at the default one), processors, MB, gres.

    Returns:
        Partitions by name, and the name of the default one.
    """
    found: dict[str, Partition] = {}
    default = None
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) != 4:
            continue
        name = cells[0].rstrip("*")
        default = name if cells[0].endswith("*") else default
        known = found.get(name, Partition(name))
        cpus, memory = (int(re.sub(r"\D", "", cell) or 0) for cell in cells[1:3])
        most = max(known.cpus, cpus), max(known.memory, memory), max(known.gpus, _gpus(cells[3]))
        found[name] = Partition(name, *most)
    return found, default


def _gpus(gres: str) -> int:
    """GPUs in a list of generic resources such as ``gpu:a100:4(S:0-1),shard:8``."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu:(?:[^:,()]+:)?(\d+)", gres))
