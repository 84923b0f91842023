"""The first screen of ``bench status``: counts, what is at work, what failed and why, and how long the rest takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from spectral_bench.bench.cli.options import show_runs
from spectral_bench.bench.cli.output import say, tell
from spectral_bench.bench.cli.selection import abandoned
from spectral_bench.bench.plan.left import elapsed, seconds_left
from spectral_bench.bench.plan.states import RunStatus
from spectral_bench.bench.plan.titles import marked
from spectral_bench.common.names import duration, few, how_many
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

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
    seconds = elapsed(store.owner(run_id))
    return "" if seconds is None else duration(seconds)


def _left(store: Store, runs: Sequence[RunStatus], at_work: int) -> str:
    """How long the unfinished runs take, as plan predicts, in words; empty where nothing is left, or nothing known."""
    left = seconds_left(store, runs)
    known = [seconds for seconds in left.values() if seconds is not None]
    if not known:
        return ""
    unknown = len(left) - len(known)
    without = f", without {how_many(unknown, 'run')} of a kind not seen before" if unknown else ""
    shared = f", or {duration(sum(known) / at_work)} with {at_work} at a time as now" if at_work > 1 else ""
    return f"time left, as plan predicts: {duration(sum(known))} on one worker{shared}{without}"
