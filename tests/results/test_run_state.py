"""The rules of ``run_state``, on every combination of what it can be handed about a fit and two evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from spectral_bench.results.record import Failure, Status
from spectral_bench.results.state import JobState, RunState, StoredRun, in_queue, run_state


@dataclass(frozen=True)
class Record:
    status: Status
    failure: Failure | None = None


DONE, NOT_CONVERGED = Record("done"), Record("not_converged")
FAILED, UNTOLD = Record("failed", Failure(kind="exception", message="")), Record("failed")
CANCELLED = Record("failed", Failure(kind="cancelled", message=""))
RECORDS = (None, DONE, NOT_CONVERGED, FAILED, UNTOLD, CANCELLED)
BAD = (FAILED, UNTOLD, CANCELLED)


def stored_runs() -> Iterator[StoredRun[Record]]:
    for fit, one, other in product(RECORDS, repeat=3):
        yield StoredRun(fit, {"one": one, "other": other})
    yield from (StoredRun(fit) for fit in RECORDS)


def facts() -> Iterator[dict[str, Any]]:
    names = ("claimed", "checkpoint", "ordered", "changed")
    for values in product((False, True), repeat=4):
        yield dict(zip(names, values, strict=True))


ALL = [(stored, told) for stored in stored_runs() for told in facts()]
FREE = [(stored, told) for stored, told in ALL if not told["claimed"]]


def test_a_run_that_a_process_owns_is_running_whatever_is_stored() -> None:
    assert {run_state(stored, **told) for stored, told in ALL if told["claimed"]} == {RunState.RUNNING}
    assert RunState.RUNNING not in {run_state(stored, **told) for stored, told in FREE}


def test_a_run_is_finished_exactly_when_all_that_is_wanted_is_stored() -> None:
    for stored, told in FREE:
        records = [stored.fit, *stored.evaluations.values()]
        assert run_state(stored, **told).finished is all(one in (DONE, NOT_CONVERGED) for one in records)


def test_a_finished_run_is_no_number_before_it_is_stale_before_it_is_done() -> None:
    for stored, told in FREE:
        state = run_state(stored, **told)
        if state.finished:
            sound = NOT_CONVERGED not in (stored.fit, *stored.evaluations.values())
            expected = (RunState.STALE if told["changed"] else RunState.DONE) if sound else RunState.NOT_CONVERGED
            assert state is expected


def test_without_a_record_of_the_fit_a_checkpoint_counts_before_an_order() -> None:
    for stored, told in FREE:
        state = run_state(stored, **told)
        begun = {RunState.NEW, RunState.ORDERED, RunState.INTERRUPTED}
        assert (state in begun) is (stored.fit is None)
        if stored.fit is None:
            assert (state is RunState.INTERRUPTED) is told["checkpoint"]
            assert (state is RunState.ORDERED) is (told["ordered"] and not told["checkpoint"])


def test_the_first_failure_says_whether_a_run_failed_or_was_cancelled() -> None:
    for stored, told in FREE:
        records = (
            [stored.fit] if stored.fit is None or stored.fit in BAD else [stored.fit, *stored.evaluations.values()]
        )
        first = next((one for one in records if one in BAD), None)
        state = run_state(stored, **told)
        assert (state is RunState.CANCELLED) is (first is CANCELLED)
        assert (state is RunState.FAILED) is (first in (FAILED, UNTOLD))
        assert stored.failed is first


def test_a_run_is_partial_when_it_is_fitted_and_an_evaluation_is_neither_there_nor_failed() -> None:
    for stored, told in FREE:
        fitted = stored.fit in (DONE, NOT_CONVERGED)
        found = list(stored.evaluations.values())
        partial = fitted and None in found and not any(one in BAD for one in found)
        assert (run_state(stored, **told) is RunState.PARTIAL) is partial


def test_what_is_missing_are_the_wanted_views_without_a_good_record_all_of_them_without_a_fit() -> None:
    for stored in stored_runs():
        good = [name for name, one in stored.evaluations.items() if one in (DONE, NOT_CONVERGED)]
        expected = [name for name in stored.evaluations if name not in good or not stored.fitted]
        assert list(stored.missing) == expected
        assert stored.fitted is (stored.fit in (DONE, NOT_CONVERGED))


def test_a_queue_has_the_last_word_on_what_is_neither_owned_nor_finished() -> None:
    says = {
        JobState.PENDING: RunState.PENDING,
        JobState.RUNNING: RunState.RUNNING,
        JobState.LOST: RunState.UNKNOWN,
        JobState.UNKNOWN: RunState.UNKNOWN,
    }
    for stored, told in ALL:
        alone = run_state(stored, **told)
        for job in (None, *JobState):
            certain = alone.finished or alone is RunState.RUNNING
            expected = alone if certain or job is None else says.get(job, alone)
            assert run_state(stored, **told, job=job) is expected
            assert in_queue(alone, job) is expected


def test_every_state_can_be_reached() -> None:
    found = {run_state(stored, **told, job=job) for stored, told in ALL for job in (None, *JobState)}
    assert found == set(RunState)


def test_states_are_words_and_an_order_shows_in_none() -> None:
    assert {state: state.word for state in RunState if state.word != state} == {RunState.ORDERED: "new"}
    assert [state.value for state in RunState if state.finished] == ["done", "stale", "not_converged"]


@pytest.mark.parametrize(("job", "live"), [("pending", True), ("running", True), ("ended", False), ("lost", False)])
def test_a_job_is_live_while_it_may_still_end(job: str, live: bool) -> None:
    assert JobState(job).live is live
    assert JobState.UNKNOWN.live


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", "killed"),
        ("  \n ", "killed"),
        ("by signal 9", "killed: by signal 9"),
        ("\nby signal 9\nmore", "killed: by signal 9"),
    ],
)
def test_a_failure_in_a_line_is_its_kind_and_the_first_line_of_its_message(message: str, line: str) -> None:
    assert Failure(kind="killed", message=message).in_a_line == line
