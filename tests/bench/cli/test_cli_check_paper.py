"""``bench check-paper``: what it prints, its exit codes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_lab import Bench, Launcher
from plan_lab import SMALL, Lab


@pytest.fixture
def paper(bench: Bench, launch: Launcher, lab: Lab) -> Path:
    """A paper beside the store that it is about, with the numbers of today."""
    launch(SMALL)
    assert bench("report", "--all", "rep", "--out", lab.out, "--no-gallery").code == 0
    path = lab.folder / "paper.tex"
    inputs = "\\input{rep/numbers}\\input{rep/tables/main}"
    path.write_text(f"{inputs}\nAn mIoU of \\benchnumber{{{name_of_a_number()}}}.\n")
    return path


def name_of_a_number() -> str:
    found = re.search(r"bench:(main/[^\\]*/miou)\\", Path("rep/numbers.tex").read_text())
    assert found is not None
    return found[1]


def test_what_differs_is_told_with_both_values(bench: Bench, paper: Path, lab: Lab) -> None:
    good = bench("check-paper", paper, "--out", lab.out)
    assert (good.code, good.err) == (0, "")
    assert "0 differ, 0 not found" in good.out
    numbers = paper.parent / "rep/numbers.tex"
    numbers.write_text(numbers.read_text().replace("/miou\\endcsname{", "/miou\\endcsname{1"))
    bad = bench("check-paper", paper, lab.out)
    assert (bad.code, bad.out.count("differs  paper.tex:2")) == (1, 1)
    told = json.loads(bench("check-paper", paper, lab.out, "--json").out)
    (one,) = [number for number in told["numbers"] if number["state"] != "agrees"]
    assert (one["kind"], one["line"], one["cell"], one["paper"]) == ("macro", 2, name_of_a_number(), f"1{one['store']}")
    assert one["runs"]
    assert bench("check-paper", paper, lab.out, "--list").out.count("agrees ") == told["counts"]["agrees"]


def test_a_file_that_is_not_there_is_no_success(bench: Bench, paper: Path, lab: Lab) -> None:
    paper.write_text(paper.read_text() + "\\input{gone}\n")
    result = bench("check-paper", paper, lab.out)
    assert (result.code, "paper.tex:3: gone is not there" in result.err) == (1, True)


def test_bad_input_is_told(bench: Bench, paper: Path, lab: Lab) -> None:
    other = paper.with_name("other.tex")
    other.write_text("Nothing here.\n")
    for arguments, error in (
        ([other, lab.out], "no number in it names anything"),
        ([paper.with_name("none.tex"), lab.out], "cannot be read"),
        ([paper, lab.folder / "none"], "expected a store of results"),
        ([paper, lab.out, "--grid", "smal"], 'did you mean "small"?'),
    ):
        result = bench("check-paper", *arguments)
        assert (result.code, error in result.err) == (2, True), result
