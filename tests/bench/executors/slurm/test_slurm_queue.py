"""What squeue and sacct print, and what is made of it."""

from __future__ import annotations

import pytest
from fake_slurm import FakeJob, FakeSlurm
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.executors.slurm.cluster import (
    Answer,
    Slurm,
    SlurmMissing,
    SlurmRefused,
    SlurmUnreachable,
    run_command,
)
from spectral_bench.bench.executors.slurm.queue import SlurmJob, ask, indices, plain_reason, read_accounts, read_queue
from spectral_bench.bench.executors.slurm.status import HELD_REASON

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
    told = read_queue(QUEUE)
    found = told.jobs
    assert told.unread == ()
    assert set(found) == {("bench-a", 0), ("bench-a", 1)}
    assert found["bench-a", 1] == SlurmJob("55", "PENDING", live=True, reason="JobArrayTaskLimit")
    assert found["bench-a", 0].nodes == "cpu1"


def test_the_accounts() -> None:
    told = read_accounts(ACCOUNTS)
    found = told.jobs
    assert told.unread == ()
    assert set(found) == {("bench-a", index) for index in (0, 1, 2, 3, 4, 5, 7)}
    assert found["bench-a", 0] == SlurmJob("55", "COMPLETED", nodes="cpu1")
    assert found["bench-a", 1] == SlurmJob("55", "CANCELLED", by_user=True)
    assert (found["bench-a", 2].exit_code, found["bench-a", 2].signal) == (0, 53)
    assert found["bench-a", 3].memory_killed
    assert not found["bench-a", 2].memory_killed
    assert found["bench-a", 7].live


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("4", [4]),
        ("[1-3,7%2]", [1, 2, 3, 7]),
        ("[0-6:3]", [0, 3, 6]),
        ("[0-22:2%3]", list(range(0, 24, 2))),
        ("0-6:3,9", [0, 3, 6, 9]),
        ("[12]", [12]),
    ],
)
def test_indices(text: str, expected: list[int]) -> None:
    assert indices(text) == (expected, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0,2,4-6,42...]", [0, 2, 4, 5, 6]),
        ("0,2,4...", [0, 2]),
        ("[0,2,16", [0, 2]),
        ("[0-20...]", []),
        ("[1,x,3]", [1, 3]),
        ("x", []),
    ],
)
def test_a_list_that_is_cut_off_ends_before_the_index_that_is_cut(text: str, expected: list[int]) -> None:
    """As sacct and squeue print them without SLURM_BITSTR_LEN=0: ``42...`` may be the beginning of 427."""
    assert indices(text) == (expected, False)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_indices_of_any_list(wanted: set[int]) -> None:
    assert indices("[" + ",".join(map(str, sorted(wanted))) + "%5]") == (sorted(wanted), True)


CUT = (
    "55_[0,2,4-6,8-10,12-14,16-18,20-22,24-26,28-30,32,34,36,38,40,42...]|bench-a|CANCELLED by 0|0:0|None assigned|None"
)
STEPS = "55_[0-6:2%3]|bench-a|CANCELLED by 0|0:0|None assigned|None"


def answering(**texts: str) -> Slurm:
    """A Slurm whose commands print such texts."""
    return Slurm(lambda command: Answer(0, texts.get(command[0], "")))


def test_a_list_that_sacct_cuts_off_leaves_the_rest_unknown() -> None:
    report = ask(answering(sacct=CUT), {"bench-a": "55"})
    listed = {index for _, index in report.jobs}
    assert {0, 2, 5, 40} <= listed
    assert not {42, 44} & listed  # the one before the dots may be half a number
    assert report.accounting_error.startswith(
        "sacct: this line cannot be read to its end, so that jobs may be missing: 55_[0,2,"
    )


def test_a_list_with_steps() -> None:
    report = ask(answering(sacct=STEPS), {"bench-a": "55"})
    assert {index for _, index in report.jobs} == {0, 2, 4, 6}
    assert report.accounting_error == ""


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("sacct", "55_7|bench-a|TIMEOUT"),
        ("sacct", "fifty|bench-a|TIMEOUT|0:0|cpu1|None"),
        ("sacct", "55_7|bench-a|TIMEOUT|zero|cpu1|None"),
        ("squeue", "55|7|bench-a"),
        ("squeue", "55|[0,2,4...]|bench-a|PENDING|None|"),
        ("squeue", "slurm says hello"),
    ],
)
def test_no_line_is_passed_over_in_silence(command: str, line: str) -> None:
    report = ask(answering(**{command: line + "\n"}), {"bench-a": "55"})
    assert line in (report.accounting_error if command == "sacct" else report.queue_error)


def test_names_of_others_may_hold_the_sign_that_divides() -> None:
    report = ask(
        answering(sacct="55_0|a|b|FAILED|1:0|cpu1|None\n55_1|bench-a|FAILED|1:0|cpu1|None\n"), {"bench-a": "55"}
    )
    assert (set(report.jobs), report.accounting_error) == ({("bench-a", 1)}, "")


def test_jobs_are_asked_for_by_their_names() -> None:
    """Asked for those of a user whom the machine does not know, squeue answers with none of them and exit code 0."""
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="RUNNING")])
    assert ask(Slurm(fake), {"bench-a": "7", "bench-b": None}).jobs["bench-a", 0].live
    (queue,) = fake.asked("squeue")
    assert "--name=bench-a,bench-b" in queue
    assert "-u" not in queue
    by_name = fake.asked("sacct")[-1]
    assert {"-a", "--name=bench-b"} <= set(by_name)  # without -a sacct shows one's own alone


def test_no_command_line_grows_without_end() -> None:
    fake = FakeSlurm()
    ask(Slurm(fake), {f"bench-{number}": None if number % 2 else str(number) for number in range(900)})
    assert [len(call[4].split(",")) for call in fake.asked("squeue")] == [200, 200, 200, 200, 100]
    assert max(len(one.split(",")) for call in fake.commands for one in call) <= 200


@pytest.mark.parametrize(
    "text", ["launch failed requeued held", "launch_failed_requeued_held", "Launch-Failed RequeuedHeld"]
)
def test_reasons_are_one_however_releases_spell_them(text: str) -> None:
    assert plain_reason(text) == HELD_REASON


def test_a_cluster_is_headed_by_its_name_where_one_is_named() -> None:
    report = ask(answering(squeue="CLUSTER: west\n55|1|bench-a|RUNNING|None|n1\n"), {"bench-a": "55"})
    assert set(report.jobs) == {("bench-a", 1)}


def test_a_machine_without_slurm_is_no_traceback() -> None:
    def missing(command: tuple[str, ...]) -> Answer:
        raise FileNotFoundError(command[0])

    assert "no squeue on the path" in ask(Slurm(missing), {"bench-a": "7"}).queue_error


def test_the_queue_outweighs_the_accounts() -> None:
    """A job that lost its node reads NODE_FAIL in the accounts while it waits again in the queue."""
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="NODE_FAIL")])
    assert not ask(Slurm(fake), {"bench-a": "7"}).jobs["bench-a", 0].live

    def requeued(command: tuple[str, ...]) -> Answer:
        return Answer(0, "7|0|bench-a|PENDING|BeginTime|\n") if command[0] == "squeue" else fake(command)

    assert ask(Slurm(requeued), {"bench-a": "7"}).jobs["bench-a", 0].live


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_job_that_a_controller_lost_is_not_waited_for(state: str) -> None:
    """The accounts go on to say that it waits, the queue does not know it."""
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state=state)])
    fake.squeue = lambda given: Answer(0, "")  # type: ignore[assignment, method-assign]
    assert ask(Slurm(fake), {"bench-a": "7"}).jobs == {}


def test_a_fresh_cluster_that_gives_an_id_again() -> None:
    fake = FakeSlurm([FakeJob("7", 0, "bench-other", "", state="COMPLETED"), FakeJob("7", 1, "bench-a", "")])
    fake.jobs[1].job_id = "8"
    report = ask(Slurm(fake), {"bench-a": "7"})
    assert report.jobs == {}
    assert not report.queue_error


def test_an_id_that_nobody_learnt_is_found_by_name() -> None:
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="COMPLETED")])
    assert ask(Slurm(fake), {"bench-a": None}).jobs["bench-a", 0].job_id == "7"
    assert any("--name=bench-a" in call for call in fake.asked("sacct"))


def test_who_does_not_answer_is_not_taken_for_one_who_knows_nothing() -> None:
    fake = FakeSlurm(unreachable=True)
    report = ask(Slurm(fake), {"bench-a": "7"})
    assert "not reachable" in report.queue_error
    fake = FakeSlurm([FakeJob("7", 0, "bench-a", "", state="RUNNING")], no_accounting=True)
    report = ask(Slurm(fake), {"bench-a": "7"})
    assert report.jobs["bench-a", 0].live
    assert report.accounting_error


def test_nothing_to_ask_about() -> None:
    fake = FakeSlurm()
    ask(Slurm(fake), {})
    assert fake.commands == []


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(SlurmMissing, match=r"no sbatch-of-nowhere on the path: .* use --executor local"):
        Slurm(lambda command: run_command(["sbatch-of-nowhere"])).ask("sbatch-of-nowhere")


def test_a_refusal_and_a_silence_are_told_apart() -> None:
    refused = Slurm(lambda command: Answer(1, "", "sbatch: error: Batch job submission failed: Invalid qos\n"))
    with pytest.raises(SlurmRefused, match="sbatch: Batch job submission failed: Invalid qos"):
        refused.ask("sbatch", "x")
    unreachable = Slurm(lambda command: Answer(1, "", "sbatch: error: Unable to contact slurm controller\n"))
    with pytest.raises(SlurmUnreachable):
        unreachable.ask("sbatch", "x")


def test_a_command_that_hangs() -> None:
    def hang(command: tuple[str, ...]) -> Answer:
        raise TimeoutError("squeue did not answer within 60 s")

    with pytest.raises(SlurmUnreachable, match="did not answer within 60 s"):
        Slurm(hang).ask("squeue")
