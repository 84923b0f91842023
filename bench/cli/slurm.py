"""The options of Slurm jobs, what ``bench run`` and ``retry`` do with them, and ``bench cancel``."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import socket
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import ValidationError

from spectral_bench.bench.cli.launch import job_of
from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Out, RunNames, chosen_runs
from spectral_bench.bench.cli.output import say, warn
from spectral_bench.bench.executors.slurm.cluster import unheeded
from spectral_bench.bench.executors.slurm.executor import SlurmExecutor
from spectral_bench.bench.executors.slurm.executor import cancel as cancel_jobs
from spectral_bench.bench.executors.slurm.resources import MARGINS, asked_in_words
from spectral_bench.bench.executors.slurm.submit import Array
from spectral_bench.bench.grid.keys import ExecutorBlock, SlurmSettings
from spectral_bench.bench.plan.states import Plan, plan_orders
from spectral_bench.bench.work.order import STOP_FILE, Execution
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import how_many, unknown
from spectral_bench.methods.registry import names
from spectral_bench.results.record import COHORT
from spectral_bench.results.store import Store

GROUP = "Slurm"
_ELSEWHERE = ("gpus",)  # fields whose option the command has already, for other executors

Wait = Annotated[bool, typer.Option("--wait", help="Come back only when all runs have ended.", rich_help_panel=GROUP)]
PrintSbatch = Annotated[
    bool,
    typer.Option("--print-sbatch", help="Show what would be submitted, and do nothing.", rich_help_panel=GROUP),
]


def slurm_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of Slurm jobs; it gets what was stated as its parameter ``slurm``."""
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "slurm"
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name))
        for name in SlurmSettings.model_fields
        if name not in _ELSEWHERE
    ]

    @functools.wraps(command)
    def wrapper(**given: Any) -> int:
        stated = {parameter.name: given.pop(parameter.name) for parameter in added}
        return command(**given, slurm=stated_settings(stated))

    signature = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *added]])
    wrapper.__dict__["__signature__"] = signature
    wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *added]} | {"return": int}
    del wrapper.__dict__["__wrapped__"]  # the signature is that of the wrapper
    return wrapper


def stated_settings(stated: Mapping[str, Any]) -> SlurmSettings:
    """The settings that a command line states; what it does not state is None.

    Raises:
        ConfigError: a value is not valid; one line each.
    """
    values = {name: value for name, value in stated.items() if value not in (None, [], ())}
    if "sbatch" in values:
        values["sbatch"] = dict(map(_pair, values["sbatch"]))
    try:
        return SlurmSettings.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise ConfigError("\n".join(f"{_option(str(one['loc'][0]))}: {_message(one)}" for one in problems)) from error


def refuse_slurm_options(stated: SlurmSettings, executor: str, **flags: bool) -> None:
    """Refuse options of Slurm jobs where none is going to be submitted.

    Args:
        stated: the settings of the command line.
        executor: what carries out the runs.
        flags: further options of this kind, and whether they are given.

    Raises:
        ConfigError: an option is given.
    """
    given = [*stated.model_fields_set, *(name for name, is_given in flags.items() if is_given)]
    if given and executor != "slurm":
        raise ConfigError(f"{_option(min(given))}: the executor is {executor}, and this is for --executor slurm alone")


def _message(problem: Any) -> str:
    told = problem.get("ctx", {}).get("error")
    return str(told) if told is not None else f"{problem['msg']}, got {problem['input']!r}"


def _pair(text: str) -> tuple[str, str | bool]:
    name, equals, value = text.removeprefix("--").partition("=")
    if not name:
        raise ConfigError(f'--sbatch: expected KEY=VALUE such as mail-type=END, got "{text}"')
    return name, value if equals else True


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _annotation(name: str) -> Any:
    """The type of an option: a list where it may be given several times, else a whole number or a text."""
    field = SlurmSettings.model_fields[name]
    several = name in ("setup", "sbatch")
    kind: Any = list[str] if several else int if int in _kinds(field.annotation) else str
    words = field.description or ""
    help_text = f"{words[:1].upper()}{words[1:]}{'; may be given several times' if several else ''}."
    metavar = "KEY=VALUE" if name == "sbatch" else None
    option = typer.Option(_option(name), help=help_text, metavar=metavar, rich_help_panel=GROUP, show_default=False)
    return Annotated[kind | None, option]


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


@dataclass(frozen=True)
class SlurmLaunch:
    """How runs are handed to Slurm.

    Attributes:
        block: the grid's settings.
        stated: those of the command line, which take precedence.
        wait: whether to wait for the runs.
        grow: whether to try again with twice as much what ended out of memory or time while it is waited for.
    """

    block: ExecutorBlock
    stated: SlurmSettings
    wait: bool
    grow: bool = True
    _made: dict[Path, SlurmExecutor] = field(default_factory=dict, repr=False, compare=False)

    def settings(self, method: str | None) -> SlurmSettings:
        """The settings of the jobs of a method; None: of those that extract features."""
        return self.block.settings(method, self.stated)

    def executor(self, store: Store) -> SlurmExecutor:
        """The executor, one a store: what it has asked of the cluster is not asked again."""
        path = store.path.absolute()
        if path not in self._made:
            self._made[path] = SlurmExecutor(Store(path), self.settings, wait=self.wait, grow=self.grow)
        return self._made[path]

    def arrays(
        self, plan: Plan, execution: Execution, roots: Sequence[Path], cohorts: Mapping[str, str]
    ) -> list[Array]:
        """The arrays that the rest of a plan is going to be submitted as, without what is in the queue."""
        store = Store(plan.store)
        executor = self.executor(store)
        orders = {order.spec.run_id: order for order in plan_orders(plan, execution, roots)}
        jobs = [job_of(order, store, cohorts) for order in orders.values()]
        queued = executor.queued(jobs)
        anew = {run.run_id for run in plan.unfinished if run.condition.state == "stale"}
        return executor.preview([job for job in jobs if job.run_id not in queued], orders, anew)

    def announce(self, plan: Plan, arrays: Sequence[Array]) -> None:
        """Say what jobs ask for by themselves, and why; nothing where all is stated.

        Raises:
            UserError: the cluster would not take it.
        """
        methods_of = {run.run_id: run.spec.method for run in plan.unfinished}
        self.executor(Store(plan.store)).check_chosen(arrays)
        chosen = [one for one in arrays if one.asked.chosen]
        for array in chosen:
            runs = [job.run_id for unit in array.units for job in unit]
            methods = sorted({methods_of.get(name, "features") for name in runs})
            count = how_many(len(array.units), "job")
            asks = asked_in_words(array.settings)
            say(f"{count} ({', '.join(methods)}): {asks} each; {array.asked.why}")
        if chosen:
            say(f"margins: {MARGINS}; --mem and --time say otherwise")

    def check(self, plan: Plan, *, show_only: bool) -> None:
        """See that the settings fit the grid and, unless they are only shown, the cluster.

        Raises:
            UserError: they do not.
        """
        used = {run.spec.method for run in plan.runs}
        check_methods(self.block, used)
        for method in (None, *sorted(used)):
            self.settings(method)
        if plan.unfinished and not show_only:
            warn_of_environment()
            self.executor(Store(plan.store)).check({run.spec.method for run in plan.unfinished})

    def show(
        self, plan: Plan, execution: Execution, roots: Sequence[Path], cohorts: Mapping[str, str], *, left: int = 0
    ) -> int:
        """Print the scripts that sbatch would be given, ``left`` runs being left out by a budget. Writes nothing."""
        if not plan.unfinished:
            why = "no job fits into the budget" if left else "all runs are done"
            say(f"nothing to submit: {why}")
            return 0
        warn("this listing is not checked against the cluster; a run is, before anything is submitted")
        store = Store(plan.store.absolute())
        orders = plan_orders(plan, execution, roots)
        jobs = [job_of(order, store, cohorts) for order in orders]
        for script in self.executor(store).scripts(jobs, {order.spec.run_id: order for order in orders}):
            say(script)
        return 0


def slurm_launch(
    block: ExecutorBlock, stated: SlurmSettings, gpus: str, wait: bool, *, grow: bool = True
) -> SlurmLaunch:
    """How to launch, given the options of the command line; ``gpus`` empty: not stated.

    Raises:
        ConfigError: ``gpus`` is no number of GPUs.
    """
    given = stated.model_dump(exclude_unset=True) | ({"gpus": gpus} if gpus else {})
    given |= {"sbatch": [f"{key}={value}" for key, value in stated.sbatch.items()]} if stated.sbatch else {}
    return SlurmLaunch(block, stated_settings(given), wait, grow)


def warn_of_environment() -> None:
    """Name the settings of sbatch in the environment, which jobs do not get."""
    if names := unheeded(os.environ):
        warn(
            f"{', '.join(names)}: jobs get what the command line and the grid say, and nothing of the environment; "
            "use options such as --partition, or --sbatch KEY=VALUE"
        )


def check_methods(block: ExecutorBlock, used: Iterable[str]) -> None:
    """Refuse settings for a method that does not exist.

    Raises:
        ConfigError: as said.
    """
    valid = {*names(), *used}
    for method in block.methods:
        if method not in valid:
            raise ConfigError(f"executor.methods: {unknown('method', method, valid)}")


def cancel(
    runs: RunNames = None,
    out: Out = DEFAULT_OUT,
    everything: Annotated[bool, typer.Option("--all", help="Every run that waits or is at work.")] = False,
    debug: Debug = False,
) -> int:
    """Cancel runs: those in Slurm's queue, and those that other processes of this machine have in hand.

    A run at work saves what it has first, so that bench retry goes on from there.
    """
    if bool(runs) == everything:
        raise ConfigError("name the runs to cancel, or say --all for every run that waits or is at work")
    store = Store.open(out, to_write=True)
    chosen = chosen_runs(store, runs)
    # Slurm first: what it carries out has an owner on another machine, which no signal from here reaches.
    cancelled = cancel_jobs(store, chosen)
    stopped = [run_id for run_id in chosen or store.runs() if run_id not in cancelled and _stop_here(store, run_id)]
    for run_id in [*cancelled, *stopped]:
        say(f"{run_id}: {'cancelled' if run_id in cancelled else 'asked to stop'}")
    if everything and not cancelled and not stopped:
        say("no run waits or is at work")
    missed = [run_id for run_id in chosen or () if run_id not in cancelled and run_id not in stopped]
    for run_id in missed:
        warn(f"{run_id}: neither waits nor is at work on {socket.gethostname()}; see bench status")
    return 1 if missed else 0


def _stop_here(store: Store, run_id: str) -> bool:
    """Ask the process of this machine that owns a run to stop, if there is one."""
    owner = store.owner(run_id)
    if not owner or owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        if owner:
            warn(f"{run_id}: at work on {owner.get('host')}; cancel it there")
        return False
    if COHORT in owner:  # a signal would stop the others too
        write_bytes(store.run_folder(run_id) / STOP_FILE, b"")
        return True
    try:
        os.kill(owner["pid"], signal.SIGTERM)
    except (ProcessLookupError, PermissionError) as error:
        warn(f"{run_id}: process {owner['pid']} cannot be asked to stop ({error.strerror})")
        return False
    return True
