"""All that is wrong with a grid is said in one go, from its keys to the files that it looks at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_lab import Bench
from plan_lab import Lab

from spectral_bench.bench.plan.run_ids import resolve_rows
from spectral_bench.common.documents.problems import InvalidDocument, Problems
from spectral_bench.common.errors import DataError

GRID = """\
nmae: all
runs:
  - {method: kmeanz, dataset: camvid}
  - {method: kmeans, seeds: none, dataset: synthetik, params: {kk: 3}}
  - {method: kmeans, dataset: ade20k, split: nowhere, subset: none}
  - {method: kmeans, dataset: cityscapes, backbone: vit_huge}
  - {method: kmeans, params: {k: 8}}
  - {method: kmeans, params: {k: 8}}
  - {method: kmeans, dataset: pascal_context}
"""


def said(call: Callable[[], Any]) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        call()
    return list(caught.value.problems)


def test_a_run_says_every_fault_of_every_stage(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    path = lab.write(GRID)
    result = bench("run", "--grid", path, "--out", lab.out, "--data-root", tmp_path)
    assert result.code == 2
    lines = [line.removeprefix("error: ").replace(f"{path}:", "") for line in result.err.splitlines()]
    starts = [
        '1: nmae: unknown key "nmae"',
        '3: runs[0].method: unknown method "kmeanz"',
        '4: runs[1].dataset: unknown data set "synthetik"',
        "4: runs[1].params.kk: unknown parameter",
        "4: runs[1].seeds: expected a list",
        "5: runs[2].split: unknown split of ade20k",
        "5: runs[2].subset: expected a whole number",
        "6: runs[3].backbone: ",
        "8: runs[5]: the same run as runs[4]",
    ]
    for start in starts:
        assert sum(line.startswith(start) for line in lines) == 1, (start, lines)
    # Files come last, of sound rows and of those with another fault, and a data set once, whatever splits are wanted.
    data = lines[len(starts) :]
    assert [[name for name in ("camvid", "cityscapes", "pascal") if name in line] for line in data] == [
        ["pascal"],
        ["camvid"],
        ["cityscapes"],
    ]
    assert not lab.out.exists()


def test_a_plan_says_keys_and_names_together(bench: Bench, lab: Lab) -> None:
    result = bench("plan", "--grid", lab.write(GRID), "--out", lab.out, "--set", "=3")
    assert result.code == 2
    assert len(result.err.splitlines()) == 10
    assert "expected key=value" in result.err


def test_one_fault_alone_is_the_error_that_it_was(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    path = lab.write("runs: [{method: kmeans, dataset: camvid}]")
    result = bench("run", "--grid", path, "--out", lab.out, "--data-root", tmp_path)
    (line,) = result.err.splitlines()
    assert "camvid" in line
    problems = Problems()
    with problems.gathering():
        raise DataError("x.png: corrupt")
    with problems.gathering():
        raise DataError("x.png: corrupt")
    with pytest.raises(DataError, match=r"^x\.png: corrupt$"):
        problems.check()


def test_what_a_slip_makes_of_a_row_is_no_fault_of_its_own(bench: Bench, lab: Lab) -> None:
    """Without its mistyped key a row is the same run as another, which nobody asked for."""
    for text in (
        "runs: [{method: kmeans, params: {k: 8}}, {method: kmeans, params: {k: 8}, sed: [1]}]",
        "{defaults: {params: {k: 8}, sed: 1}, runs: [{method: kmeans}, {method: kmeans}]}",
        "runs: [{method: kmeans, matrix: {k: [8, 8]}}]",
    ):
        result = bench("plan", "--grid", lab.write(text), "--out", lab.out)
        assert (result.code, len(result.err.splitlines())) == (2, 1), result.err


@pytest.mark.parametrize("slip", ["split: vall", "split: 3", "dataset: synthetik", "eval_subset: 999"])
def test_an_unknown_protocol_is_told_beside_the_fault_of_what_it_looks_at(bench: Bench, lab: Lab, slip: str) -> None:
    path = lab.write(f"runs: [{{method: kmeans, input: foo, {slip}, subset: -4, protocols: [slidin]}}]")
    result = bench("plan", "--grid", path, "--out", lab.out)
    keys = [line.split(": ")[2].removeprefix("runs[0].") for line in result.err.splitlines()]
    assert sorted(keys) == sorted(["input", slip.partition(":")[0], "subset", "protocols[0]"])


def test_what_a_faulty_key_stands_for_gives_no_second_fault(lab: Lab) -> None:
    """Its default is nobody's choice: a split or a method that the data set lacks by default is not complained of."""
    from spectral_bench.bench.grid.load import load_grid

    text = "runs: [{method: [], dataset: imagenet, split: 3, train_split: 4, params: {k: 2}, backbone: 5}]"
    problems = Problems()
    grid = load_grid(lab.write(text), problems=problems)
    assert resolve_rows(grid, {}, problems) == []
    assert sorted(line.split(": ")[1] for line in said(problems.check)) == [
        "runs[0].backbone",
        "runs[0].method",
        "runs[0].split",
        "runs[0].train_split",
    ]
