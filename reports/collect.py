"""From a store to entries: what each row of each grid gave under each protocol, seed by seed, with its states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import get_args

from spectral_bench.common.collection import no_collection
from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.common.names import unknown
from spectral_bench.reports.own_methods import own_code
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.scoring import Reader, counted_otherwise, lacking, run_scores, todays_lists
from spectral_bench.reports.source import Source
from spectral_bench.reports.table import CellState
from spectral_bench.reports.versions import versions
from spectral_bench.results.class_lists import ClassLists
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.record import EvaluationRecord, FitRecord
from spectral_bench.results.specification import Matching, Protocol
from spectral_bench.results.state import RunState, StoredRun, run_state

OWN_MATCHING = "own"
"""The word that asks for each protocol's own matching, beside others."""

Changed = Callable[[FitRecord, Sequence[EvaluationRecord]], Sequence[str]]
"""Names the modules whose code has changed since a fit and its evaluations were recorded."""

_SHOWN = {
    RunState.DONE: CellState.DONE,
    RunState.FAILED: CellState.FAILED,
    RunState.CANCELLED: CellState.FAILED,
    RunState.NOT_CONVERGED: CellState.NOT_CONVERGED,
    RunState.RUNNING: CellState.RUNNING,
}
"""What tables call states; all others are missing to them."""

_UNRECORDED = {
    RunState.NEW: "not begun",
    RunState.INTERRUPTED: "interrupted",
    RunState.PARTIAL: "trained, not evaluated under this protocol",
}
"""State of a run of which no record says how it ended -> why it has no scores."""

MATCHINGS: tuple[Matching, ...] = get_args(Matching)
Matchings = str | Sequence[str] | None


def collect(
    source: Source,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
    changed: Changed | None = None,
) -> list[ScoredRow]:
    """All entries of a store, or those of one grid and one protocol, optionally scored with other matchings.

    Args:
        source: the store.
        grid, protocol: names; None: all.
        matching: score with this matching in place of each protocol's own, or with each of several, an entry each;
            ``own`` among them is the protocol's own.
        changed: names what has changed since records were made; None: nobody asks.

    Raises:
        StoreError: the store holds no grid.
        UserError: the grid, the protocol or a matching is unknown.
    """
    return collect_together([(source, grid)], protocol=protocol, matching=matching, changed=changed)[0]


def collect_together(
    wanted: Sequence[tuple[Source, str | None]],
    *,
    protocol: str | None = None,
    matching: Matchings = None,
    changed: Changed | None = None,
) -> list[list[ScoredRow]]:
    """The entries of several stores, or grids of stores, all scored over the same class lists: fit to be compared.

    Args:
        wanted: stores, each with the name of a grid or None for all.
        protocol, matching, changed: as for ``collect``, whose errors it raises too.
    """
    readers = [Reader(source) for source, _ in wanted]
    chosen = [_chosen(source.manifests(), grid) for source, grid in wanted]
    names = [sorted({p.name for manifest in found for row in manifest.rows for p in row.protocols}) for found in chosen]
    for known in names:
        if protocol is not None and protocol not in known:
            raise UserError(unknown("protocol", protocol, known))
    lists = todays_lists(readers)
    found = [list(_rows(manifests, protocol, _matchings(matching))) for manifests in chosen]
    titles = _titles([row for rows in found for _, row, *_ in rows], lists)
    try:
        with no_collection():
            return [_entries(reader, rows, lists, titles, changed) for reader, rows in zip(readers, found, strict=True)]
    finally:  # what was scored before an interruption need not be scored again
        for reader in readers:
            reader.kept.save()


def _entries(
    reader: Reader,
    rows: Sequence[tuple[Manifest, ManifestRow, Protocol, str]],
    lists: ClassLists,
    titles: Mapping[str, str],
    changed: Changed | None,
) -> list[ScoredRow]:
    known: dict[tuple[str, str], SeedResult] = {}
    entries = []
    for manifest, row, chosen, asked in rows:
        scored_as = chosen.model_dump_json()
        for seed, run_id in row.runs.items():
            if (run_id, scored_as) not in known:
                found = _seed(reader, seed, run_id, chosen, lists)
                known[run_id, scored_as] = _with_changes(found, reader.source, changed)
        seeds = tuple(known[run_id, scored_as] for _, run_id in sorted(row.runs.items()))
        classes = lists.find(chosen.view.data_name, chosen.scoring.classes)
        entries.append(ScoredRow(manifest.name, manifest.note, row, chosen, seeds, classes, titles, asked))
    return _with_versions(entries)


def _titles(rows: Sequence[ManifestRow], lists: ClassLists) -> dict[str, str]:
    """What tables call data sets of the user's own, which grids name by a path: the title; with the path if unclear."""
    stated = {row.data_name or row.dataset: row.dataset for row in rows}
    stated |= {row.train_data_name or row.train_dataset: row.train_dataset for row in rows}
    titles = {name: lists.title(name) for name, path in stated.items() if ":" in path}
    titles = {name: stated[name] if title == name else title for name, title in titles.items()}
    # Splits of one data set have names of their own, and its title in common.
    meant = {(titles.get(name, path), path) for name, path in stated.items()}
    taken = Counter(title for title, _ in meant)
    return {name: title if taken[title] == 1 else f"{title} ({stated[name]})" for name, title in titles.items()}


def distinct(entries: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The entries without repetitions: a row that several grids share is kept where it comes first."""
    first: dict[tuple[object, ...], ScoredRow] = {}
    for entry in entries:
        first.setdefault((entry.row.title, entry.all_runs, entry.protocol), entry)
    return list(first.values())


def alike(entries: Sequence[ScoredRow]) -> dict[str, list[int]]:
    """The positions of entries evaluated on the same images and scored alike, whatever the name of the protocol.

    Scored alike are those of one class list.
    """
    groups: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        looked = [None if view is None else view.look_id for view in (entry.protocol.view, entry.protocol.fit_view)]
        # Clusters that are called by their features compare with those that have names.
        key = f"{looked} {entry.protocol.scoring.model_dump_json(exclude={'names'})}"
        classes = None if entry.class_table is None else entry.class_table.model_dump_json(exclude={"palette"})
        groups.setdefault(f"{key} {classes} {sorted(entry.versions) or ''}", []).append(index)
    return groups


def _with_versions(entries: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The entries, with the versions of the data of those seeds that saw others than newer runs did."""
    found = versions({result.run_id: _records(result) for entry in entries for result in entry.done})

    def told(result: SeedResult, entry: ScoredRow) -> SeedResult:
        if result.state is not CellState.DONE or result.run_id not in found:
            return result
        table, record = entry.class_table, result.evaluation
        # Other labels than today's, which may hold the ids that were not counted: the score would be another one.
        reason = lacking(record, table) if table is not None and record is not None else ""
        if reason:
            return replace(result, state=CellState.STALE, reason=f"{reason}; and its files have changed", scores=None)
        return replace(result, versions=found[result.run_id])

    return [replace(entry, seeds=tuple(told(result, entry) for result in entry.seeds)) for entry in entries]


def _records(result: SeedResult) -> list[FitRecord | EvaluationRecord]:
    records = (result.fit, *result.bases, result.evaluation)
    return [record for record in records if record is not None]


def _chosen(manifests: Sequence[Manifest], grid: str | None) -> list[Manifest]:
    if not manifests:
        raise StoreError("the store holds no results yet; start some with: bench run --grid GRID.yaml")
    names = [manifest.name for manifest in manifests]
    if grid is not None and grid not in names:
        raise UserError(unknown("grid", grid, names))
    return [manifest for manifest in manifests if grid in (None, manifest.name)]


def _matchings(names: Matchings) -> tuple[Matching | None, ...]:
    """The matchings that were asked for, each once; None is each protocol's own."""
    given = [names] if isinstance(names, str) else names
    return tuple(dict.fromkeys(map(_matching, given or [OWN_MATCHING])))


def _matching(name: str) -> Matching | None:
    if name == OWN_MATCHING:
        return None
    for matching in MATCHINGS:
        if matching == name:
            return matching
    raise UserError(unknown("matching", name, [*MATCHINGS, OWN_MATCHING]))


def _rows(
    manifests: Sequence[Manifest], protocol: str | None, matchings: Sequence[Matching | None]
) -> Iterator[tuple[Manifest, ManifestRow, Protocol, str]]:
    for manifest in manifests:
        for row in manifest.rows:
            for chosen in row.protocols:
                if protocol in (None, chosen.name):
                    yield from ((manifest, row, _rescored(chosen, how), how or "") for how in matchings)


def _rescored(protocol: Protocol, matching: Matching | None) -> Protocol:
    if matching is None:
        return protocol
    return protocol.model_copy(update={"scoring": protocol.scoring.model_copy(update={"matching": matching})})


def _seed(reader: Reader, seed: int, run_id: str, protocol: Protocol, lists: ClassLists) -> SeedResult:
    source, classes = reader.source, lists.find(protocol.view.data_name, protocol.scoring.classes)
    fit = reader.fit(run_id)
    evaluation = reader.evaluation(run_id, protocol.view.view_id) if fit is not None else None
    state, reason = _outcome(source, run_id, StoredRun(fit, {protocol.view.view_id: evaluation}))
    result = SeedResult(seed, run_id, _SHOWN.get(state, CellState.MISSING), reason, None, fit, evaluation)
    if fit is None or evaluation is None or state is not RunState.DONE:
        return result
    result = replace(result, bases=tuple(reader.bases(fit)))
    if protocol.names_by_features and protocol.name_view is not None:
        result = replace(result, called=reader.evaluation(run_id, protocol.name_view.view_id))
    try:
        scores = run_scores(reader, run_id, protocol, classes, lists)
        relisted = classes is not None and counted_otherwise(evaluation, protocol, classes)
        return replace(result, scores=scores, relisted=relisted)
    except UserError as error:
        return replace(result, state=CellState.NOT_APPLICABLE, reason=str(error))


def _with_changes(result: SeedResult, source: Source, changed: Changed | None) -> SeedResult:
    """With what is known today of the code behind a result."""
    result = replace(result, own_code=own_code(source, _records(result)))
    if changed is None or result.fit is None:
        return result
    evaluations = [] if result.evaluation is None else [result.evaluation]
    return replace(result, changed=tuple(changed(result.fit, evaluations)))


def _outcome(source: Source, run_id: str, stored: StoredRun[FitRecord | EvaluationRecord]) -> tuple[RunState, str]:
    """What became of a run under one protocol, and why it has no scores, in one line.

    What is recorded is told, whoever is at work on it again; a fit that gives no number needs no evaluation to say so.
    """
    state = run_state(StoredRun(stored.fit))
    state = run_state(stored) if state is RunState.DONE else state
    if state in _UNRECORDED:
        state = run_state(stored, claimed=source.is_claimed(run_id), checkpoint=source.has_checkpoint(run_id))
        return state, _UNRECORDED.get(state, "")
    told = stored.not_converged if state is RunState.NOT_CONVERGED else stored.failed
    return state, "" if told is None else _reason(told)


def _reason(record: FitRecord | EvaluationRecord) -> str:
    if record.failure is not None:
        return record.failure.in_a_line
    broken = [check.name for check in record.health if not check.passed]
    return f"failed checks: {', '.join(broken)}" if broken else ""
