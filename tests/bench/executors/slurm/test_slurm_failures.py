"""Why a job ended, case by case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spectral_bench.bench.executors.slurm.causes import EndedJob, failure_of_job
from spectral_bench.bench.executors.slurm.queue import SlurmJob
from spectral_bench.results.record import Failure


def failure_in(tmp_path: Path, state: str, said: str = "", **facts: Any) -> Failure:
    output = tmp_path / "7_0_0_log.out"
    output.write_text(said)
    names = ("exit_code", "signal", "reason", "memory_killed", "nodes")
    slurm_job = SlurmJob("7", state, **{name: facts.pop(name) for name in names if name in facts})
    return failure_of_job(EndedJob(slurm_job, 0, tmp_path, **{"output": [output], "minutes": 60} | facts))


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "FAILED",
        {"exit_code": 9, "said": "job exceeded memory limit (2 > 1), being killed"},
        "out_of_memory",
        "--mem",
    ),
    ("FAILED", {"exit_code": 1, "memory_killed": True}, "out_of_memory", "--mem"),
    ("OUT_OF_MEMORY", {}, "out_of_memory", "--mem"),
    ("TIMEOUT", {}, "time_limit", "time limit of 60 min"),
    ("DEADLINE", {}, "time_limit", "--time"),
    ("NODE_FAIL", {"nodes": "cpu2"}, "node_failure", "job 7_0 on cpu2 lost its node"),
    ("PREEMPTED", {}, "preempted", "bench retry"),
    ("CANCELLED", {}, "cancelled", "outside of bench"),
    ("CANCELLED", {"cancelled": True}, "cancelled", "by bench cancel"),
    ("CANCELLED", {"lacking": ["a", "b"]}, "dependency", "needs a, b, which did not succeed"),
    ("PENDING", {"reason": "dependency_never_satisfied", "lacking": ["a"]}, "dependency", "needs a"),
    ("FAILED", {"exit_code": 3}, "killed", "ended (failed) with exit code 3 without a record"),
    ("FAILED", {"signal": 11}, "killed", "by signal 11 without a record"),
    ("COMPLETED", {}, "killed", "ended (completed) with exit code 0 without a record"),
    ("FAILED", {"exit_code": 1, "began": False}, "killed", "before it began"),
    ("FAILED", {"exit_code": 127, "began": False}, "setup", "--setup"),
    ("FAILED", {"signal": 53, "began": False}, "store", "that node cannot see the store"),
    ("FAILED", {"exit_code": 1, "began": False, "output": []}, "store", "all nodes share"),
    ("FAILED", {"exit_code": 6, "said": "t error: x: no space left on the disk"}, "store", "no space left on the disk"),
]


@pytest.mark.parametrize(("state", "facts", "kind", "words"), CASES)
def test_each_end_has_its_words(tmp_path: Path, state: str, facts: dict[str, Any], kind: str, words: str) -> None:
    failure = failure_in(tmp_path, state, **facts)
    assert failure.kind == kind
    assert words in failure.message
    assert "\n" not in failure.message


def test_success_with_alarming_words_is_no_shortage_of_memory(tmp_path: Path) -> None:
    assert failure_in(tmp_path, "COMPLETED", said="a note on out of memory handling").kind == "killed"


def test_what_the_job_said_is_kept(tmp_path: Path) -> None:
    assert failure_in(tmp_path, "FAILED", said="famous last words\n").log_tail == "famous last words"
