from __future__ import annotations

import pytest
from report_samples import (
    FAILED,
    MISSING,
    NOT_CONVERGED,
    NOT_EVALUATED,
    VIEW,
    WHOLE,
    Outcome,
    add_row,
    miou,
    outcomes,
    write_grid,
)

from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.reports.collect import collect
from spectral_bench.reports.table import CellState
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store


def test_scores_of_each_seed_in_the_order_of_seeds(store: Store):
    write_grid(store, add_row(store, "a", {2: Outcome(10), 0: Outcome(20)}), note="hello")
    (entry,) = collect(store)
    assert [result.seed for result in entry.seeds] == [0, 2]
    scores = [result.scores for result in entry.done]
    assert [100 * found.miou for found in scores if found is not None] == pytest.approx([miou(20), miou(10)])
    assert (entry.grid, entry.note, entry.class_set, entry.n_images) == ("example", "hello", "two", (1,))


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (FAILED, CellState.FAILED, "out_of_memory: tried to allocate"),
        (NOT_CONVERGED, CellState.NOT_CONVERGED, ""),
        (MISSING, CellState.MISSING, "not begun"),
        (NOT_EVALUATED, CellState.MISSING, "trained, not evaluated under this protocol"),
        (Outcome(evaluation_status="failed"), CellState.FAILED, "out_of_memory: tried to allocate"),
        (Outcome(3, evaluation_status="not_converged"), CellState.NOT_CONVERGED, ""),
    ],
)
def test_states_and_reasons(store: Store, outcome: Outcome, state: CellState, reason: str):
    write_grid(store, add_row(store, "a", {0: outcome, 1: Outcome(5)}))
    (entry,) = collect(store)
    assert (entry.seeds[0].state, entry.seeds[0].reason, entry.seeds[0].scores) == (state, reason, None)
    assert [result.seed for result in entry.done] == [1]


def test_a_run_that_somebody_works_on_is_running(store: Store):
    row = add_row(store, "a", {0: MISSING})
    write_grid(store, row)
    with store.claim(row.runs[0]):
        assert collect(store)[0].seeds[0].state is CellState.RUNNING
    assert collect(store)[0].seeds[0].state is CellState.MISSING


def test_another_matching_and_protocol_are_chosen_by_name(store: Store):
    other = Protocol(name="sky", view=VIEW, scoring=Scoring(classes="sky"))
    write_grid(store, add_row(store, "a", outcomes(10), protocols=[WHOLE, other]))
    assert [entry.protocol.name for entry in collect(store)] == ["whole", "sky"]
    (entry,) = collect(store, protocol="sky", matching="hungarian")
    assert entry.protocol.scoring == Scoring(classes="sky", matching="hungarian")
    assert entry.class_table is not None
    assert entry.class_table.classes == ["sky"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"grid": "exampel"}, 'unknown grid "exampel"; did you mean "example"? valid: example'),
        ({"protocol": "hole"}, 'unknown protocol "hole"; did you mean "whole"? valid: whole'),
        (
            {"matching": "greedy"},
            'unknown matching "greedy"; valid: hungarian, hungarian_iou, hungarian_iou_present, '
            "hungarian_present, iou, majority, own, per_image_hungarian, per_image_hungarian_mean, text",
        ),
    ],
)
def test_unknown_names_are_refused(store: Store, names: dict[str, str], message: str):
    write_grid(store, add_row(store, "a", outcomes(10)))
    with pytest.raises(UserError) as caught:
        collect(store, **names)
    assert str(caught.value) == message


def test_an_empty_store_says_so(store: Store):
    with pytest.raises(StoreError, match="holds no results yet"):
        collect(store)


def test_a_class_set_that_was_not_recorded_is_not_applicable(store: Store):
    other = Protocol(name="odd", view=VIEW, scoring=Scoring(classes="four"))
    write_grid(store, add_row(store, "a", outcomes(10), protocols=[other]))
    (entry,) = collect(store)
    assert entry.seeds[0].state is CellState.NOT_APPLICABLE
    assert 'unknown class set "four"' in entry.seeds[0].reason
    assert entry.class_table is None


def test_the_matching_can_be_fitted_on_another_split(store: Store):
    train = VIEW.model_copy(update={"split": "train"})
    fitted = Protocol(name="fitted", view=VIEW, fit_view=train, scoring=Scoring(fit_split="train"))
    training = Protocol(name="train", view=train, scoring=Scoring())
    write_grid(store, add_row(store, "a", outcomes(10), protocols=[fitted, training]))
    entry = collect(store, protocol="fitted")[0]
    assert entry.done[0].scores is not None

    write_grid(store, add_row(store, "b", outcomes(10), protocols=[fitted]))
    entry = collect(store, protocol="fitted")[0]
    assert entry.seeds[0].state is CellState.NOT_APPLICABLE
    assert "(train) is not evaluated" in entry.seeds[0].reason
