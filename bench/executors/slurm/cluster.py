"""Which cluster answers and what it allows, and who asks it."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

from spectral_bench.bench.executors.slurm.commands import Slurm
from spectral_bench.bench.executors.slurm.packing import LONGEST_ARRAY


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
