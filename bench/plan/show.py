"""A plan as a table, as a few lines, and as JSON."""

from __future__ import annotations

from typing import Any

from spectral_bench.bench.code.records import unproven
from spectral_bench.bench.features.cache.meta import gigabytes
from spectral_bench.bench.plan.measured import is_gpu
from spectral_bench.bench.plan.prediction import Prediction
from spectral_bench.bench.plan.states import Plan, PlannedRun
from spectral_bench.bench.plan.titles import LABELS_NOTE, TEXT_NOTE, marked
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.names import duration, how_many
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.specification import named_by_text

DEFAULT_CACHE_LIMIT = Execution().cache_limit


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    return {
        "grid": plan.grid.name,
        "store": str(plan.store),
        "counts": plan.counts(),
        "runs": [_run_json(run) for run in plan.runs],
        "caches": [
            {"title": cache.title, "bytes": cache.bytes, "present": cache.present, "runs": cache.runs}
            for cache in plan.caches
        ],
        "cache_bytes": plan.cache_bytes,
        "free_bytes": plan.free,
        "seconds": total_seconds(plan),
        "gpu_hours": gpu_hours(plan),
        "provisional_backbones": list(plan.provisional),
    }


def _run_json(run: PlannedRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "title": run.title,
        "state": run.condition.state.word,
        "reason": run.condition.reason,
        "method": run.spec.method,
        "params": run.spec.params,
        "dataset": next((view.dataset for view in run.views), None),
        "subset": run.spec.data.subset,
        "precision": run.spec.precision,
        "uses_labels": _uses_labels(run),
        "seed": run.spec.seed,
        "train_dataset": run.spec.data.dataset,
        "backbone": run.spec.backbone.name,
        "requires": run.requires,
        "asked_for": run.asked_for,
        "views": [view.view_id for view in run.views],
        "missing": [view.view_id for view in run.condition.missing],
        "seconds": run.seconds,
        **_prediction_json(run.prediction),
        "provisional": run.provisional,
    }


def _prediction_json(found: Prediction | None) -> dict[str, Any]:
    if found is None:
        nothing = ("seconds_low", "seconds_high", "bytes", "device_bytes", "basis", "machine")
        return {**dict.fromkeys(nothing), "stages": {}}
    return {
        "seconds_low": found.low,
        "seconds_high": found.high,
        "bytes": found.host,
        "device_bytes": found.device,
        "basis": found.basis,
        "machine": found.machine,
        "stages": dict(found.stages),
    }


PLAN_COLUMNS = ("state", "row", "seed", "evaluated", "time", "memory", "run", "note")


def plan_rows(plan: Plan) -> list[tuple[str, ...]]:
    """A row a run, in the order of execution, with the columns ``PLAN_COLUMNS``."""
    return [_row(run) for run in plan.runs]


def _row(run: PlannedRun) -> tuple[str, ...]:
    evaluated = f"{len(run.views) - len(run.condition.missing)}/{len(run.views)}"
    time = "" if run.condition.finished else duration(run.seconds)
    memory = "" if run.condition.finished else memory_text(run.prediction)
    title, seed = marked_title(run), str(run.spec.seed)
    return run.condition.state.word, title, seed, evaluated, time, memory, run.run_id, _note(run)


def memory_text(found: Prediction | None) -> str:
    """The memory of a prediction: ``1.2 GB``, with a GPU ``1.2 GB, GPU 3.4 GB``; ``-`` where it is unknown."""
    if found is None or not found.host:
        return "-"
    return gigabytes(found.host) + (f", GPU {gigabytes(found.device)}" if found.device else "")


def marked_title(run: PlannedRun) -> str:
    """The title of a run, marked where its method is fitted with labels."""
    return marked(run.title, _uses_labels(run), named_by_text(run.spec.params))


def _uses_labels(run: PlannedRun) -> bool:
    return method_facts(run.spec.method).uses_labels


def plan_lines(plan: Plan) -> list[str]:
    """The totals of a plan: runs by state, caches, time, and what to mind."""
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in plan.counts().items())
    lines = [f"{plan.grid.name}: {how_many(len(plan.runs), 'run')}: {counts}"]
    for cache in plan.caches:
        size = "size unknown until the images are seen" if cache.bytes is None else gigabytes(cache.bytes)
        lines.append(f"features of {cache.title}: {size}{', there already' if cache.present else ''}")
    if plan.caches:
        unknown = any(cache.bytes is None and not cache.present for cache in plan.caches)
        to_write = "size unknown" if unknown and not plan.cache_bytes else gigabytes(plan.cache_bytes)
        more = " and what is of unknown size" if unknown and plan.cache_bytes else ""
        lines.append(f"feature caches to write: {to_write}{more}; free on disk: {gigabytes(plan.free)}")
    if plan.cache_bytes > min(plan.free, DEFAULT_CACHE_LIMIT):
        lines.append(
            f"run refuses caches beyond --cache-limit ({gigabytes(DEFAULT_CACHE_LIMIT)} by default) or the free disk; "
            "features.mode: online needs none"
        )
    if plan.unfinished and total_seconds(plan) is not None:
        lines.append(f"time left on one worker, from {_bases(plan)}: {_total_text(plan)}")
    if (hours := gpu_hours(plan)) is not None:
        lines.append(f"GPU-hours of these: {hours:.2g}")
    lines += _fits_of_their_own(plan)
    if plan.provisional:
        names = ", ".join(plan.provisional)
        lines.append(f"weights not on this machine: {names}; run ids are provisional until they are fetched")
    if any(_uses_labels(run) for run in plan.runs):
        lines.append(LABELS_NOTE)
    if any(named_by_text(run.spec.params) for run in plan.runs):
        lines.append(TEXT_NOTE)
    return lines + unproven(plan.store, [run.spec.method for run in plan.runs])


def _fits_of_their_own(plan: Plan) -> list[str]:
    """Where a fit serves another run alone though a row of the grid nearly asks for it: one line a method."""
    rows: dict[tuple[str, ...], list[PlannedRun]] = {}
    for run in plan.runs:
        if run.asked_for:
            rows.setdefault(_trained_on(run), []).append(run)
    # Such a fit costs as much as the row that it nearly is, and mostly nobody meant it.
    users = {run.requires: run for run in plan.runs}
    lines: dict[str, str] = {}
    for extra in plan.unfinished:
        user = users.get(extra.run_id)
        if extra.asked_for or user is None or user.spec.method in lines or _trained_on(extra) not in rows:
            continue
        near = min(rows[_trained_on(extra)], key=lambda run: len(_different(run, extra)))
        lines[user.spec.method] = (
            f'{user.title}: starts from a fit of its own, as row "{near.title}" differs in '
            f"{', '.join(_different(near, extra))}; with these alike in both, one fit serves both "
            f"(bench list methods {user.spec.method} has their names)"
        )
    return list(lines.values())


def _trained_on(run: PlannedRun) -> tuple[str, ...]:
    """What two fits have in common that differ in settings alone."""
    spec = run.spec
    return spec.method, str(spec.seed), spec.data.model_dump_json(), spec.backbone.model_dump_json()


def _different(run: PlannedRun, other: PlannedRun) -> list[str]:
    ours, theirs = ({**one.spec.params, **dict(one.spec), "params": None} for one in (run, other))
    return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))


def total_seconds(plan: Plan) -> float | None:
    """Seconds that all unfinished runs have left, one after the other; None where the past knows none of them."""
    known = [run.seconds for run in plan.unfinished if run.seconds is not None]
    return sum(known) if known or not plan.unfinished else None


def gpu_hours(plan: Plan) -> float | None:
    """Hours on one GPU that unfinished runs have left, of those that were measured on one; None where none was."""
    found = [run.prediction for run in plan.unfinished if run.prediction is not None]
    on_gpu = [one.seconds for one in found if is_gpu(one.machine)]
    return sum(on_gpu) / 3600 if on_gpu else None


def _bases(plan: Plan) -> str:
    probes = any(run.prediction.basis == "probes" for run in plan.unfinished if run.prediction is not None)
    records = any(run.prediction.basis != "probes" for run in plan.unfinished if run.prediction is not None)
    return " and ".join(["past records"] * records + ["probes"] * probes)


def _total_text(plan: Plan) -> str:
    # Never left out in silence: a total of half of the runs reads like that of all.
    unknown = sum(run.seconds is None for run in plan.unfinished)
    known = [run.prediction for run in plan.unfinished if run.prediction is not None]
    low, high = duration(sum(one.low for one in known)), duration(sum(one.high for one in known))
    total = duration(total_seconds(plan)) + (f" ({low} to {high})" if low != high else "")
    return f"{total}, without {how_many(unknown, 'run')} of a kind not seen before" if unknown else total


def _note(run: PlannedRun) -> str:
    notes = [run.condition.reason]
    if run.asked_for and not run.views:
        notes.append("fit only")
    if run.requires and not run.condition.fitted:
        notes.append(f"starts from {run.requires}")
    return "; ".join(filter(None, notes))
