from __future__ import annotations

import json
import math
import multiprocessing
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.work import progress as module
from spectral_bench.bench.work.progress import MetricsLog, ProgressFile, read_metrics, read_progress, tail


class TestProgress:
    def test_round_trip(self, tmp_path: Path) -> None:
        path = tmp_path / "run" / "progress.json"
        assert read_progress(path) is None
        before = time.time()
        ProgressFile(path).update("fit", 3, 10)
        found = read_progress(path)
        assert found is not None
        assert (found.stage, found.done, found.total) == ("fit", 3, 10)
        assert before <= found.updated <= time.time()
        assert [item.name for item in path.parent.iterdir()] == ["progress.json"]

    def test_is_not_written_too_often(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(module.time, "monotonic", lambda: now)
        path = tmp_path / "progress.json"
        file = ProgressFile(path)
        seen = []
        for step in range(1, 30):
            now = step * 0.1
            file.update("fit", step, 100)
            found = read_progress(path)
            assert found is not None
            seen.append(found.done)
        assert sorted(set(seen)) == [1, 6, 11, 16, 21, 26]

    def test_new_stage_and_last_step_are_told_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "progress.json"
        file = ProgressFile(path, every=3600)
        for stage, done in (("features", 0), ("fit", 1), ("fit", 10)):
            file.update(stage, done, 10)
            found = read_progress(path)
            assert found is not None
            assert (found.stage, found.done) == (stage, done)
        file.update("evaluate", 1, 10)
        file.update("evaluate", 2, 10)
        found = read_progress(path)
        assert found is not None
        assert found.done == 1

    def test_full_disk_does_not_stop_the_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "progress.json"
        ProgressFile(path).update("fit", 1, 10)

        def full(self: Path, text: str) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        ProgressFile(path).update("fit", 2, 10)
        found = read_progress(path)
        assert found is not None
        assert found.done == 1

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", '{"stage": "fit"}', '{"stage":"f","done":"x","total":1,"updated":1}']
    )
    def test_torn_file_says_nothing(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "progress.json"
        path.write_text(text)
        assert read_progress(path) is None

    def test_reader_never_sees_half_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "progress.json"
        writer = multiprocessing.get_context("fork").Process(target=_write_often, args=(path,))
        writer.start()
        seen = set()
        while writer.is_alive():
            if path.exists():
                found = read_progress(path)
                assert found is not None
                seen.add(found.done)
        writer.join()
        assert len(seen) > 1


def _write_often(path: Path) -> None:
    file = ProgressFile(path, every=0)
    for step in range(400):
        file.update("a stage with a long name " * 40, step, 10**6)


class TestMetrics:
    def test_round_trip(self, tmp_path: Path) -> None:
        path = tmp_path / "run" / "metrics.jsonl"
        assert read_metrics(path) == []
        log = MetricsLog(path)
        log.append(1, {"loss": -0.5, "rate": 1e-3})
        log.append(2, {"loss": -0.75})
        assert read_metrics(path) == [{"step": 1, "loss": -0.5, "rate": 1e-3}, {"step": 2, "loss": -0.75}]

    def test_every_line_is_there_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        log = MetricsLog(path)
        log.append(1, {"loss": 1.0})
        assert path.read_text() == '{"step": 1, "loss": 1.0}\n'

    def test_values_that_are_not_finite_are_null(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        MetricsLog(path).append(1, {"a": math.nan, "b": math.inf, "c": 0.0})
        assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"step": 1, "a": None, "b": None, "c": 0.0}

    def test_repeated_steps_of_a_resumed_run_count_once(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        for begin in (1, 3):
            log = MetricsLog(path)
            for step in range(begin, begin + 4):
                log.append(step, {"loss": begin})
        assert [(row["step"], row["loss"]) for row in read_metrics(path)] == [
            (1, 1),
            (2, 1),
            (3, 3),
            (4, 3),
            (5, 3),
            (6, 3),
        ]

    @settings(deadline=None)
    @given(st.integers(0, 60), st.integers(1, 4))
    def test_torn_last_line_loses_no_other(self, cut: int, more: int) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "metrics.jsonl"
            log = MetricsLog(path)
            for step in (1, 2, 3):
                log.append(step, {"loss": 0.125})
            data = path.read_bytes()
            path.write_bytes(data[: len(data) - cut])
            whole = {json.loads(line)["step"] for line in path.read_bytes().split(b"\n") if line.endswith(b"}")}
            assert {row["step"] for row in read_metrics(path)} == whole
            log = MetricsLog(path)
            for step in range(10, 10 + more):
                log.append(step, {"loss": 0.25})
            assert {row["step"] for row in read_metrics(path)} == whole | set(range(10, 10 + more))

    def test_rubbish_is_passed_over(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(b'\xff\xfe\n[1]\n{"loss": 1}\n{"step": "x"}\n\n{"step": 5, "loss": 2}\nnull\n')
        assert read_metrics(path) == [{"step": 5, "loss": 2}]


class TestTail:
    def test_last_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "log.txt"
        path.write_text("".join(f"line {number}\n" for number in range(1000)))
        assert tail(path, lines=2) == "line 998\nline 999"

    def test_long_lines_are_limited_in_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "log.txt"
        path.write_text("x" * 10**6 + "end")
        assert len(tail(path, most=100)) == 100
        assert tail(path, most=100).endswith("xend")

    def test_cut_character_and_rubbish_are_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "log.txt"
        path.write_bytes("ä".encode() * 10 + b"\xff!")
        assert tail(path, most=5) == "�ä�!"

    def test_no_log(self, tmp_path: Path) -> None:
        assert tail(tmp_path / "log.txt") == ""
