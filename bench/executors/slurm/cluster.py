"""The cluster: how it is asked, what its refusals mean, and what it says of its limits.

What is around the launcher must change neither jobs nor answers: see ``command_environment``.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from spectral_bench.common.errors import ConfigError, UserError

TIMEOUT_S = 60.0

LONGEST_ARRAY = 1000  # Slurm's own default limit of an array is 1001; a site may have set less

# What it takes to reach the cluster: its configuration, a token, and which cluster of several is meant.
KEPT = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS")

_PREFIXES = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SACCTMGR_", "SINFO_", "SCANCEL_"),
    *("SCONTROL_", "SPRIO_", "SSHARE_", "SSTAT_", "SREPORT_", "SATTACH_", "SBCAST_", "SCRUN_", "STRIGGER_", "SDIAG_"),
)

_WHOLE_LISTS = {"SLURM_BITSTR_LEN": "0"}  # without it the indices of an array are cut off after 64 characters

# Parts of what Slurm's commands say where nobody answers, in small letters; all other failures are refusals.
_SILENT = (
    "unable to contact slurm controller",
    "unable to establish controller machine",
    "unable to establish configuration source",
    "connection refused",
    "connection timed out",
    "connection reset",
    "socket timed out",
    "zero bytes were transmitted",
    "transport endpoint is not connected",
    "no route to host",
    "communication connection failure",
    "persistinit msg",
    "munge",
    "unexpected message received",
    "controller not responding",
    "backup controller",
)


class SlurmMissing(ConfigError):
    """Slurm's commands are not on the path of this machine."""


class SlurmUnreachable(UserError):
    """Slurm's controller, or its accounting database, does not answer. Says nothing about any job."""


class SlurmRefused(UserError):
    """Slurm understood, and will not do it."""


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes:
        code: its exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str = ""
    err: str = ""


class Runner(Protocol):
    """Runs one of Slurm's commands."""

    def __call__(self, command: Sequence[str], /) -> Answer:
        """Run it to its end.

        Raises:
            FileNotFoundError: it is not on the path.
            TimeoutError: it did not end.
        """
        ...


class Slurm:
    """Slurm, as far as it is asked here.

    Args:
        runner: what runs its commands; None: this machine.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner or run_command

    def ask(self, *command: str) -> str:
        """The standard output of a command.

        Raises:
            SlurmMissing: the command is not on the path.
            SlurmUnreachable: Slurm does not answer.
            SlurmRefused: it said no.
        """
        answer = self.answer(*command)
        if answer.code != 0:
            raise SlurmRefused(f"{command[0]}: {said(answer)}")
        return answer.out

    def answer(self, *command: str) -> Answer:
        """What a command said, a refusal included.

        Raises:
            SlurmMissing, SlurmUnreachable: as for ``ask``.
        """
        try:
            answer = self._runner(command)
        except FileNotFoundError as error:
            raise SlurmMissing(
                f"no {command[0]} on the path: run this on a machine that can submit to Slurm (load the site's module "
                "where there is one), or use --executor local"
            ) from error
        except TimeoutError as error:
            raise SlurmUnreachable(f"{error}: Slurm is not reachable; try again later") from error
        # A refusal and silence have one exit code: what was said tells them apart.
        if answer.code != 0 and any(word in answer.err.lower() for word in _SILENT):
            raise SlurmUnreachable(f"{command[0]}: {said(answer)}: Slurm is not reachable; try again later")
        return answer


def said(answer: Answer) -> str:
    """What a command complained of, in one line."""
    lines = [line.strip() for line in (answer.err or answer.out).splitlines() if line.strip()]
    told = "; ".join(line.removeprefix("sbatch: error: ").removeprefix("sbatch: ") for line in lines)
    return told or f"exit code {answer.code}"


def run_command(command: Sequence[str], /) -> Answer:
    """Run a command of this machine for at most a minute, free of the variables of a surrounding job or profile."""
    environment = command_environment(command[0], os.environ)
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} did not answer within {TIMEOUT_S:g} s") from error
    return Answer(done.returncode, done.stdout, done.stderr)


def command_environment(command: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that one of Slurm's commands gets; what sbatch gets is the environment of the jobs too."""
    # Slurm takes an option from the command line first, then from a variable of the environment, then from the script.
    # Variables of a profile (SBATCH_TIMELIMIT, SQUEUE_STATES) or of a surrounding job (SLURM_MEM_PER_NODE) would
    # outrank what a submission says, and hide jobs from who asks for them.
    kept = {name: value for name, value in environ.items() if name in KEPT or not name.startswith(_PREFIXES)}
    return kept if command == "sbatch" else kept | _WHOLE_LISTS


def unheeded(environ: Mapping[str, str]) -> list[str]:
    """The settings of sbatch in an environment that jobs do not get."""
    return sorted(name for name in environ if name.startswith("SBATCH_"))


def accounts_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The option by which sacct asks for that cluster: unlike the others it does not heed ``SLURM_CLUSTERS``."""
    chosen = environ.get("SLURM_CLUSTERS")
    return ("-M", chosen) if chosen else ()


def chosen_cluster(environ: Mapping[str, str]) -> str | None:
    """The cluster that the environment names, of several that can be reached from here; None: the local one.

    Raises:
        ConfigError: it names several, or names one for sbatch alone.
    """
    chosen = environ.get("SLURM_CLUSTERS") or None
    for_sbatch = environ.get("SBATCH_CLUSTERS") or chosen
    if for_sbatch != chosen:
        raise ConfigError(
            f"SBATCH_CLUSTERS={for_sbatch}: sbatch alone heeds it, so that jobs could not be found again; set "
            f"SLURM_CLUSTERS={for_sbatch}"
        )
    if chosen is not None and ("," in chosen or chosen == "all"):
        raise ConfigError(f"SLURM_CLUSTERS={chosen}: expected the name of one cluster, on which all jobs are submitted")
    return chosen


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


def read_cluster(slurm: Slurm) -> Cluster:
    """The cluster that answers.

    Raises:
        SlurmMissing, SlurmUnreachable, SlurmRefused: as said.
    """
    config = read_config(slurm)
    return Cluster(
        name=config.get("ClusterName", ""),
        controller=config.get("SlurmctldHost[0]", ""),
        accounting=config.get("AccountingStorageType", ""),
        longest=_longest_array(config),
    )


def read_config(slurm: Slurm) -> dict[str, str]:
    """The configuration of the cluster that answers.

    Raises:
        SlurmMissing, SlurmUnreachable, SlurmRefused: as said.
    """
    told = slurm.ask("scontrol", "show", "config")
    return dict(re.findall(r"^(\w+(?:\[0\])?)\s*=\s*(.*?)\s*$", told, re.M))


def _longest_array(config: dict[str, str]) -> int:
    scheduler = config.get("SchedulerParameters", "")
    stated = [config.get("MaxArraySize", ""), *re.findall(r"(?:^|,)max_array_tasks=(\d+)", scheduler)]
    # Indices end one below MaxArraySize, and begin with 0; max_array_tasks counts the jobs, whatever their indices.
    return min([LONGEST_ARRAY, *(int(limit) for limit in stated if limit.isdecimal())])


@dataclass(frozen=True)
class Partition:
    """A partition: each of its nodes' figures at its largest, and its rules.

    Attributes:
        name: of the partition.
        cpus: processors of a node.
        memory: MB of a node.
        gpus: of a node.
        minutes: the longest time limit of a job; None: any.
        nodes: how many there are; 0 where that was not asked.
        state: ``UP``, ``DOWN``, ``DRAIN`` or ``INACTIVE``; empty where that was not asked.
        default_minutes: of a job that states no time limit; None: the longest.
        default_mem: memory of a job that states none, in words; empty: all of a node.
        most_mem: MB that a job may ask for on a node; None: all of it.
    """

    name: str
    cpus: int = 0
    memory: int = 0
    gpus: int = 0
    minutes: int | None = None
    nodes: int = 0
    state: str = ""
    default_minutes: int | None = None
    default_mem: str = ""
    most_mem: int | None = None


def ask_partitions(slurm: Slurm) -> tuple[dict[str, Partition], str | None]:
    """The partitions by name, hidden ones too, as sbatch takes them; and the name of the default one.

    Raises:
        SlurmMissing, SlurmUnreachable, SlurmRefused: as said.
    """
    return read_partitions(slurm.ask("sinfo", "-a", "-h", "-N", "-o", "%P|%c|%m|%G"))


def ask_rules(slurm: Slurm, partitions: Mapping[str, Partition]) -> dict[str, Partition]:
    """The same partitions with their rules: state, times and memory.

    Raises:
        SlurmMissing, SlurmUnreachable, SlurmRefused: as said.
    """
    told = read_rules(slurm.ask("scontrol", "show", "partition", "-a", "-o"))
    config = read_config(slurm)
    return {name: _with_rules(one, told.get(name, {}), config) for name, one in partitions.items()}


def read_rules(text: str) -> dict[str, dict[str, str]]:
    """The rules of each partition in the output of ``scontrol show partition -o``, a partition a line."""
    rules = (dict(re.findall(r"(\w+)=(\S+)", line)) for line in text.splitlines())
    return {one["PartitionName"]: one for one in rules if "PartitionName" in one}


def _with_rules(partition: Partition, rules: Mapping[str, str], config: Mapping[str, str]) -> Partition:
    default = _memory_rule("DefMem", rules) or _memory_rule("DefMem", config)
    return replace(
        partition,
        minutes=minutes_of(rules.get("MaxTime", "")),
        default_minutes=minutes_of(rules.get("DefaultTime", "")),
        nodes=int(rules.get("TotalNodes", "0")) if rules.get("TotalNodes", "0").isdecimal() else 0,
        state=rules.get("State", ""),
        default_mem=" a ".join(default) if default else "",
        most_mem=_most_memory(partition, rules) or _most_memory(partition, config),
    )


def _memory_rule(name: str, rules: Mapping[str, str]) -> tuple[str, str] | None:
    """A rule of memory, as ``DefMemPerCPU`` or ``DefMemPerNode``: ``128 MB`` and of what; None where there is none."""
    for key, what in (("PerCPU", "processor"), ("PerNode", "node")):
        value = rules.get(name + key, "")
        if value.isdecimal() and int(value):
            return f"{value} MB", what
    return None


def _most_memory(partition: Partition, rules: Mapping[str, str]) -> int | None:
    # A limit a processor is none: Slurm gives a job more processors where it asks for more memory.
    found = _memory_rule("MaxMem", rules)
    return int(found[0].removesuffix(" MB")) if found is not None and found[1] == "node" else None


def minutes_of(text: str) -> int | None:
    """Whole minutes of a time as Slurm prints it; None for none, such as ``UNLIMITED``."""
    seconds = seconds_of(text)
    return None if seconds is None else int(seconds // 60)


def seconds_of(text: str) -> float | None:
    """A duration as squeue prints it, ``[days-][hours:]minutes:seconds``; None for none, such as ``UNLIMITED``."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def read_partitions(text: str) -> tuple[dict[str, Partition], str | None]:
    """The partitions in the output of sinfo, a node a line: partition (``*`` at the default one), processors, MB, gres.

    Returns:
        Partitions by name, and the name of the default one.
    """
    found: dict[str, Partition] = {}
    default = None
    for line in text.splitlines():
        cells = line.strip().split("|")
        if len(cells) != 4:  # a heading, or a warning of a plugin
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
