"""``bench plan``: what a grid asks for, what of it is done, and what the rest will take."""

from __future__ import annotations

from spectral_bench.bench.cli.options import DEFAULT_OUT, Changes, Debug, Grid, Json, Out, Roots, data_roots, find_store
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.model import Plan
from spectral_bench.bench.plan.show import PLAN_COLUMNS, plan_json, plan_lines, plan_rows
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.common.collection import no_collection


def plan(
    grid: Grid,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    changes: Changes = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the runs of a grid, which of them are done, and the disk and time that the others need.

    Writes nothing, and needs no data; finished runs are held against the data that is there.
    """
    with no_collection():  # what is imported stays, too
        loaded = load_grid(grid, changes or ())
        held = CurrentData(data_roots(data_root, loaded.data_roots))
        made = make_plan(loaded, find_store(out), out, data=held)
        if as_json:
            show_json(plan_json(made))
        else:
            show_plan(made)
    return 0


def show_plan(made: Plan) -> None:
    """Print the runs of a plan in the order of execution, what they need, and totals."""
    show_table(PLAN_COLUMNS, plan_rows(made), right=("seed", "evaluated", "time"))
    say("\n" + "\n".join(plan_lines(made)))
