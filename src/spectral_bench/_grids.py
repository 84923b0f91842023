"""Plan and run grids from Python."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    import pandas as pd

STORE = Path("results/runs")


def plan(
    grid: str | Path,
    out: str | Path = STORE,
    *,
    data_root: str | Path | Sequence[str | Path] = (),
    changes: str | Sequence[str] = (),
) -> pd.DataFrame:
    """The runs that a grid asks for, one a row: what is done, stale or new, and what the rest will take.

    Args:
        grid: the YAML file.
        out: the store.
        data_root: folders that hold data sets; none: those of ``$BENCH_DATA`` and the grid.
        changes: a ``key=value`` text as ``--set`` takes it, or several.

    Raises:
        UserError: whatever ``bench plan`` refuses.

    Example:
        >>> sb.plan("ablations.yaml")["state"].value_counts()  # doctest: +SKIP
    """
    import pandas as pd

    from spectral_bench.bench.cli.options import data_roots, find_store
    from spectral_bench.bench.grid.load import load_grid
    from spectral_bench.bench.plan.build import make_plan
    from spectral_bench.bench.plan.show import plan_json
    from spectral_bench.bench.plan.today import CurrentData
    from spectral_bench.common.documents.problems import Problems

    problems = Problems()
    loaded = load_grid(Path(grid), _texts(changes), problems=problems)
    held = CurrentData(data_roots(_roots(data_root), loaded.data_roots))
    made = make_plan(loaded, find_store(Path(out)), Path(out), data=held, problems=problems)
    problems.check()
    described: Any = plan_json(made)
    return pd.DataFrame(described["runs"])


def run(
    grid: str | Path,
    out: str | Path = STORE,
    *,
    data_root: str | Path | Sequence[str | Path] = (),
    changes: str | Sequence[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Carry out a grid as ``bench run`` does, tables and all, and give the records of the store.

    Processes are started by name, so a script that calls this needs the usual ``if __name__ == "__main__":``.

    Args:
        grid, out, data_root, changes: as for ``plan``.
        options: of ``bench run`` by their names, such as ``jobs=2``, ``executor="inline"`` or ``device="cpu"``.

    Returns:
        As ``load_records``; without a row where nothing is stored yet, as after ``dry_run=True``.

    Raises:
        ConfigError: an option is unknown, of another type or out of range.
        UserError: whatever ``bench run`` refuses, or a run failed; the records of the others are in the store.

    Example:
        >>> frame = sb.run("ablations.yaml", out="results/runs", jobs=2)  # doctest: +SKIP
    """
    from spectral_bench._records import load_records
    from spectral_bench.bench.cli.options import find_store
    from spectral_bench.bench.cli.run import run as carry_out
    from spectral_bench.common.errors import ConfigError, UserError
    from spectral_bench.common.names import unknown
    from spectral_bench.reports.per_run import per_run

    valid = inspect.signature(carry_out).parameters
    for name in options:
        if name not in valid:
            raise ConfigError(unknown("option of run", name, valid))
    stated = {name: _checked(valid[name], value) for name, value in options.items()}
    ours = {"grid": Path(grid), "out": Path(out), "data_root": _roots(data_root), "changes": list(_texts(changes))}
    code = carry_out(**{name: one.default for name, one in valid.items()} | stated | ours)
    if code != 0:
        raise UserError(f"{grid}: not all runs are done (exit code {code}); see bench status --out {out}")
    return per_run([]) if find_store(Path(out)) is None else load_records(out)


def _checked(option: inspect.Parameter, value: Any) -> Any:
    """A value of the type and in the range that the command line asks for, which is not there to check it."""
    from pydantic import TypeAdapter, ValidationError

    from spectral_bench.common.errors import ConfigError

    kind, *about = get_args(option.annotation)
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        wanted = getattr(kind, "__name__", str(kind))
        raise ConfigError(f"{option.name}: {value!r}; expected {wanted}, as bench run takes it") from error
    least = next((one.min for one in about if getattr(one, "min", None) is not None), None)
    if least is not None and found is not None and found < least:
        raise ConfigError(f"{option.name}: {value!r}; expected at least {least}")
    return found


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _roots(given: str | Path | Sequence[str | Path]) -> list[Path] | None:
    roots = [given] if isinstance(given, (str, Path)) else list(given)
    return [Path(root) for root in roots] or None
