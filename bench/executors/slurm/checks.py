"""What is checked before anything is submitted."""

from __future__ import annotations

import os
from collections.abc import Iterable

from spectral_bench.bench.executors.slurm.cluster import Cluster, Partition, ask_partitions, read_cluster
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
