"""What is checked before anything is submitted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from spectral_bench.bench.executors.slurm.cluster import Cluster, read_cluster
from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused
from spectral_bench.bench.executors.slurm.script import refuse_unless_taken
from spectral_bench.bench.executors.slurm.surroundings import accounts_of, chosen_cluster
from spectral_bench.bench.grid.executor import SlurmSettings, megabytes
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

NO_ACCOUNTING = (
    "Slurm keeps no accounts here ({why}), so nobody could tell how a job ended; ask for slurmdbd to be set up, or use "
    "--executor local inside of a job of your own"
)


@dataclass(frozen=True)
class Partition:
    """The nodes of a partition, each at its largest: processors, MB of memory, GPUs."""

    name: str
    cpus: int = 0
    memory: int = 0
    gpus: int = 0


def check_cluster(slurm: Slurm) -> Cluster:
    """See that Slurm answers, keeps accounts and takes job arrays.

    Returns:
        The cluster.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: accounting is off, arrays are not allowed, or the environment names several clusters.
    """
    chosen_cluster(os.environ)  # for its checks
    for needed in ("sbatch", "squeue", "scancel"):
        slurm.ask(needed, "--version")
    cluster = read_cluster(slurm)
    kind = cluster.accounting
    if kind in ("", "(null)", "accounting_storage/none"):
        raise ConfigError(NO_ACCOUNTING.format(why=f"AccountingStorageType is {kind or 'not set'}"))
    try:
        slurm.ask("sacct", *accounts_of(os.environ), "-n", "-P", "-X", "-o", "JobID", "-j", "1")
    except SlurmRefused as error:
        raise ConfigError(NO_ACCOUNTING.format(why=str(error))) from error
    if cluster.longest == 0:
        raise ConfigError("this cluster takes no job arrays (MaxArraySize is 0), and runs are submitted as such")
    return cluster


def check_settings(slurm: Slurm, wanted: Iterable[SlurmSettings]) -> None:
    """See that some node of the partition could carry out such jobs.

    Raises:
        SlurmMissing, SlurmUnreachable: as said.
        ConfigError: there is no such partition, none of its nodes is large enough, or sbatch would refuse.
    """
    partitions, default = ask_partitions(slurm)
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
