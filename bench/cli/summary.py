"""The first screen of ``bench status``: counts, what is at work, what failed and why, and how long the rest takes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from spectral_bench.bench.cli.options import show_runs
from spectral_bench.bench.cli.output import say, tell
from spectral_bench.bench.cli.selection import abandoned
from spectral_bench.bench.plan.states import RunStatus
from spectral_bench.bench.plan.titles import marked
from spectral_bench.common.names import few, how_many
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store
from spectral_bench.results.summaries import CostSummary

_FAILED = (RunState.FAILED, RunState.CANCELLED, RunState.NOT_CONVERGED)
_MOST = 10
"""Rows of a part of the summary."""


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
    if left := _left(store, once, len(at_work)):
        tell(left)
    if at_work:
        say("\nat work")
        rows = [
            (run.run_id, marked(run.title, run.uses_labels), run.seed, run.progress_text, _since(store, run.run_id))
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


def _since(store: Store, run_id: str) -> str:
    """How long a run has been at work this time; empty where its owner does not say."""
    seconds = _elapsed(store.owner(run_id))
    return "" if seconds is None else _duration(seconds)


def _elapsed(owner: dict[str, Any]) -> float | None:
    try:
        return max(0.0, time.time() - datetime.fromisoformat(str(owner.get("since"))).timestamp())
    except ValueError:
        return None


def _left(store: Store, runs: Sequence[RunStatus], at_work: int) -> str:
    """How long the unfinished runs take, by past records, in words; empty where nothing is left, or nothing known."""
    unfinished = [run for run in runs if run.grid and not run.condition.finished]
    if not unfinished:
        return ""
    past = _Past(store, runs)
    known = [seconds for run in unfinished if (seconds := past.left(run)) is not None]
    if not known:
        return ""
    unknown = len(unfinished) - len(known)
    without = f", without {how_many(unknown, 'run')} of a kind not seen before" if unknown else ""
    shared = f", or {_duration(sum(known) / at_work)} with {at_work} at a time as now" if at_work > 1 else ""
    return f"time left, by past records: {_duration(sum(known))} on one worker{shared}{without}"


class _Past:
    """What finished runs took: of the same row, else of the same method in this store.

    Args:
        store: the store.
        runs: all that are asked about, finished and not.
    """

    def __init__(self, store: Store, runs: Sequence[RunStatus]) -> None:
        self._store = store
        rows = {run.run_id: self._row(run) for run in runs}
        self._took: dict[object, list[tuple[float, float]]] = defaultdict(list)
        for past in store.summaries():
            done = [one for one in past.evaluations.values() if one.status != "failed"]
            if past.fit.status == "failed" or not done:
                continue
            took = _wall(past.fit.costs), sum(_wall(one.costs) for one in done) / len(done)
            for kind in {rows.get(past.run_id), past.fit.method}:
                self._took[kind].append(took)

    def left(self, run: RunStatus) -> float | None:
        """Seconds that a run has left on the wall clock; None where nothing like it was seen."""
        method = run.spec.get("method") or (run.row.method if run.row is not None else None)
        took = self._took.get(self._row(run)) or self._took.get(method)
        if not took:
            return None
        fit, evaluation = median(one[0] for one in took), median(one[1] for one in took)
        whole = evaluation * max(1, len(run.condition.missing)) + (0.0 if run.condition.fitted else fit)
        at_work = run.condition.state is RunState.RUNNING
        return max(0.0, whole - (_elapsed(self._store.owner(run.run_id)) or 0.0 if at_work else 0.0))

    @staticmethod
    def _row(run: RunStatus) -> object:
        return run.grid, run.title


def _wall(costs: Iterable[CostSummary]) -> float:
    """Wall seconds; what another run had paid for is left out."""
    return sum(cost.wall_s for cost in costs if not cost.reused)


def _duration(seconds: float) -> str:
    """``12 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
