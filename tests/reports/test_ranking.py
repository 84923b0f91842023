from __future__ import annotations

from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import build_table, render
from spectral_bench.reports.table import Table
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

GOOD, CLOSE, BAD = (10, 12, 11, 13, 10), (11, 11, 12, 12, 10), (30, 32, 31, 33, 31)


def bold(table: Table, key: str = "mIoU") -> list[object]:
    return [row.cells["configuration"].value for row in table.rows if row.cells[key].bold]


def remarks(table: Table) -> str:
    return " ".join(note.text for note in table.notes if not note.symbol)


def test_the_best_row_and_what_cannot_be_told_from_it_are_bold(store: Store):
    rows = [add_row(store, name, outcomes(*wrong)) for name, wrong in (("g", GOOD), ("c", CLOSE), ("b", BAD))]
    table = build_table(write_grid(store, *rows))
    assert bold(table) == bold(table, "accuracy") == ["g", "c"]
    assert "Bold: the best row of a column and every row" in remarks(table)
    assert bold(table, "fit_s") == []
    assert render(table, "markdown").count("**") == 12


def test_the_best_row_is_chosen_by_the_seeds_that_all_have(store: Store):
    """The first is worse on each common seed; its own two are easy ones, so that its printed mean is the highest."""
    rows = [
        add_row(store, "more", outcomes(30, 33, 31, 34, 32, 1, 1)),
        add_row(store, "few", outcomes(25, 28, 26, 30, 27)),
    ]
    table = build_table(write_grid(store, *rows))
    means = [row.cells["mIoU"].value for row in table.rows]
    assert isinstance(means[0], float)
    assert isinstance(means[1], float)
    assert means[0] > means[1]
    assert bold(table) == ["few"]
    assert remarks(table).count("those of all (0, 1, 2, 3, 4).") == 1


def test_with_too_few_seeds_nothing_is_bold_and_the_table_says_why(store: Store):
    rows = [add_row(store, name, outcomes(*wrong)) for name, wrong in (("g", GOOD), ("short", BAD[:3]))]
    table = build_table(write_grid(store, *rows))
    assert bold(table) == []
    assert "No row is in bold: a claim needs 5 common seeds in every row, and these have fewer: short." in remarks(
        table
    )


def test_many_rows_with_too_few_seeds_are_counted(store: Store):
    rows = [add_row(store, f"r{index}", outcomes(10 + index)) for index in range(6)]
    assert "and no row has them." in remarks(build_table(write_grid(store, *rows)))
    write_grid(store, *rows, add_row(store, "enough", outcomes(*GOOD)))
    assert "r0, r1, r2, r3 and 2 more." in remarks(build_table(store))


def test_methods_that_use_labels_neither_win_nor_hinder(store: Store):
    rows = [
        add_row(store, "g", outcomes(*GOOD)),
        add_row(store, "b", outcomes(*BAD)),
        add_row(store, "probe", outcomes(1), uses_labels=True),
    ]
    assert bold(build_table(write_grid(store, *rows))) == ["g"]


def test_failed_rows_do_not_hinder(store: Store):
    rows = [
        add_row(store, "g", outcomes(*GOOD)),
        add_row(store, "b", outcomes(*BAD)),
        add_row(store, "fails", dict.fromkeys(range(5), FAILED)),
    ]
    assert bold(build_table(write_grid(store, *rows))) == ["g"]


def test_protocols_are_ranked_apart(store: Store):
    other = Protocol(name="hungarian", view=VIEW, scoring=Scoring(matching="hungarian"))
    rows = [
        add_row(store, name, {seed: Outcome(value) for seed, value in enumerate(wrong)}, protocols=[WHOLE, other])
        for name, wrong in (("g", GOOD), ("b", BAD))
    ]
    table = build_table(write_grid(store, *rows))
    assert [(row.cells["protocol"].value, row.cells["mIoU"].bold) for row in table.rows] == [
        ("whole", True),
        ("hungarian", True),
        ("whole", False),
        ("hungarian", False),
    ]


def test_one_row_alone_is_neither_bold_nor_explained(store: Store):
    table = build_table(write_grid(store, add_row(store, "g", outcomes(*GOOD))))
    assert bold(table) == []
    assert "bold" not in remarks(table).lower()
