"""What squeue and sacct print, and what is made of it."""

from __future__ import annotations

import pytest
from fake_slurm import FakeJob, FakeSlurm
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.executors.slurm.commands import (
    Answer,
    Slurm,
    SlurmMissing,
    SlurmRefused,
    SlurmUnreachable,
    run_command,
)
from spectral_bench.bench.executors.slurm.queue import Element, ask, indices, read_accounts, read_queue

QUEUE = """\
55|1|bench-a|PENDING|JobArrayTaskLimit|
55|0|bench-a|RUNNING|None|cpu1
56|N/A|wrap|PENDING|Resources|
"""
ACCOUNTS = """\
55_0|bench-a|COMPLETED|0:0|cpu1|None
55_0.batch|batch|COMPLETED|0:0|cpu1|
55_1|bench-a|CANCELLED by 1000|0:0|None assigned|None
55_2|bench-a|FAILED|0:53|cpu2|None
55_3|bench-a|FAILED|1:0|cpu2|None
55_3.0|python|OUT_OF_MEMORY|0:125|cpu2|
55_[4-5,7%2]|bench-a|PENDING|0:0|None assigned|JobArrayTaskLimit
57|other|RUNNING|0:0|cpu1|None
"""


def test_the_queue() -> None:
    found = dict(read_queue(QUEUE))
    assert set(found) == {("bench-a", 0), ("bench-a", 1)}
    assert found["bench-a", 1] == Element("55", "PENDING", live=True, reason="JobArrayTaskLimit")
    assert found["bench-a", 0].nodes == "cpu1"


def test_the_accounts() -> None:
    found = dict(read_accounts(ACCOUNTS))
    assert set(found) == {("bench-a", index) for index in (0, 1, 2, 3, 4, 5, 7)}
    assert found["bench-a", 0] == Element("55", "COMPLETED", nodes="cpu1")
    assert found["bench-a", 1] == Element("55", "CANCELLED", by_user=True)
    assert (found["bench-a", 2].exit_code, found["bench-a", 2].signal) == (0, 53)
    assert found["bench-a", 3].memory_killed
    assert not found["bench-a", 2].memory_killed
    assert found["bench-a", 7].live


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("4", [4]), ("[1-3,7%2]", [1, 2, 3, 7]), ("[0-6:3]", [0, 3, 6]), ("[12]", [12]), ("x", [])],
)
def test_indices(text: str, expected: list[int]) -> None:
    assert indices(text) == expected


@given(st.sets(st.integers(0, 200), min_size=1))
def test_indices_of_any_list(wanted: set[int]) -> None:
    assert indices("[" + ",".join(map(str, sorted(wanted))) + "%5]") == sorted(wanted)


def test_the_queue_outweighs_the_accounts() -> None:
    """A job that lost its node reads NODE_FAIL in the accounts while it waits again in the queue."""
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="NODE_FAIL")])
    assert not ask(Slurm(fake), {"bench-a": "7"}, {"me"}).elements["bench-a", 0].live

    def requeued(command: tuple[str, ...]) -> Answer:
        return Answer(0, "7|0|bench-a|PENDING|BeginTime|\n") if command[0] == "squeue" else fake(command)

    assert ask(Slurm(requeued), {"bench-a": "7"}, {"me"}).elements["bench-a", 0].live


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_job_that_a_controller_lost_is_not_waited_for(state: str) -> None:
    """The accounts go on to say that it waits, the queue does not know it."""
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state=state)])
    fake.squeue = lambda given: Answer(0, "")  # type: ignore[assignment, method-assign]
    assert ask(Slurm(fake), {"bench-a": "7"}, {"me"}).elements == {}


def test_a_fresh_cluster_that_gives_an_id_again() -> None:
    fake = FakeSlurm([FakeJob("7", 0, "bench-other", "", state="COMPLETED"), FakeJob("7", 1, "bench-a", "")])
    fake.jobs[1].job_id = "8"
    known = ask(Slurm(fake), {"bench-a": "7"}, {"me"})
    assert known.elements == {}
    assert not known.silent


def test_an_id_that_nobody_learnt_is_found_by_name() -> None:
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="COMPLETED")])
    assert ask(Slurm(fake), {"bench-a": None}, {"me"}).elements["bench-a", 0].job_id == "7"
    assert any("--name=bench-a" in call for call in fake.asked("sacct"))


def test_who_does_not_answer_is_not_taken_for_one_who_knows_nothing() -> None:
    fake = FakeSlurm(silent=True)
    known = ask(Slurm(fake), {"bench-a": "7"}, {"me"})
    assert "not reachable" in known.silent
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="RUNNING")], forgetful=True)
    known = ask(Slurm(fake), {"bench-a": "7"}, {"me"})
    assert known.elements["bench-a", 0].live
    assert known.forgetful


def test_nothing_to_ask_about() -> None:
    fake = FakeSlurm()
    ask(Slurm(fake), {}, ())
    assert fake.commands == []


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(SlurmMissing, match=r"no sbatch-of-nowhere on the path: .* use --executor local"):
        Slurm(lambda command: run_command(["sbatch-of-nowhere"])).ask("sbatch-of-nowhere")


def test_a_refusal_and_a_silence_are_told_apart() -> None:
    refused = Slurm(lambda command: Answer(1, "", "sbatch: error: Batch job submission failed: Invalid qos\n"))
    with pytest.raises(SlurmRefused, match="sbatch: Batch job submission failed: Invalid qos"):
        refused.ask("sbatch", "x")
    silent = Slurm(lambda command: Answer(1, "", "sbatch: error: Unable to contact slurm controller\n"))
    with pytest.raises(SlurmUnreachable):
        silent.ask("sbatch", "x")


def test_a_command_that_hangs() -> None:
    def hang(command: tuple[str, ...]) -> Answer:
        raise TimeoutError("squeue did not answer within 60 s")

    with pytest.raises(SlurmUnreachable, match="did not answer within 60 s"):
        Slurm(hang).ask("squeue")
