from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from report_samples import AGAINST_PUBLISHED, FAILED, add_row, miou, outcomes, write_grid

from spectral_bench.common.errors import UserError
from spectral_bench.reports import build_published_table, build_table, build_tables, render, write
from spectral_bench.reports.collect import collect
from spectral_bench.reports.html.page import render_html
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import Table
from spectral_bench.results.published import load_published
from spectral_bench.results.store import Store


@pytest.fixture
def measured(store: Store) -> Store:
    rows = [
        add_row(store, "good", outcomes(1, 2, 1, 2, 1), protocols=AGAINST_PUBLISHED, dataset="cityscapes"),
        add_row(store, "bad", outcomes(70, 71, 70, 71, 72), protocols=AGAINST_PUBLISHED, dataset="cityscapes"),
    ]
    return write_grid(store, *rows)


def published(store: Store) -> Table:
    return build_published_table(store)


def test_measured_rows_come_first_and_published_ones_on_their_data_set_below(measured: Store):
    made = published(measured)
    assert [row.published for row in made.rows[:3]] == [False, False, True]
    shown = [row for row in made.rows if row.published]
    wanted = [row for row in load_published().rows if row.protocol.dataset == "cityscapes"]
    assert len(shown) == len(wanted)
    assert {row.cells["dataset"].value for row in shown} == {"cityscapes"}
    assert made.rows[0].cells["mIoU"].value == pytest.approx(sum(map(miou, (1, 2, 1, 2, 1))) / 5)


def test_each_published_row_stands_once_below_the_protocol_that_it_comes_nearest_to(measured: Store):
    where = {}
    for row in published(measured).rows:
        if row.published:
            where.setdefault((row.cells["configuration"].value, row.cells["source"].value), row.group)
    beside = {key: group for key, group in where.items() if key[0] in ("NeuralEF", "CAUSE-TR")}
    assert {group for (name, _), group in beside.items() if name == "CAUSE-TR"} == {"cityscapes, hungarian"}
    assert {group for (_, source), group in beside.items() if source.endswith("Table 2")} == {"cityscapes, centre320"}
    assert {group for (_, source), group in beside.items() if source.endswith("Table 3")} == {"cityscapes, sliding"}


def test_one_footnote_a_distinct_difference(measured: Store):
    made = published(measured)
    notes = [note for note in made.notes if note.symbol.startswith("†")]
    assert len({note.text for note in notes}) == len({note.symbol for note in notes}) == len(notes)
    marks = [mark for row in made.rows for cell in row.cells.values() for mark in cell.marks if mark.startswith("†")]
    assert set(marks) == {note.symbol for note in notes}
    assert len(marks) > 3 * len(notes)


def test_caveats_are_footnotes(measured: Store):
    texts = " ".join(note.text for note in published(measured).notes)
    for words in (
        "Ground truth reached the network",
        "first 352 images",
        "a black image",
        "released logs give another",
    ):
        assert words in texts


def test_a_published_number_is_never_bold_ranked_or_counted(measured: Store):
    plain = build_table(measured)
    made = build_tables(measured)
    assert render(made[0], "csv") == render(plain, "csv")
    assert any(cell.bold for row in plain.rows for cell in row.cells.values())
    rows = published(measured).rows
    assert not any(cell.bold for row in rows for cell in row.cells.values())
    assert all(not row.ranked for row in rows if row.published)
    assert all(cell.n == 0 and cell.runs == () for row in rows if row.published for cell in row.cells.values())


def test_other_data_sets_on_request_with_a_dagger_for_the_data_set(measured: Store):
    made = build_published_table(measured, ["potsdam3"])
    assert {row.cells["dataset"].value for row in made.rows if row.published} == {"potsdam3"}
    assert any(note.text.startswith("data set: potsdam3;") for note in made.notes)
    rows = build_published_table(measured, ["all"]).rows
    assert sum(row.published for row in rows) == len(load_published().rows)


def test_a_data_set_without_published_numbers_says_so(store: Store):
    write_grid(store, add_row(store, "ours", outcomes(1)))
    made = published(store)
    assert [row.published for row in made.rows] == [False]
    assert made.notes[0].text.startswith("Nothing published is known on synthetic; on other data sets: ade20k,")


def test_an_unknown_data_set_is_refused_with_the_nearest(measured: Store):
    with pytest.raises(UserError, match='did you mean "cityscapes"'):
        build_published_table(measured, ["cityscape"])


def test_a_row_without_a_finished_seed_is_told_truthfully(store: Store):
    write_grid(store, add_row(store, "ours", {0: FAILED}, protocols=AGAINST_PUBLISHED[:1], dataset="cityscapes"))
    made = published(store)
    assert made.rows[0].cells["mIoU"].value is None
    assert made.rows[0].cells["k"].value == "not finished"
    assert any(note.text == "K: 256; measured rows: not finished." for note in made.notes)


def test_markdown_and_csv(measured: Store):
    made = published(measured)
    text = render(made, "markdown")
    assert "| published |" in text
    assert "352 [†" in text
    rows = list(csv.DictReader(io.StringIO(render(made, "csv"))))
    theirs = [row for row in rows if row["origin"] == "published"]
    assert len(theirs) == sum(row.published for row in made.rows)
    assert all(row["runs"] == "" for row in theirs)
    assert all("measured rows" in row["notes"] for row in theirs)


def test_the_page_keeps_published_rows_apart(measured: Store):
    entries = collect(measured)
    page = render_html(entries, measured, [published(measured)], {})
    assert '<section id="published">' in page
    assert page.count('<tr class="published">') == sum(row.published for row in published(measured).rows)


def test_everything_at_once_has_the_table_and_no_published_number_in_a_figure(
    measured: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[ScoredRow] = []
    monkeypatch.setattr(write, "all_figures", lambda entries, folder, panels, against: drawn.extend(entries) or {})
    write.write_all(measured, tmp_path, published=())
    assert len(drawn) == len(collect(measured))
    assert {path.name for path in (tmp_path / "tables").glob("published*")} == {
        *("published.md", "published.tex", "published.csv", "published-standalone.tex")
    }
    assert "tables/published.md" in (tmp_path / "index.md").read_text()
