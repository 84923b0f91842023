"""``bench cancel``: take runs out of the queue, and stop those at work."""

from __future__ import annotations

import os
import signal
import socket
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Out, RunNames, chosen_runs
from spectral_bench.bench.cli.output import say, warn
from spectral_bench.bench.executors.slurm.executor import cancel as cancel_jobs
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.store import Store


def cancel(
    runs: RunNames = None,
    out: Out = DEFAULT_OUT,
    everything: Annotated[bool, typer.Option("--all", help="Every run that waits or is at work.")] = False,
    debug: Debug = False,
) -> int:
    """Cancel runs: those in Slurm's queue, and those that other processes of this machine have in hand.

    A run at work saves what it has first, so that bench retry goes on from there.
    """
    if bool(runs) == everything:
        raise ConfigError("name the runs to cancel, or say --all for every run that waits or is at work")
    store = Store.open(out)
    chosen = chosen_runs(store, runs)
    cancelled = cancel_jobs(store, chosen)
    stopped = [run_id for run_id in chosen or store.runs() if run_id not in cancelled and _stop_here(store, run_id)]
    for run_id in [*cancelled, *stopped]:
        say(f"{run_id}: {'cancelled' if run_id in cancelled else 'asked to stop'}")
    if everything and not cancelled and not stopped:
        say("no run waits or is at work")
    missed = [run_id for run_id in chosen or () if run_id not in cancelled and run_id not in stopped]
    for run_id in missed:
        warn(f"{run_id}: neither waits nor is at work on {socket.gethostname()}; see bench status")
    return 1 if missed else 0


def _stop_here(store: Store, run_id: str) -> bool:
    """Ask the process of this machine that owns a run to stop, if there is one."""
    owner = store.owner(run_id)
    if not owner or owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        if owner:
            warn(f"{run_id}: at work on {owner.get('host')}; cancel it there")
        return False
    try:
        os.kill(owner["pid"], signal.SIGTERM)
    except (ProcessLookupError, PermissionError) as error:
        warn(f"{run_id}: process {owner['pid']} cannot be asked to stop ({error.strerror})")
        return False
    return True
