"""``bench prune``: what a store holds that nothing needs any more, and its removal.

Everything is looked at again under its lock before it goes: a run under its claim, a feature cache under its writer's
lock. It is moved aside in one step and then deleted, so that a kill at any moment leaves a valid store.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, show_runs
from spectral_bench.bench.cli.output import say, show_json, tell
from spectral_bench.bench.cli.runs import OVER, abandoned
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.features.cache.meta import META_FILE, gigabytes
from spectral_bench.bench.plan.estimate import wanted_caches
from spectral_bench.bench.plan.states import RunStatus, runs_of_store, views_of
from spectral_bench.bench.work.order import order_files
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.files import store_error
from spectral_bench.common.locks import Taken, exclusive, hold
from spectral_bench.common.names import how_many, unknown
from spectral_bench.results.claims import LOCK_FILE, OWNER_FILE, is_launched
from spectral_bench.results.documents import names_in
from spectral_bench.results.specification import FitSpec
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Busy, Store

KINDS = ("abandoned", "failed", "features", "eigenspaces", "leftovers")
ASIDE = "pruned"  # the folder of a store where what is being removed lies; a kill may leave some of it

_WAIT_S = 0.1


@dataclass(frozen=True)
class Item:
    """Something that can go.

    Attributes:
        kind: one of ``KINDS``.
        name: of a run, a cache or a file.
        bytes: that it takes.
        note: why nothing needs it.
        remove: takes its lock, looks again, and moves it aside; False where somebody has it in hand by now.
    """

    kind: str
    name: str
    bytes: int
    note: str
    remove: Callable[[], bool]


def prune(
    out: Out = DEFAULT_OUT,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help=f"{', '.join(KINDS)}; may be given several times. Default: all.", metavar="KIND"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only shown.")] = False,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what a store holds that nothing needs any more, and with --yes remove it.

    That is: unfinished runs that no grid asks for since it was changed; what failed runs left, but for their orders;
    feature caches that no run of a grid reads; exact eigenspaces once all is done; what was left half-written. Nothing
    that is finished, at work or in a queue is touched.
    """
    for kind in only or ():
        if kind not in KINDS:
            raise ConfigError(f"--only: {unknown('kind', kind, KINDS)}")
    store = Store.open(out, to_write=yes)
    found, kept = leftovers(store)
    found = [item for item in found if not only or item.kind in only]
    gone = removed(store, found) if yes else []
    if as_json:
        items = [{"kind": one.kind, "name": one.name, "bytes": one.bytes, "reason": one.note} for one in found]
        names = [item.name for item in gone]
        show_json({"items": items, "bytes": sum(one.bytes for one in found), "removed": names, "kept": kept})
        return 0
    rows = [(one.kind, one.name, gigabytes(one.bytes), one.note) for one in found]
    if rows:
        show_runs(("what", "name", "size", "note"), rows, store.runs(), right=("size",))
    for line in kept:
        tell(line)
    say(_in_all(found, gone, yes))
    return 0


def _in_all(found: Sequence[Item], gone: Sequence[Item], yes: bool) -> str:
    if not found:
        return "nothing to remove"
    if not yes:
        total = gigabytes(sum(item.bytes for item in found))
        return f"{how_many(len(found), 'thing')} of {total}; nothing is removed without --yes"
    told = f"removed {how_many(len(gone), 'thing')} of {gigabytes(sum(item.bytes for item in gone))}"
    busy = len(found) - len(gone)
    return f"{told}; {busy} in use by now, left alone" if busy else told


def removed(store: Store, items: Sequence[Item]) -> list[Item]:
    """Remove what can go. Returns what went.

    Raises:
        StoreError: another process removes something now, or the store cannot be written.
    """
    # One at a time: both would empty the same folder of what is aside.
    with exclusive(store.path / "prune.lock", wait=_WAIT_S):
        gone = [item for item in items if item.remove()]
        shutil.rmtree(store.path / ASIDE, ignore_errors=True)
    return gone


def leftovers(store: Store) -> tuple[list[Item], list[str]]:
    """All that can go, and in words what is left alone though it looks like it."""
    runs = with_queue(runs_of_store(store), record_and_track(store), store)
    kept: list[str] = []
    found = list(_aside(store))
    orphans = abandoned(runs)
    once = {run.run_id: run for run in runs if run.condition.state in OVER and not run.condition.fitted}
    left = [run for run_id, run in once.items() if run_id in orphans]
    if left and is_launched(store.path):
        kept.append(
            f"{how_many(len(left), 'abandoned run')} left alone: bench run is at work on this store, and may have them "
            "in hand"
        )
    else:
        found += [_run(store, run, "abandoned", "no grid asks for it any more") for run in left]
    failed = (RunState.FAILED, RunState.CANCELLED)
    others = [run for run_id, run in once.items() if run_id not in orphans and run.condition.state in failed]
    found += [_run(store, run, "failed", run.condition.reason) for run in others]
    try:
        found += _features(store, {key for run in runs for key in _keys(run)})
    except UserError as error:
        kept.append(
            f"all feature caches left alone: which ones runs read cannot be told ({str(error).splitlines()[0]})"
        )
    # Runs that are still to come share them; to compute them again takes long.
    if all(run.condition.finished or run.run_id in orphans for run in runs):
        found += _eigenspaces(store)
    return found, kept


def _run(store: Store, run: RunStatus, kind: str, note: str) -> Item:
    """All files of a run; of one that a grid asks for, which is going to be tried again, its orders stay."""
    folder = store.run_folder(run.run_id)

    def remove() -> bool:
        try:
            with store.claim(run.run_id):
                fit = store.fit_record(run.run_id)
                # A grid that was launched meanwhile may ask for it.
                if (fit is not None and fit.status != "failed") or (kind == "abandoned" and is_launched(store.path)):
                    return False
                if kind == "abandoned":
                    _move_aside(store, folder)
                    return True
                store.discard(run.run_id)
                stay = {LOCK_FILE, OWNER_FILE, *(path.name for path in order_files(folder))}
                for path in (path for path in folder.iterdir() if path.name not in stay):
                    _move_aside(store, path)
                return True
        except Busy:
            return False

    size = sum(_bytes(path) for path in (folder.iterdir() if kind == "failed" else [folder]) if path.exists())
    return Item(kind, run.run_id, size, note, remove)


def _keys(run: RunStatus) -> Iterator[str]:
    """The feature caches that a run reads, or would read if it were done again, if a grid asks for it or it is at work.

    Raises:
        UserError: a part of the user's own is not where it was.
        ConfigError: neither a record nor an order tells what the run is.
    """
    if not run.grid and run.condition.state in (*OVER, RunState.DONE, RunState.STALE, RunState.NOT_CONVERGED):
        return
    if not run.spec:
        raise ConfigError(f"run {run.run_id} has neither a record nor an order")
    views = views_of(run.row.protocols) if run.row is not None else ()
    for wanted in wanted_caches(FitSpec.model_validate(run.spec), fitted=False, missing=views):
        yield wanted.key


def _features(store: Store, used: Iterable[str]) -> list[Item]:
    root, known = store.features_folder, frozenset(used)

    def item(key: str) -> Item:
        def remove() -> bool:
            try:
                with hold(root / f"{key}.lock", wait=_WAIT_S):
                    (root / key / META_FILE).unlink(missing_ok=True)  # nobody takes the rest for a whole one
                    _move_aside(store, root / key)
                    return True
            except Taken:
                return False

        whole = (root / key / META_FILE).exists()
        note = "no run of a grid reads it" if whole else "half-written"
        return Item("features", key, _bytes(root / key), note, remove)

    folders = [name for name in names_in(root) if (root / name).is_dir()]
    return [item(key) for key in folders if key not in known or not (root / key / META_FILE).exists()]


def _eigenspaces(store: Store) -> list[Item]:
    """Exact eigenspaces; a run that misses its own computes it again."""
    folder = store.eigenspaces_folder
    files = [folder / name for name in names_in(folder)]
    if not files:
        return []

    def remove() -> bool:
        for path in files:
            path.unlink(missing_ok=True)
        return True

    note = f"{how_many(len(files), 'file')}; every run is finished, and others compute what they need"
    return [Item("eigenspaces", folder.name, sum(map(_bytes, files)), note, remove)]


def _aside(store: Store) -> Iterator[Item]:
    """What a removal that was killed has left."""
    folder = store.path / ASIDE
    if folder.exists():
        yield Item("leftovers", ASIDE, _bytes(folder), "left by a removal that did not end", lambda: True)


def _move_aside(store: Store, path: Path) -> None:
    """Take a file or folder out of the store in one step, under a name that is used once.

    Raises:
        StoreError: the store cannot be written.
    """
    aside = store.path / ASIDE
    try:
        aside.mkdir(exist_ok=True)
        path.rename(aside / f"{path.parent.name}.{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    except FileNotFoundError:  # it is gone already
        return
    except OSError as error:
        raise store_error(path, error) from error


def _bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; what is gone by now counts nothing."""
    if path.is_dir():
        return sum(_bytes(below) for below in path.rglob("*") if not below.is_dir())
    try:
        return path.stat().st_size
    except OSError:
        return 0
