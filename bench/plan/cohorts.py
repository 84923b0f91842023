"""Which runs of a plan are carried out side by side in one process: those that see the same batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import prod

import psutil

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.plan.inputs import training_sides
from spectral_bench.bench.plan.states import PlannedRun
from spectral_bench.common.cgroups import memory_rooms
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.identity import digest

PROCESS_BYTES = 10**9
"""Of a process with its libraries, before anything is trained."""

_PATCH_BYTES = 160  # a channel and patch of a step: features, and what a block of psi keeps for the backward pass
_EDGE_BYTES = 64  # a neighbour and patch: a graph with its transpose, and the sums that it is made of
_UNKNOWN_PATCHES = 2500  # an image, where the size depends on it: 50 x 50

_Group = list[PlannedRun]


def cohorts(runs: Sequence[PlannedRun], *, slots: int = 1, memory: int | None = None) -> dict[str, str]:
    """The name of the cohort of each run that has others beside it.

    Runs of a cohort share training images, features, backbone and seed, and the batch size where they are trained in
    batches; none of them starts from the fit of another. Methods of the user's own take part if they say so.

    Args:
        runs: unfinished ones, in the order of execution.
        slots: processes at a time. Where the cohorts that are left are fewer, they are cut into parts for all; those
            that wait for others' fits are counted apart.
        memory: bytes that a process may take; None: any. A cohort that would take more is cut into parts.
    """
    waiting = {run.run_id: run.requires for run in runs}
    at_once: dict[int, list[_Group]] = defaultdict(list)
    for group in _groups(runs):
        at_once[_depth(group[0].run_id, waiting)] += _within(group, memory)
    parts = [part for groups in at_once.values() for part in _for_all(groups, slots)]
    return {run.run_id: digest([one.run_id for one in part], 8) for part in parts for run in part if len(part) > 1}


def free_memory(slots: int) -> int:
    """Bytes that each of some processes of this machine may take."""
    return min([psutil.virtual_memory().available, *memory_rooms()]) // slots


def predicted_bytes(runs: Sequence[PlannedRun]) -> int:
    """The memory of a process that carries out these runs side by side.

    The process itself, what each holds from step to step, and the step of the run that takes most.
    """
    return PROCESS_BYTES + sum(map(_held, runs)) + max(map(_step, runs))


def _held(run: PlannedRun) -> int:
    params = method_facts(run.spec.method).params(**run.spec.params)
    return params.held_bytes(_channels(run))


def _step(run: PlannedRun) -> int:
    params = run.spec.params
    sides = training_sides(run.spec.data)
    info = backbone_info(run.spec.backbone.name, run.spec.backbone.options)
    patches = int(params.get("batch_size") or 1) * (prod(info.grid(*sides)) if sides else _UNKNOWN_PATCHES)
    depth, neighbours = int(params.get("depth") or 0), int(params.get("neighbours") or 0)
    return patches * (_PATCH_BYTES * (1 + depth) * _channels(run) + _EDGE_BYTES * min(neighbours, patches))


def _channels(run: PlannedRun) -> int:
    return sum(backbone_info(run.spec.backbone.name, run.spec.backbone.options).channels)


def _groups(runs: Sequence[PlannedRun]) -> list[_Group]:
    """Runs that may be carried out side by side, those alone too, in the order of execution."""
    waiting = {run.run_id: run.requires for run in runs}
    found: dict[object, _Group] = {}
    of_batches: dict[object, object] = {}
    for run in runs:
        if not method_facts(run.spec.method).side_by_side:
            found[run.run_id] = [run]
            continue
        seen = run.features, run.spec.seed, _depth(run.run_id, waiting)
        size = run.spec.params.get("batch_size") if run.requires is None else None
        if size is not None:
            of_batches.setdefault(seen, (seen, size))
        found.setdefault((seen, size), []).append(run)
    groups: dict[object, _Group] = defaultdict(list)
    for key, group in found.items():  # those without batches go with the first that have some
        shared = key[0] if isinstance(key, tuple) and key[1] is None else None
        groups[of_batches.get(shared, key)] += group
    return list(groups.values())


def _depth(run_id: str, waiting: dict[str, str | None]) -> int:
    """How many unfinished fits stand before a run in a row."""
    depth = 0
    while (required := waiting.get(run_id)) in waiting and required is not None:
        run_id, depth = required, depth + 1
    return depth


def _within(group: _Group, memory: int | None) -> list[_Group]:
    parts: list[_Group] = [[]]
    for run in group:
        if parts[-1] and memory is not None and predicted_bytes([*parts[-1], run]) > memory:
            parts.append([])
        parts[-1].append(run)
    return parts


def _for_all(groups: list[_Group], slots: int) -> list[_Group]:
    """The groups, of which the last are cut so that no process has nothing to do while another has a whole group."""
    last = len(groups) % slots
    if last == 0:
        return groups
    pieces = -(-slots // last)
    parts = [group[start::pieces] for group in groups[len(groups) - last :] for start in range(pieces)]
    return [*groups[: len(groups) - last], *(part for part in parts if part)]
