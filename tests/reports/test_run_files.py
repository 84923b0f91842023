from __future__ import annotations

from pathlib import Path

from spectral_bench.reports.run_files import log_tail, training_curve


def test_a_run_without_files_has_no_curve_and_no_log(tmp_path: Path):
    assert training_curve(tmp_path / "none") == {}
    assert log_tail(tmp_path / "none") == ""


def test_the_last_line_of_a_repeated_step_counts_and_torn_lines_do_not(tmp_path: Path):
    lines = ['{"step": 2, "loss": 5}', '{"step": 1, "loss": 9, "penalty": null}', '{"step": 2, "loss": 4, "lr": 0.1}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, "[1]", '{"loss": 3}', '{"step": 3, "lo']))
    curve = training_curve(tmp_path)
    assert curve == {"loss": {1: 9.0, 2: 4.0}, "lr": {2: 0.1}}
    assert list(curve["loss"]) == [1, 2]


def test_the_end_of_a_log(tmp_path: Path):
    (tmp_path / "log.txt").write_bytes(b"one\ntwo \xff\nthree\n")
    assert log_tail(tmp_path, 2) == "two \N{REPLACEMENT CHARACTER}\nthree"
