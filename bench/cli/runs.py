"""Runs of a store: chosen by what they are (``--where k=32,method=spin``), and summed up on one screen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.options import show_runs
from spectral_bench.bench.cli.output import say, tell
from spectral_bench.bench.grid.keys import is_run_key
from spectral_bench.bench.plan.estimate import elapsed, seconds_left
from spectral_bench.bench.plan.states import RunStatus
from spectral_bench.bench.plan.titles import marked
from spectral_bench.common.documents.reading import parse_value
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import duration, few, how_many, unknown
from spectral_bench.results.specification import own_name
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Only runs of which all of this holds, such as k=32,method=spin: keys of runs, parameters, seed, grid, "
        "state; texts may have * and ?. May be given several times.",
        metavar="KEY=VALUE,...",
    ),
]

_BETWEEN = re.compile(r",(?![^\[{]*[\]}])")  # a comma that stands in no list and no mapping


@dataclass(frozen=True)
class Wanted:
    """One ``key=value``.

    Attributes:
        key: of a run, or a parameter.
        text: the value as it was given.
        value: the same as YAML reads it.
    """

    key: str
    text: str
    value: Any

    def holds(self, found: Any) -> bool:
        """Whether a run's value is the wanted one; of several protocols, whether one is."""
        if isinstance(found, tuple):
            return any(self.holds(one) for one in found)
        if isinstance(found, str):
            return fnmatchcase(found, self.text) or fnmatchcase(own_name(found), self.text)
        # To Python, true is 1.
        return bool(found == self.value) and isinstance(found, bool) == isinstance(self.value, bool)


def parse_where(texts: Sequence[str] | None) -> list[Wanted]:
    """All that the values of ``--where`` ask for.

    Raises:
        ConfigError: a part is no ``key=value``, its value is no YAML, or it names a state that there is not.
    """
    wanted = []
    for part in (part for text in texts or () for part in _BETWEEN.split(text)):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key or not value:
            raise ConfigError(f'--where: expected KEY=VALUE such as k=32 or method=spin, got "{part}"')
        if key == "state":
            value = value.replace(" ", "_")
            valid = {one.word for one in RunState}
            if value not in valid:
                raise ConfigError(f"--where state: {unknown('state', value, valid)}")
        try:
            wanted.append(Wanted(key, value, parse_value(value)))
        except ConfigError as error:
            raise ConfigError(f"--where {part.strip()}: the value is {str(error).partition(': ')[2]}") from None
    return wanted


def chosen(runs: Sequence[RunStatus], wanted: Sequence[Wanted]) -> list[RunStatus]:
    """The runs of which all that is wanted holds.

    Raises:
        ConfigError: none of the runs has such a key.
    """
    if not wanted:
        return list(runs)
    known = [keys_of(run) for run in runs]
    names = {name for keys in known for name in keys}
    for one in wanted:
        if one.key not in names and runs:
            raise ConfigError(f"--where: {unknown('key', one.key, names)}")
    return [
        run
        for run, keys in zip(runs, known, strict=True)
        if all(one.key in keys and one.holds(keys[one.key]) for one in wanted)
    ]


def keys_of(run: RunStatus) -> dict[str, Any]:
    """What a run can be chosen by: its keys, and each parameter by its name, with ``params.`` before it or not."""
    told = settings_of(run)
    params = told.pop("params")
    own = {"grid": run.grid, "title": run.title, "seed": run.seed, "state": run.condition.state.word}
    told |= {"protocol": tuple(told.pop("protocols"))}
    return {**params, **{f"params.{key}": value for key, value in params.items()}, **told, **own}


def settings_of(run: RunStatus) -> dict[str, Any]:
    """Method, parameters, data, backbone and protocols of a run, as JSON values.

    By its record or its last order; before there is either, by what its grid states. None is what neither tells.
    """
    spec, row = run.spec, run.row
    data: Mapping[str, Any] = spec.get("data", {})
    stated = {} if row is None else {key: value for key, value in row.settings.items() if not is_run_key(key)}
    return {
        "method": spec.get("method") or (row.method if row else None),
        "params": dict(spec.get("params", stated)),
        "dataset": row.dataset if row else None,
        "train_dataset": data.get("dataset") or (row.train_dataset if row else None),
        "train_split": data.get("split") or (row.train_split if row else None),
        "subset": data.get("subset") or (row.subset if row else None),
        "backbone": spec.get("backbone", {}).get("name") or (row.backbone if row else None),
        "precision": spec.get("precision"),
        "protocols": [protocol.name for protocol in row.protocols] if row else [],
    }


# The states in which nobody has a run in hand, and nothing of it is finished unless it is fitted.
OVER = (RunState.NEW, RunState.ORDERED, RunState.INTERRUPTED, RunState.FAILED, RunState.CANCELLED)


def abandoned(runs: Iterable[RunStatus]) -> set[str]:
    """The ids of runs that are over and unfinished, and that no grid asks for today, nor a run that one asks for needs.

    Args:
        runs: all of a store.
    """
    runs = list(runs)
    requires = {run.run_id: run.requires for run in runs}
    needed = {run.run_id for run in runs if run.grid}
    left = list(needed)
    while left:
        base = requires.get(left.pop())
        if base is not None and base not in needed:
            needed.add(base)
            left.append(base)
    over = (run for run in runs if run.condition.state in OVER and not run.condition.fitted)
    return {run.run_id for run in over if run.run_id not in needed}


# The first screen of ``bench status``: counts, what is at work, what failed and why, how long the rest takes.


_FAILED = (RunState.FAILED, RunState.CANCELLED, RunState.NOT_CONVERGED)

_MOST = 10  # rows of a part of the summary


def counts_in_words(runs: Iterable[RunStatus]) -> str:
    """How many runs are in each state: ``12 done, 1 failed``."""
    counts = Counter(run.condition.state.word for run in runs)
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts.items())


def show_summary(store: Store, found: Sequence[RunStatus]) -> None:
    """Print what one wants to know first of some runs of a store."""
    once = list({run.run_id: run for run in reversed(found)}.values())[::-1]  # two grids may ask for one
    grids = list(dict.fromkeys(run.grid for run in found if run.grid))
    tell(f"{how_many(len(once), 'run')} of {few(grids) or 'no grid'}: {counts_in_words(once) or 'none'}")
    at_work = [run for run in once if run.condition.state is RunState.RUNNING]
    if left := time_left(store, once, len(at_work)):
        tell(left)
    if at_work:
        say("\nat work")
        rows = [
            (
                run.run_id,
                marked(run.title, run.uses_labels, run.by_text),
                run.seed,
                run.progress_text,
                at_work_for(store, run.run_id),
            )
            for run in at_work[:_MOST]
        ]
        show_runs(("run", "row", "seed", "progress", "for"), rows, store.runs(), right=("seed", "for"))
        _more(len(at_work) - _MOST)
    _show_failures(store, [run for run in once if run.condition.state in _FAILED])
    if left_over := len(abandoned(once)):
        tell(f"\n{how_many(left_over, 'unfinished run')} that no grid asks for any more: see bench prune")


def _show_failures(store: Store, failed: Sequence[RunStatus]) -> None:
    """One line for each reason, with how many runs it stopped, and one of them by name."""
    reasons: dict[tuple[str, str], list[RunStatus]] = {}
    for run in failed:
        reasons.setdefault((run.condition.state.word, run.condition.reason), []).append(run)
    if not reasons:
        return
    say("\ndid not end well")
    rows = [
        (state.replace("_", " "), len(runs), runs[0].run_id, reason)
        for (state, reason), runs in sorted(reasons.items(), key=lambda item: -len(item[1]))[:_MOST]
    ]
    show_runs(("state", "runs", "such as", "reason"), rows, store.runs(), right=("runs",))
    _more(len(reasons) - _MOST)


def _more(count: int) -> None:
    if count > 0:
        say(f"... and {count} more")


def at_work_for(store: Store, run_id: str) -> str:
    """How long a run has been at work this time; empty where its owner does not say."""
    seconds = elapsed(store.owner(run_id))
    return "" if seconds is None else duration(seconds)


def time_left(store: Store, runs: Sequence[RunStatus], at_work: int) -> str:
    """How long the unfinished runs take, as plan predicts, in words; empty where nothing is left, or nothing known."""
    left = seconds_left(store, runs)
    known = [seconds for seconds in left.values() if seconds is not None]
    if not known:
        return ""
    unknown = len(left) - len(known)
    without = f", without {how_many(unknown, 'run')} of a kind not seen before" if unknown else ""
    shared = f", or {duration(sum(known) / at_work)} with {at_work} at a time as now" if at_work > 1 else ""
    return f"time left, as plan predicts: {duration(sum(known))} on one worker{shared}{without}"
