"""``bench why``: what a run's identity is made of, how far it is and why, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Debug,
    Json,
    Out,
    Reference,
    Roots,
    data_roots,
    find_run,
    last_order,
)
from spectral_bench.bench.cli.output import aligned, say, show_json, tell
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.plan.why import Explanation, Part, explain
from spectral_bench.bench.work.order import read_order
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import short_name
from spectral_bench.results.reproduce import asked_protocols, grid_of
from spectral_bench.results.specification import View
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

_GOES_ON = (
    RunState.FAILED,
    RunState.CANCELLED,
    RunState.INTERRUPTED,
    RunState.PARTIAL,
    RunState.NEW,
    RunState.ORDERED,
)

_DATA_WORDS = {
    "as it was": "as today by names and contents",
    "same names and sizes": "as today by names and sizes",
    "changed": "have other names, sizes or contents today",
    "not at hand": "not at hand",
}


def why(
    run: Reference,
    out: Out = DEFAULT_OUT,
    as_grid: Annotated[
        bool, typer.Option("--grid", help="Print a grid that asks for this very run, all settings written out.")
    ] = False,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Say what a run is, how far it is, why it failed or did not converge, and what code and data changed since."""
    store = Store.open(out)
    run_id = find_run(store, run)
    if as_grid:
        if as_json:
            raise ConfigError("--grid prints YAML; give --json or --grid")
        say(grid_text(store, run_id).rstrip())
        return 0
    # Where the data lay when the run was ordered: a grid's own roots are written nowhere else.
    data = CurrentData(data_roots(data_root, _roots_of_last_order(store, run_id)))
    found = explain(store, run_id, data)
    if as_json:
        show_json(explanation_json(found))
    else:
        tell("\n".join(lines(found)))
    return 0


def grid_text(store: Store, run_id: str) -> str:
    """YAML of a grid that asks for one run under the protocols that grids ask for, and with each evaluation it has.

    Raises:
        ConfigError: the run has neither a record nor an order that tells what it is.
    """
    protocols = asked_protocols(store.manifests(), run_id)
    past = store.load_run(run_id, verify=False)
    if past is not None:
        views = [record.view for record in past.evaluations.values() if record.status != "failed"]
        return grid_of(past.fit, protocols, views)
    if (last := last_order(store, run_id)) is None:
        raise ConfigError(f"run {run_id}: it has neither a record nor an order, so nothing tells what it is")
    order = read_order(last)
    return grid_of(order.spec, protocols, order.views)


def _roots_of_last_order(store: Store, run_id: str) -> tuple[Path, ...]:
    """Where the data lay when the run was last ordered, the grid's own roots included; nothing if it never was."""
    if (last := last_order(store, run_id)) is None:
        return ()
    try:
        return read_order(last).data_roots
    except ConfigError:  # of a newer version, say: what else there is to tell needs no order
        return ()


def explanation_json(found: Explanation) -> dict[str, Any]:
    """An explanation as JSON values."""
    return {
        "run_id": found.run_id,
        "state": found.condition.state.word,
        "reason": found.condition.reason,
        "missing": [view.view_id for view in found.condition.missing],
        "asked_for_by": [asdict(one) for one in found.asked],
        "identity": None if found.spec is None else found.spec.model_dump(mode="json"),
        "parts": [_part_json(part) for part in found.parts],
        "attempts": list(found.attempts),
        "tries": [asdict(one) for one in found.tries],
        "owner": found.owner,
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {
        **{key: getattr(part, key) for key in ("name", "status", "started", "finished", "commit", "dirty", "modules")},
        "view": None if part.view is None else part.view.model_dump(mode="json", exclude_none=True),
        "changes": dict(part.changes),
        "data": dict(part.data),
        "failed_checks": [check.model_dump(mode="json") for check in part.failed_checks],
        "failure": None if part.failure is None else part.failure.model_dump(mode="json"),
    }


def lines(found: Explanation) -> Iterator[str]:
    """An explanation for people."""
    state = found.condition.state.word.replace("_", " ")
    yield found.run_id
    yield f"state: {state}" + (f" ({found.condition.reason})" if found.condition.reason else "")
    if found.owner:
        yield "at work: " + ", ".join(f"{key} {value}" for key, value in found.owner.items())
    for one in found.asked:
        under = f"under {', '.join(one.protocols)}" if one.protocols else "fit only"
        yield f"asked for by grid {one.grid}, row {one.title}, {under}"
        yield from (f"  {name}: mIoU {100 * miou:.2f} %" for name, miou in one.miou.items())
    if not found.asked:
        yield "asked for by no grid of the store"
    for view in found.condition.missing:
        yield f"still to be evaluated: {_view_words(view)}"
    yield from _identity(found)
    for part in found.parts:
        yield from _part_lines(part)
    if found.attempts:
        yield f"\nfailures behind it: {', '.join(found.attempts)} (in its folder, attempts/)"
        yield from (f"  {one.finished or 'no time recorded'}: {one.in_words}" for one in found.tries)
    if advice := _advice(found):
        yield f"\n{advice}"


def _identity(found: Explanation) -> Iterator[str]:
    """What the id is a hash of, one line a part."""
    if found.spec is None:
        yield "\nno record of its fit yet; bench why RUN --grid prints what it is, if it was ever ordered"
        return
    yield "\nidentity, a hash of:"
    told = found.spec.model_dump(mode="json", exclude_none=True)
    params = told.pop("params")
    rows = [(key, _value_words(value)) for key, value in told.items()]
    rows += [(f"params.{key}", _value_words(value)) for key, value in params.items()]
    yield from (f"  {line}" for line in aligned(("", ""), rows)[1:])


def _part_lines(part: Part) -> Iterator[str]:
    made = "" if part.commit is None else f", commit {part.commit[:12]}" + (" with local changes" if part.dirty else "")
    what = "" if part.view is None else f" ({_view_words(part.view)})"
    yield f"\n{part.name}{what}: {part.status.replace('_', ' ')}, {part.finished}{made}"
    if part.failure is not None:
        yield f"  {part.failure.kind}: {part.failure.message.strip()}"
        yield from (f"  | {line}" for line in (part.failure.traceback or part.failure.log_tail).strip().splitlines())
    for check in part.failed_checks:
        value = "not finite" if check.value is None else f"{check.value:g}"
        limit = "" if check.limit is None else f", limit {check.limit:g}"
        yield f"  failed check {check.name}: {value}{limit}{', ' + check.note if check.note else ''}"
    if not part.modules:
        yield "  code: not recorded"
    elif not part.changes:
        yield f"  code: as it is today ({part.modules} modules)"
    else:
        yield f"  code: {len(part.changes)} modules are not as they were ({part.modules} recorded)"
        yield from (f"    {how}  {module}" for module, how in part.changes.items())
    seen = ", ".join(f"{what} {_DATA_WORDS[state]}" for what, state in part.data.items())
    yield f"  data: {seen or 'not recorded'}"


def _advice(found: Explanation) -> str:
    """What to do about it; empty where there is nothing to do."""
    if found.condition.changed:
        return "bench run --rerun-stale does it again as things are today; without it, the records stay as they are"
    if found.condition.state in _GOES_ON:
        return "bench run with the same grid goes on with it"
    if found.condition.state is RunState.DONE:
        return (
            f"to repeat it: bench why {found.run_id} --grid prints its grid\n"
            "its scores, with those of all others: bench report --per-run FILE.csv"
        )
    return ""


def _view_words(view: View) -> str:
    told = view.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"dataset", "split"})
    return f"{short_name(view.dataset)} {view.split}" + (f", {_value_words(told)}" if told else "")


def _value_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
