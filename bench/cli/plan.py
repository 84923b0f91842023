"""``bench plan``: what a grid asks for, what of it is done, and what the rest will take."""

from __future__ import annotations

from bench.cli.options import DEFAULT_OUT, Changes, Debug, Grid, Json, Out, Roots, data_roots, find_store
from bench.cli.output import show, show_json


def plan(
    grid: Grid,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    changes: Changes = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the runs of a grid, which of them are done, and the disk and time that the others need.

    Writes nothing, and needs no data.
    """
    from bench.grid.load import load_grid
    from bench.plan.build import make_plan
    from bench.plan.show import plan_json, plan_table

    data_roots(data_root)
    made = make_plan(load_grid(grid, changes or ()), find_store(out), out)
    if as_json:
        show_json(plan_json(made))
    else:
        show(plan_table(made))
    return 0
