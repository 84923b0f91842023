"""Which cells changed, whether that can be told from noise, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_samples import FAILED, WHOLE, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.reports.collect import collect
from spectral_bench.reports.compare import Comparison, Difference, compare_entries
from spectral_bench.reports.compare.matching import match_rows
from spectral_bench.reports.compare.sittings import take_turns
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.versions import versions
from spectral_bench.results.specification import Scoring, View
from spectral_bench.results.store import Store

CPU = {"environment": {"cpu": "Some CPU"}, "execution": {"device": "cpu", "threads": 2}}
OTHER_CPU = {"environment": {"cpu": "Other CPU"}, "execution": {"device": "cpu", "threads": 2}}


def rows(
    folder: Path, seeds: dict[int, Outcome], *, title: str = "a", grid: str = "example", **changes: Any
) -> list[ScoredRow]:
    store = Store.open(folder, create=True)
    return collect(write_grid(store, add_row(store, title, seeds, **changes), name=grid))


def compared(tmp_path: Path, a: dict[int, Outcome], b: dict[int, Outcome], **options: Any) -> Comparison:
    return compare_entries(rows(tmp_path / "a", a), rows(tmp_path / "b", b), **options)


def cell(found: Comparison, metric: str = "mIoU") -> Difference:
    (one,) = [difference for difference in found.differences if difference.metric == metric]
    return one


def test_equal_results_are_the_same(tmp_path: Path):
    one = cell(compared(tmp_path, outcomes(10, 11, 12), outcomes(10, 11, 12)))
    assert (one.word, one.differs, one.p) == ("same", False, None)
    assert one.difference is not None
    assert one.difference.mean == 0


@pytest.mark.parametrize(("wrong", "word"), [((20, 21, 22, 20, 21), "worse"), ((1, 2, 3, 1, 2), "better")])
def test_a_clear_change_is_told_from_noise(tmp_path: Path, wrong: tuple[int, ...], word: str):
    before = (10, 11, 12, 10, 11)
    one = cell(compared(tmp_path, outcomes(*before), outcomes(*wrong)))
    assert one.word == word
    assert one.difference is not None
    moved = [miou(after) - miou(then) for after, then in zip(wrong, before, strict=True)]
    assert one.difference.mean == pytest.approx(sum(moved) / 5)
    assert one.p is not None
    assert one.p < 0.05


def test_noise_is_undecided(tmp_path: Path):
    one = cell(compared(tmp_path, outcomes(10, 20, 30, 15, 25), outcomes(20, 10, 25, 25, 17)))
    assert (one.word, one.differs) == ("undecided", True)
    assert "not distinguishable" in one.reason


def test_too_few_seeds_make_no_claim(tmp_path: Path):
    one = cell(compared(tmp_path, outcomes(10, 11), outcomes(40, 41)))
    assert (one.word, one.p, one.differs) == ("no claim", None, True)
    assert one.reason.startswith("no claim: 2 of 5 seeds")


def test_a_tolerance_lets_scores_move(tmp_path: Path):
    a, b = outcomes(10, 10, 10, 10, 20), outcomes(11, 11, 11, 11, 21)
    moved = (4 * (miou(10) - miou(11)) + miou(20) - miou(21)) / 5
    assert cell(compared(tmp_path, a, b, tolerance=moved - 0.01)).word == "worse"
    assert cell(compared(tmp_path, a, b, tolerance=moved + 0.01)).word == "within tolerance"


def test_only_common_seeds_are_paired_and_the_others_are_named(tmp_path: Path):
    a, b = outcomes(10, 11, 12), outcomes(10, 11)
    found = compared(tmp_path, a, b)
    assert cell(found).word == "same"
    assert found.pairs[0].remarks == ("seeds only in A: 2",)
    apart = compared(tmp_path / "apart", {0: Outcome(10)}, {1: Outcome(10)})
    assert (cell(apart).word, cell(apart).reason) == ("not comparable", "seeds: none in common")


def test_a_row_that_fails_now_has_changed(tmp_path: Path):
    one = cell(compared(tmp_path, outcomes(10), {0: FAILED}))
    assert (one.word, one.reason) == ("state changed", "done in A, failed in B")
    both = cell(compared(tmp_path / "both", {0: FAILED}, {0: FAILED}))
    assert (both.word, both.reason) == ("not comparable", "failed in both")


def test_another_protocol_of_the_same_name_is_not_comparable(tmp_path: Path):
    other = WHOLE.model_copy(update={"view": View(dataset="synthetic", split="val", window=64, stride=32)})
    a, b = rows(tmp_path / "a", outcomes(10)), rows(tmp_path / "b", outcomes(10), protocols=[other])
    one = cell(compare_entries(a, b))
    assert one.word == "not comparable"
    assert one.reason == "protocol: view.stride, view.window differ"


def test_another_class_set_is_not_comparable(tmp_path: Path):
    other = WHOLE.model_copy(update={"scoring": Scoring(classes="sky")})
    a, b = rows(tmp_path / "a", outcomes(10)), rows(tmp_path / "b", outcomes(10), protocols=[other])
    assert "protocol: scoring.classes differ" in cell(compare_entries(a, b)).reason


def with_records(entries: list[ScoredRow], *, code: dict[str, str] | None = None, images: str = "") -> list[ScoredRow]:
    for entry in entries:
        for result in entry.done:
            assert result.fit is not None
            assert result.evaluation is not None
            result.fit.code = code or {}
            result.evaluation.data_digest = images
    return entries


def test_a_copied_project_is_compared_by_what_was_seen(tmp_path: Path):
    sides = []
    for place in ("here", "there"):
        path, name = f"folder:/{place}/leaves.yaml", f"folder:{place}"
        view = View(dataset=path, known_as=name, split="val")
        own = {
            "dataset": "folder:leaves.yaml",
            "data_name": name,
            "protocols": [WHOLE.model_copy(update={"view": view})],
        }
        seeds = {seed: Outcome(10, files=("2:images", "2:labels")) for seed in range(2)}
        sides.append(rows(tmp_path / place, seeds, **own))
    found = compare_entries(*sides)
    assert {cell.word for cell in found.differences} == {"same"}
    assert [pair.remarks for pair in found.pairs] == [()]


def test_other_images_are_not_comparable(tmp_path: Path):
    a = with_records(rows(tmp_path / "a", outcomes(10)), images="one")
    b = with_records(rows(tmp_path / "b", outcomes(10)), images="two")
    assert cell(compare_entries(a, b)).reason == "data: evaluated on other images"


@pytest.mark.parametrize(("one", "two", "differ"), [("s", "s+c", False), ("s+c", "s+d", True), ("t", "s+c", True)])
def test_images_are_compared_as_far_as_both_records_tell(tmp_path: Path, one: str, two: str, differ: bool):
    a = with_records(rows(tmp_path / "a", outcomes(10)), images=one)
    b = with_records(rows(tmp_path / "b", outcomes(10)), images=two)
    assert ("evaluated on other images" in cell(compare_entries(a, b)).reason) is differ
    records = {
        name: [result.evaluation for entry in entries for result in entry.done]
        for name, entries in (("a", a), ("b", b))
    }
    assert bool(versions(records)) is differ


def test_other_code_is_told_and_blocks_on_request(tmp_path: Path):
    a = with_records(rows(tmp_path / "a", outcomes(10)), code={"methods.kmeans": "1", "same": "1"})
    b = with_records(rows(tmp_path / "b", outcomes(12)), code={"methods.kmeans": "2", "same": "1"})
    found = compare_entries(a, b)
    assert cell(found).word == "no claim"
    assert found.pairs[0].remarks == ("code: methods.kmeans differ",)
    strict = cell(compare_entries(a, b, same_code=True))
    assert (strict.word, strict.reason) == ("not comparable", "code: 1 modules differ")


def timed(seconds: float, facts: dict[str, Any]) -> dict[int, Outcome]:
    return {seed: Outcome(10, fit_s=seconds + seed / 10, **facts) for seed in range(5)}


def in_sittings(seconds: float, when: Sequence[int], name: str = "") -> dict[int, Outcome]:
    """Five seeds of about so many seconds, each in a sitting of its own that began at an hour of one day."""
    noise = (0.0, 0.3, -0.1, 0.2, -0.3)
    return {
        seed: Outcome(
            10,
            fit_s=seconds + noise[seed],
            started=f"2026-01-02T{hour:02}:00:00+00:00",
            environment=CPU["environment"],
            execution={**CPU["execution"], "sitting": name or f"launch of {hour}"},
        )
        for seed, hour in enumerate(when)
    }


FIRST, SECOND = (0, 3, 4, 7, 8), (1, 2, 5, 6, 9)  # ABBAABBAAB


@pytest.mark.parametrize(("seconds", "word"), [(20.0, "worse"), (5.0, "better"), (10.05, "undecided")])
def test_a_cost_is_told_by_sittings_that_took_turns(tmp_path: Path, seconds: float, word: str):
    before = in_sittings(10.0, FIRST)
    after = {
        seed: replace(outcome, fit_s=outcome.fit_s + 0.1 * seed)
        for seed, outcome in in_sittings(seconds, SECOND).items()
    }
    one = cell(compared(tmp_path, before, after, costs=True), "fit_s")
    assert one.word == word
    assert one.difference is not None
    assert one.difference.mean == pytest.approx(seconds - 10 + 0.2)
    assert one.p is not None


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (timed(10, CPU), timed(20, CPU), "the sittings of a side are not recorded"),
        (in_sittings(10, FIRST, "one"), in_sittings(20, SECOND, "two"), "1 of 5 sittings; seeds of one launch are no"),
        (in_sittings(10, FIRST), in_sittings(20, SECOND, "two"), "1 of 5 sittings; seeds of one launch are no"),
        (in_sittings(10, FIRST), in_sittings(20, range(10, 15)), "the sittings of A and B did not take turns"),
        (in_sittings(10, FIRST[:4]), in_sittings(20, SECOND[:4]), "4 of 5 sittings; seeds of one launch are no"),
    ],
)
def test_a_cost_is_not_claimed_otherwise(tmp_path: Path, a: dict[int, Outcome], b: dict[int, Outcome], reason: str):
    """Though each seed of B takes twice as long."""
    one = cell(compared(tmp_path, a, b, costs=True), "fit_s")
    assert (one.word, one.p, one.differs) == ("no claim", None, True)
    assert one.reason.startswith(f"no claim: {reason}")
    assert one.difference is not None
    assert (one.difference.mean, one.difference.low) == (pytest.approx(10), None)


def test_seeds_of_one_sitting_are_one_repeat(tmp_path: Path):
    """Ten seeds in five sittings: two of each."""

    def twice(seconds: float, when: Sequence[int]) -> dict[int, Outcome]:
        five = in_sittings(seconds, when)
        return five | {seed + 5: replace(outcome, fit_s=outcome.fit_s + 1) for seed, outcome in five.items()}

    one = cell(compared(tmp_path, twice(10, FIRST), twice(20, SECOND), costs=True), "fit_s")
    assert (one.word, one.a and one.a.n, one.difference and one.difference.n) == ("worse", 10, 5)


def test_a_claim_on_costs_leaves_the_scores_p_values_alone(tmp_path: Path):
    """What allows no claim is no part of the correction."""
    a, b = outcomes(10, 14, 12, 15, 11), outcomes(12, 15, 15, 16, 14)
    alone = cell(compared(tmp_path / "1", a, b))
    assert cell(compared(tmp_path / "2", a, b, costs=True)).p == alone.p


A_FIRST = [(f"{2 * n:02}", f"{2 * n + 1:02}") for n in range(6)]
B_FIRST = [(later, earlier) for earlier, later in A_FIRST]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([A_FIRST[0], B_FIRST[1], A_FIRST[2], B_FIRST[3], A_FIRST[4]], True),
        ([A_FIRST[0], A_FIRST[1], B_FIRST[2], A_FIRST[3], B_FIRST[4]], True),
        ([A_FIRST[0], A_FIRST[1], B_FIRST[2], A_FIRST[3], A_FIRST[4]], False),  # B comes after A
        (A_FIRST, False),
        (B_FIRST, False),
        ([(f"{n:02}", f"{n + 5:02}") for n in range(5)], False),
        ([("0", "1"), ("3", "2"), ("4", "7"), ("5", "8"), ("6", "9")], False),  # three of A in a row
    ],
)
def test_who_takes_turns(times: list[tuple[str, str]], expected: bool):
    assert take_turns(times) is expected


def test_times_need_the_same_hardware(tmp_path: Path):
    other = compared(tmp_path / "2", timed(10, CPU), timed(20, OTHER_CPU), costs=True)
    assert cell(other, "fit_s").reason == "hardware: Some CPU, 2 threads in A, Other CPU, 2 threads in B"
    assert cell(other).word == "same"
    assert other.pairs[0].remarks == ("hardware: Some CPU, 2 threads in A, Other CPU, 2 threads in B",)
    unknown = compared(tmp_path / "3", timed(10, {}), timed(20, {}), costs=True)
    assert cell(unknown, "fit_s").reason == "hardware: unknown in A, unknown in B"
    near = compared(tmp_path / "4", timed(10, CPU), timed(10.5, CPU), costs=True, cost_tolerance=6)
    assert cell(near, "fit_s").word == "within tolerance"


def test_peaks_are_of_seeds_that_did_the_same_on_both_sides(tmp_path: Path):
    def first_extracts(*extracting: int) -> dict[int, Outcome]:
        return {seed: Outcome(10, features_reused=seed not in extracting, **CPU) for seed in range(3)}

    one = cell(compared(tmp_path / "1", first_extracts(0), first_extracts(), costs=True), "peak_rss_bytes")
    assert (one.a.n, one.b.n, one.word) == (2, 2, "same")
    alike = cell(compared(tmp_path / "2", first_extracts(0), first_extracts(0), costs=True), "peak_rss_bytes")
    assert (alike.a.n, alike.b.n) == (3, 3)
    together = first_extracts()
    together[2] = replace(together[2], execution={**CPU["execution"], "cohort": ["one", "other"]})
    cohort = cell(compared(tmp_path / "5", together, first_extracts(), costs=True), "peak_rss_bytes")
    assert (cohort.a.n, cohort.b.n) == (2, 2)
    none = cell(compared(tmp_path / "3", first_extracts(0, 1, 2), first_extracts(), costs=True), "peak_rss_bytes")
    assert (none.word, none.difference) == ("not comparable", None)
    assert none.reason == "memory: only runs of one side extracted features, or shared their process"
    fit = cell(compared(tmp_path / "4", first_extracts(0), first_extracts(), costs=True), "fit_s")
    assert (fit.a.n, fit.b.n) == (3, 3)


def test_p_values_are_corrected_over_all_cells(tmp_path: Path):
    a, b = outcomes(10, 14, 12, 15, 11), outcomes(12, 15, 15, 16, 14)
    alone = cell(compared(tmp_path / "alone", a, b))
    many_a, many_b = Store.open(tmp_path / "a", create=True), Store.open(tmp_path / "b", create=True)
    names = ["a", "b", "c", "d"]
    write_grid(many_a, *(add_row(many_a, name, a) for name in names))
    write_grid(many_b, *(add_row(many_b, name, b) for name in names))
    first = compare_entries(collect(many_a), collect(many_b)).pairs[0].differences[0]
    assert alone.p is not None
    assert first.p is not None
    assert first.p > alone.p


class TestMatching:
    def test_rows_of_two_grids_are_paired_by_title(self, tmp_path: Path):
        a = rows(tmp_path / "a", outcomes(1), title="same", grid="one")
        b = rows(tmp_path / "b", outcomes(2), title="same", grid="two")
        assert match_rows(a, b).pairs == ((a[0], b[0]),)

    def test_a_renamed_row_is_found_by_what_was_trained(self, tmp_path: Path):
        a = rows(tmp_path / "a", outcomes(1), title="old name")
        b = rows(tmp_path / "b", outcomes(1), title="old name")
        renamed = [ScoredRow(e.grid, e.note, e.row.model_copy(update={"title": "new"}), e.protocol, e.seeds) for e in b]
        assert match_rows(a, renamed).pairs == ((a[0], renamed[0]),)

    def test_rows_without_a_partner_are_kept(self, tmp_path: Path):
        store = Store.open(tmp_path / "s", create=True)
        write_grid(store, add_row(store, "x", outcomes(1)), name="one")
        write_grid(store, add_row(store, "y", outcomes(1)), name="two")
        entries = collect(store)
        found = match_rows(entries, entries[1:])
        assert found.pairs == ((entries[1], entries[1]),)
        assert (found.only_a, found.only_b) == ((entries[0],), ())
