from __future__ import annotations

import json
import logging
import math
import multiprocessing
import time
from datetime import datetime, timedelta
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


class Clock:
    """Stands for ``time.monotonic``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


class TestLogLines:
    def lines(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.message for record in caplog.records if record.name == module.__name__]

    def test_a_line_every_half_minute_says_step_loss_rate_and_time_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        clock, curve = Clock(monkeypatch), MetricsLog(tmp_path / "metrics.jsonl")
        file = ProgressFile(tmp_path / "progress.json", curve=curve)
        file.update("features", 1, 8)
        for step in range(600):  # two steps a second
            if step % 50 == 0:
                curve.append(step, {"loss": -0.5 - step / 1000, "lr": 1e-3})
            clock.now += 0.5
            file.update("fit", step + 1, 2400)
        assert self.lines(caplog)[0] == "fit: step 61 of 2400, loss -0.55 (step 50), lr 0.001, 2 steps/s, 19 min left"
        assert len(self.lines(caplog)) == 9
        found = read_progress(tmp_path / "progress.json")
        assert found is not None
        assert found.left == pytest.approx(900)
        assert found.in_words == ", 15 min left"

    def test_a_short_stage_says_nothing_and_images_are_no_steps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        clock = Clock(monkeypatch)
        file = ProgressFile(tmp_path / "progress.json")
        for stage, images in (("fit", 20), ("features", 29), ("evaluate", 31)):
            for done in range(images + 1):
                clock.now += 1
                file.update(stage, done, 500)
        assert self.lines(caplog) == ["evaluate: 30 of 500, 1/s, 8 min left"]

    def test_what_an_earlier_attempt_had_done_does_not_count_for_the_pace(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(monkeypatch)
        file = ProgressFile(tmp_path / "progress.json", every=0)
        file.update("fit", 901, 1000)
        found = read_progress(tmp_path / "progress.json")
        assert found is not None
        assert found.left is None
        clock.now += 10
        file.update("fit", 902, 1000)
        found = read_progress(tmp_path / "progress.json")
        assert found is not None
        assert found.left == pytest.approx(980)

    def test_a_file_of_an_earlier_release_says_no_time(self, tmp_path: Path) -> None:
        path = tmp_path / "progress.json"
        path.write_text('{"stage": "fit", "done": 3, "total": 10, "updated": 1.0}')
        found = read_progress(path)
        assert found is not None
        assert (found.done, found.left, found.in_words) == (3, None, "")

    def test_all_lines_of_a_log_have_one_clock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        try:
            with module.into_log(tmp_path / "log.txt"):
                module.say("said")
                logging.getLogger("x").info("logged")
        finally:
            monkeypatch.delenv("TZ")
            time.tzset()
        said, logged = (tmp_path / "log.txt").read_text().splitlines()
        stamps = [datetime.fromisoformat(line.partition(" ")[0]) for line in (said, logged)]
        assert [stamp.utcoffset() for stamp in stamps] == [timedelta(0)] * 2
        assert abs(stamps[1] - stamps[0]) <= timedelta(seconds=1)
        assert logged.endswith("INFO x: logged")


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
