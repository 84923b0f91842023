"""The records of a store as a table, and capsules of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from spectral_bench.reports.collect import Matchings, collect
from spectral_bench.reports.per_run import per_run
from spectral_bench.results.store import Store

if TYPE_CHECKING:  # draws: matplotlib is what records shall not wait for
    from spectral_bench.reports.capsule import Packed
    from spectral_bench.reports.replay import Replay


def load_records(
    store: str | Path,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
) -> pd.DataFrame:
    """What a store holds: one row a run and protocol, finished or not.

    Args:
        store: the folder of the store.
        grid: the rows of this grid alone; None: all.
        protocol: this protocol alone; None: all.
        matching: score with this matching in place of each protocol's own, or with each of several, a row each; ``own``
            among them is the protocol's own.

    Returns:
        What ``bench report --per-run`` writes: a frame of real types with the columns ``grid``, ``title``,
        ``method``, ``dataset``, ``train_dataset``, ``backbone``, ``uses_labels``, ``protocol``, ``matching``,
        ``classes``, ``seed``, ``run_id``, ``state``, ``reason``, ``finished`` (UTC); the scores ``mIoU``,
        ``accuracy``, ``mean_accuracy``, ``ARI``, ``NMI`` (fractions), ``clusters_in_use`` and ``images``; the costs
        ``features_s``, ``fit_s``, ``base_fit_s``, ``evaluation_s`` (seconds), ``features_rss``, ``peak_rss`` and
        ``peak_device`` (bytes), ``energy_j`` (joules); then each parameter of any method by its name. What is not
        known is missing (NA).

    Raises:
        StoreError: there is no store, or it holds no results.
        UserError: a name is unknown.

    Example:
        >>> frame = sb.load_records("results/runs")  # doctest: +SKIP
        >>> frame.groupby("k")["mIoU"].agg(["mean", "std", "count"])  # doctest: +SKIP
    """
    entries = collect(Store.open(Path(store)), grid=grid, protocol=protocol, matching=matching)
    return per_run(entries)


def pack(
    store: str | Path,
    to: str | Path,
    *,
    grid: str | Path | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
    against: str | Sequence[str] = (),
    resamples: int = 0,
    unfinished: bool = False,
    force: bool = False,
) -> Packed:
    """Make a capsule: what tables and figures rest on, with these tables and figures, as ``bench pack`` does.

    Args:
        store: the folder of the store, or a capsule that is packed again.
        to: the folder of the capsule: new, empty, or with ``force`` a capsule, which is replaced.
        grid: a grid by its name or its file, which is then kept too and must be as it was run; None: all grids.
        protocol, matching, against, resamples: of its report, as for ``bench report``.
        unfinished: pack although runs are not finished; each caption then says so.
        force: replace a capsule.

    Returns:
        Its ``folder``, its head (``capsule``, with ``digest``, ``runs``, ``left_out``) and its ``bytes``.

    Raises:
        StoreError: there is no store, or the target is something else or cannot be written.
        UserError: a name is unknown, or runs are not finished.

    Example:
        >>> sb.pack("results/runs", "my-study", grid="ablations.yaml").capsule.digest  # doctest: +SKIP
    """
    from spectral_bench.bench.plan.titles import text_of_grid
    from spectral_bench.reports.capsule import pack as pack_store
    from spectral_bench.results.capsule import ReportOptions

    place = Store.open(Path(store))
    name, text = (None, "") if grid is None else text_of_grid(str(grid), place.manifests())
    options = ReportOptions(
        protocol=protocol, matching=_listed(matching), against=_listed(against), resamples=resamples
    )
    stated = options if options != ReportOptions() else None
    return pack_store(place, Path(to), grid=name, grid_text=text, options=stated, preliminary=unfinished, force=force)


def replay(capsule: str | Path) -> Replay:
    """Compute the tables and figures of a capsule anew and compare them with those it holds, as ``bench replay`` does.

    Returns:
        ``equal``, and ``differences``: each with ``path``, ``what``, ``line``, and that line as it was ``shipped`` and
        ``replayed``.

    Raises:
        StoreError: it is no capsule, or a newer release made it.

    Example:
        >>> assert sb.replay("my-study").equal  # doctest: +SKIP
    """
    from spectral_bench.reports.replay import replay as replay_capsule

    return replay_capsule(Path(capsule))


def _listed(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())
