from __future__ import annotations

import pytest
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.reports import build_tables, render
from spectral_bench.reports.ablation_table import value_text
from spectral_bench.reports.table import Table, TableRow
from spectral_bench.results.manifest import ManifestRow
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.statistics import summarise
from spectral_bench.results.store import Store


def base(store: Store, *wrong: int, **changes: object) -> ManifestRow:
    return add_row(store, "base", outcomes(*wrong), role="baseline", **changes)


def change(store: Store, factor: str, value: object, seeds: dict[int, Outcome], **changes: object) -> ManifestRow:
    return add_row(store, f"{factor}={value}", seeds, role="variation", factor=factor, value=value, **changes)


def ablation(store: Store, *rows: ManifestRow) -> Table:
    _, table = build_tables(write_grid(store, *rows))
    return table


def by_change(table: Table) -> dict[object, TableRow]:
    return {row.cells["change"].value: row for row in table.rows}


def test_differences_are_paired_by_seed(store: Store):
    table = ablation(store, base(store, 10, 20, 30), change(store, "k", 32, outcomes(12, 21, 34)))
    differences = [miou(12) - miou(10), miou(21) - miou(20), miou(34) - miou(30)]
    summary = summarise(differences)
    found = by_change(table)["k = 32"].cells["mIoU_difference"]
    assert (found.value, found.low, found.high) == pytest.approx((summary.mean, summary.low, summary.high))
    assert found.n == 3
    assert len(found.runs) == 6
    assert by_change(table)["baseline"].cells.get("mIoU_difference") is None


def test_one_common_seed_gives_a_difference_without_interval(store: Store):
    table = ablation(store, base(store, 10, 20), change(store, "k", 32, {1: Outcome(25), 7: Outcome(1)}))
    row = by_change(table)["k = 32"]
    found = row.cells["mIoU_difference"]
    assert found.value == pytest.approx(miou(25) - miou(20))
    assert (found.low, found.high) == (None, None)
    assert row.cells["seeds_compared"].value == 1
    assert row.cells["mIoU"].n == 2


def test_no_common_seed_gives_no_difference_and_says_why(store: Store):
    table = ablation(store, base(store, 10), change(store, "k", 32, {7: Outcome(1)}))
    found = by_change(table)["k = 32"].cells["mIoU_difference"]
    assert found.value is None
    assert "no seed is finished in both" in render(table, "markdown")


def test_a_failed_variation_shows_its_state(store: Store):
    table = ablation(store, base(store, 10), change(store, "k", 32, {0: FAILED}))
    text = render(table, "markdown")
    assert "failed [a]" in text
    assert by_change(table)["k = 32"].cells["mIoU_difference"].value is None


def test_a_failed_seed_of_the_baseline_leaves_the_other_pairs(store: Store):
    seeds = {0: Outcome(10), 1: FAILED, 2: Outcome(30)}
    baseline = add_row(store, "base", seeds, role="baseline")
    table = ablation(store, baseline, change(store, "k", 32, outcomes(11, 22, 33)))
    assert by_change(table)["k = 32"].cells["mIoU_difference"].n == 2
    assert by_change(table)["baseline"].cells["mIoU"].marks


def test_grids_without_a_baseline_give_no_ablation_table(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    assert [table.name for table in build_tables(store)] == ["main"]


def test_a_baseline_alone_is_no_ablation(store: Store):
    write_grid(store, base(store, 10))
    assert [table.name for table in build_tables(store)] == ["main"]


def test_each_baseline_has_its_own_table(store: Store):
    first = (base(store, 10), change(store, "k", 32, outcomes(20)))
    other = add_row(store, "other", outcomes(40), role="baseline")
    second = (other, change(store, "alpha", 0.1, outcomes(45)))
    write_grid(store, *first, add_row(store, "plain", outcomes(1)), *second)
    _, one, two = build_tables(store)
    assert (one.name, two.name) == ("ablation-example", "ablation-example-2")
    assert list(by_change(one)) == ["baseline", "k = 32"]
    assert list(by_change(two)) == ["baseline", "alpha = 0.1"]
    assert by_change(two)["alpha = 0.1"].cells["mIoU_difference"].value == pytest.approx(miou(45) - miou(40))


def test_protocols_are_compared_with_themselves(store: Store):
    sky = Protocol(name="sky", view=VIEW, scoring=Scoring(classes="sky"))
    rows = (base(store, 10, protocols=[WHOLE, sky]), change(store, "k", 32, outcomes(20), protocols=[WHOLE, sky]))
    table = ablation(store, *rows)
    assert [row.cells["protocol"].value for row in table.rows] == ["whole", "whole", "sky", "sky"]


def test_rows_evaluated_on_other_images_are_not_compared(store: Store):
    elsewhere = WHOLE.model_copy(update={"view": VIEW.model_copy(update={"split": "test"})})
    table = ablation(store, base(store, 10), change(store, "dataset", "x", outcomes(20), protocols=[elsewhere]))
    found = by_change(table)["dataset = x"].cells["mIoU_difference"]
    assert (found.value, found.state.value) == (None, "not applicable")
    assert "Not compared: evaluated on other images" in render(table, "markdown")


def test_variations_are_grouped_by_their_factor(store: Store):
    rows = (base(store, 10), change(store, "k", 32, outcomes(1)), change(store, "alpha", 0.0, outcomes(2)))
    assert [row.group for row in ablation(store, *rows).rows] == ["", "k", "alpha"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (0.0, "0.0"), ("a", "a"), (["a", 0.5, True], "[a, 0.5, true]")],
)
def test_values_are_written_as_in_yaml(value: object, text: str):
    assert value_text(value) == text


def test_a_clear_change_has_a_verdict_and_an_unclear_one_says_what_is_missing(store: Store):
    noise = (10, 12, 11, 13, 10)
    rows = (
        base(store, *noise),
        change(store, "k", 8, {seed: Outcome(wrong + 20 + seed % 2) for seed, wrong in enumerate(noise)}),
        change(store, "k", 9, {seed: Outcome(wrong + (-1) ** seed) for seed, wrong in enumerate(noise)}),
    )
    table = ablation(store, *rows)
    worse, unclear = by_change(table)["k = 8"].cells, by_change(table)["k = 9"].cells
    assert (worse["verdict"].value, worse["detectable"].value) == ("worse", None)
    assert worse["mIoU_p"].number is not None
    assert worse["mIoU_p"].number < 0.05
    assert unclear["verdict"].value == "undecided"
    assert unclear["detectable"].number is not None
    assert unclear["detectable"].number > abs(unclear["mIoU_difference"].number or 0)
    assert unclear["more_seeds"].number is not None
    assert {"verdict", "detectable", "more_seeds"} <= {column.key for column in table.folded().columns}


def test_p_values_are_corrected_over_all_differences_of_the_table(store: Store):
    seeds = outcomes(10, 12, 11, 13, 10)
    rows = [base(store, 10, 12, 11, 13, 11)]
    rows += [change(store, "k", value, {seed: Outcome(20 + seed + value % 3) for seed in seeds}) for value in range(4)]
    table = ablation(store, *rows)
    one = ablation(store, *rows[:2])
    alone, among = by_change(one)["k = 0"].cells["mIoU_p"], by_change(table)["k = 0"].cells["mIoU_p"]
    assert alone.number is not None
    assert among.number is not None
    assert among.number >= alone.number


def test_few_seeds_make_no_claim_and_say_how_many_more_it_would_need(store: Store):
    table = ablation(store, base(store, 10, 11, 12), change(store, "k", 32, outcomes(40, 41, 42)))
    assert by_change(table)["k = 32"].cells["verdict"].value == "no claim"
    assert by_change(table)["k = 32"].cells["more_seeds"].number is not None
    assert "about" in str(by_change(table)["k = 32"].cells["in_words"].value)
    assert "detectable" not in {column.key for column in table.folded().columns}
