"""``bench doctor --cluster``: what the partitions of a cluster allow, and what a grid would ask of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from spectral_bench.bench.cli.options import find_store
from spectral_bench.bench.cli.output import say, show_json, show_table, tell
from spectral_bench.bench.cli.run import planned_cohorts
from spectral_bench.bench.cli.slurm import SlurmLaunch, check_methods
from spectral_bench.bench.executors.slurm.cluster import Cluster, Partition
from spectral_bench.bench.executors.slurm.script import Partitions
from spectral_bench.bench.grid.keys import ExecutorBlock, SlurmSettings
from spectral_bench.bench.grid.load import Grid, load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.errors import UserError
from spectral_bench.common.names import duration, how_many
from spectral_bench.results.store import Store


@dataclass(frozen=True)
class Ask:
    """What the jobs of a grid that ask for the same would ask of a partition.

    Attributes:
        partition: its name.
        jobs: how many there are.
        runs: that they carry out.
        what: methods, and ``features`` for what extracts them.
        mem, time, cpus, gpus: of each job; None where nobody says it.
        why_not: why the cluster would not take such a job; empty where it would.
    """

    partition: str
    jobs: int
    runs: int
    what: tuple[str, ...]
    mem: str | None
    time: str
    cpus: int | None
    gpus: int
    why_not: str


def show_cluster(grid: Path | None, out: Path, roots: tuple[Path, ...], *, as_json: bool) -> int:
    """Print what the cluster offers; exit code 1 where none answers, or no partition takes all jobs of the grid.

    Args:
        grid: a grid that could be submitted; None: only what there is.
        out: the folder of its store.
        roots: where data sets lie.
        as_json: print JSON.
    """
    loaded = None if grid is None else load_grid(grid, ())
    plan = None if loaded is None else make_plan(loaded, find_store(out), out)
    block = ExecutorBlock() if loaded is None else loaded.executor
    if loaded is not None and plan is not None:
        check_methods(block, {run.spec.method for run in plan.runs})
    try:
        cluster, known = SlurmLaunch(block, SlurmSettings(), wait=False).executor(Store(out)).learn()
        asks = [] if plan is None else [one for name in known[0] for one in _asks(plan, block, name, roots)]
    except UserError as error:  # no Slurm, a silent one, or one that keeps no accounts
        if as_json:
            show_json({"cluster": None, "error": str(error), "partitions": [], "asks": []})
        else:
            say(f"no cluster to submit to: {error}")
        return 1
    if as_json:
        partitions = [{**asdict(one), "default": one.name == known[1]} for one in known[0].values()]
        show_json({"cluster": asdict(cluster), "partitions": partitions, "asks": [asdict(one) for one in asks]})
    else:
        _show(cluster, known)
        if loaded is not None:
            _show_asks(loaded, asks)
    fits = {name: [not one.why_not for one in asks if one.partition == name] for name in known[0]}
    return 0 if not asks or any(all(found) for found in fits.values()) else 1


def _asks(plan: Plan, block: ExecutorBlock, partition: str, roots: tuple[Path, ...]) -> list[Ask]:
    """What a plan would ask of a partition if all of it was submitted there."""
    launch = SlurmLaunch(block, SlurmSettings(partition=partition), wait=False)
    executor = launch.executor(Store(plan.store))
    executor.learn()
    methods = {run.run_id: run.spec.method for run in plan.unfinished}
    found: dict[Ask, Ask] = {}
    for array in launch.arrays(plan, Execution(executor="slurm"), roots, planned_cohorts(plan, "slurm", 1, launch)):
        names = [job.run_id for unit in array.units for job in unit]
        asked = array.settings
        none = Ask(
            partition,
            jobs=0,
            runs=0,
            what=tuple(dict.fromkeys(methods.get(name, "features") for name in names)),
            mem=asked.mem,
            time=asked.time,
            cpus=asked.cpus,
            gpus=asked.n_gpus,
            why_not=executor.refusal(asked),
        )
        # Arrays that differ in what they wait for alone ask for the same.
        known = found.get(none, none)
        runs = known.runs + sum(name in methods for name in names)
        found[none] = replace(known, jobs=known.jobs + len(array.units), runs=runs)
    return list(found.values())


def _show(cluster: Cluster, known: Partitions) -> None:
    partitions, default = known
    where = f", controller {cluster.controller}" if cluster.controller else ""
    count = how_many(len(partitions), "partition")
    say(f"cluster {cluster.name or 'without a name'}{where}: {count}, arrays of up to {cluster.longest} jobs\n")
    columns = ("partition", "state", "nodes", "cpus", "GPUs", "memory", "most", "default", "longest", "given")
    show_table(columns, [_row(one, default) for one in partitions.values()], right=("nodes", "cpus", "GPUs"))
    tell(
        "\ncpus, GPUs, memory: of the largest node; most: memory that a job may ask for; default: memory of a job that "
        "states none; longest: time limit; given: that of a job that states none; *: where jobs go by themselves"
    )


def _row(one: Partition, default: str | None) -> tuple[str, ...]:
    name = f"{one.name} *" if one.name == default else one.name
    longest = "any" if one.minutes is None else duration(60 * one.minutes)
    unstated = longest if one.default_minutes is None else duration(60 * one.default_minutes)
    most = one.memory if one.most_mem is None else min(one.memory, one.most_mem)
    counts = (str(one.nodes), str(one.cpus), str(one.gpus))
    default_mem = one.default_mem.replace(" MB a processor", "M/cpu").replace(" MB a node", "M") or "all"
    return name, one.state, *counts, f"{one.memory}M", f"{most}M", default_mem, longest, unstated


def _show_asks(grid: Grid, asks: Sequence[Ask]) -> None:
    if not asks:
        say(f"\n{grid.name}: nothing to submit: all runs are done, or in the queue")
        return
    say(f"\n{grid.name}, if all of it was submitted to one partition:\n")
    rows = [
        (
            *(one.partition, str(one.jobs), str(one.runs), ", ".join(one.what), one.mem or "-", one.time),
            *(str(one.cpus or "-"), str(one.gpus or "-"), "yes" if not one.why_not else f"no: {one.why_not}"),
        )
        for one in asks
    ]
    columns = ("partition", "jobs", "runs", "of", "memory", "time", "cpus", "GPUs", "fits")
    show_table(columns, rows, right=("jobs", "runs", "cpus", "GPUs"), footnotes="fits")
