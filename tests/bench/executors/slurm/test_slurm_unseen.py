"""Jobs that Slurm may know and does not show to who asks: another user's, another cluster's."""

from __future__ import annotations

import json
import pwd

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.cluster import Answer, Cluster, User, read_cluster, this_user
from spectral_bench.bench.executors.slurm.executor import cancel
from spectral_bench.bench.executors.slurm.status import why_not_seen, with_queue
from spectral_bench.bench.executors.slurm.submissions import Submission
from spectral_bench.bench.plan.states import runs_of_store

ME = this_user()


def say_of(lab: SlurmLab, **facts: object) -> None:
    """Let the one submission have been made by somebody else, or elsewhere; None: an older release did not say."""
    (submission,) = lab.ledger.open()
    path = lab.ledger.of(submission.name) / "submission.json"
    told = json.loads(path.read_text()) | facts
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


def reason(lab: SlurmLab, job: Job) -> tuple[str, str]:
    found = with_queue(runs_of_store(lab.store), record_and_track(lab.store, lab.slurm), lab.store)
    (condition,) = (run.condition for run in found if run.run_id == job.run_id)
    return condition.state, condition.reason


OTHERS = [
    (
        {"uid": ME.uid + 1, "user": "ana"},
        f"it was submitted by ana, whose jobs Slurm may hide from {ME.name}; ask as ana, or",
    ),
    # The same name is another user on another machine.
    (
        {"uid": ME.uid + 1},
        f"by {ME.name} (user id {ME.uid + 1}), whose jobs Slurm may hide from {ME.name} (user id {ME.uid}); ask as",
    ),
    ({"uid": None, "user": "ana"}, "it was submitted by ana"),
    ({"cluster": "west"}, "it was submitted on the cluster west (head1), and this is fake (head1); ask from there, or"),
    ({"controller": "head7"}, "it was submitted on the cluster fake (head7), and this is fake (head1); ask from there"),
]


@pytest.mark.parametrize(("facts", "words"), OTHERS)
def test_they_are_not_lost_and_not_submitted_again(slurm_lab: SlurmLab, facts: dict[str, object], words: str) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    say_of(slurm_lab, **facts)
    slurm_lab.fake.private = True
    assert slurm_lab.state(job) == "unknown"
    state, why = reason(slurm_lab, job)
    assert (state, why.partition(words)[1]) == ("unknown", words)
    assert why.endswith(", or give the run up with bench cancel")
    slurm_lab.record_ended(give_up_lost=True)
    assert len(slurm_lab.ledger.open()) == 1
    assert slurm_lab.launch(job) == {job.run_id: "submitted"}
    assert len(slurm_lab.fake.submitted()) == 1


@pytest.mark.parametrize("facts", [{}, {"uid": None, "controller": None}, {"uid": None, "cluster": ""}])
def test_ones_own_are_lost(slurm_lab: SlurmLab, facts: dict[str, object]) -> None:
    """Those of an older release, which kept neither number nor controller, too."""
    job = slurm_lab.job()
    slurm_lab.launch(job)
    say_of(slurm_lab, **facts)
    slurm_lab.fake.private = True
    assert slurm_lab.state(job) == "lost"
    slurm_lab.record_ended(give_up_lost=True)
    assert slurm_lab.ledger.open() == []


def test_nothing_is_lost_where_slurm_does_not_say_which_cluster_it_is(
    slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.fake.private = True
    monkeypatch.setattr(slurm_lab.fake, "scontrol", lambda given: Answer(1, "", "scontrol: error: not today"))
    assert slurm_lab.state(job) == "unknown"
    assert reason(slurm_lab, job)[1].startswith("Slurm does not say which cluster this is; ask again later, or")


def test_the_cluster_is_asked_for_only_where_a_job_is_missing(slurm_lab: SlurmLab) -> None:
    slurm_lab.launch(slurm_lab.job())
    slurm_lab.fake.commands.clear()
    slurm_lab.tracked()
    assert slurm_lab.fake.asked("scontrol") == []


def test_what_is_kept_of_who_submits_and_where(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """LOGNAME is what somebody has written there, and need not be the user's name."""
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setenv("USER", "somebody")
    slurm_lab.launch(slurm_lab.job())
    (submission,) = slurm_lab.ledger.open()
    assert (submission.user, submission.uid) == (ME.name, ME.uid)
    assert (submission.cluster, submission.controller) == ("fake", "head1")


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert this_user() == User(ME.uid, str(ME.uid))


def test_by_a_number_nobody_is_taken_for_another() -> None:
    theirs = Submission(name="bench-a", units=(), user="ana", uid=7, cluster="c", controller="h")
    assert why_not_seen(theirs, Cluster("c", "h"), User(7, "anna")) == ""
    assert "submitted by ana" in why_not_seen(theirs, Cluster("c", "h"), User(8, "ana"))


class TestCancel:
    def test_what_is_not_seen_is_given_up_and_no_id_of_this_cluster_is_touched(self, slurm_lab: SlurmLab) -> None:
        job = slurm_lab.job()
        slurm_lab.launch(job)
        say_of(slurm_lab, cluster="west")
        slurm_lab.fake.private = True
        assert cancel(slurm_lab.store, [job.run_id], slurm_lab.slurm) == [job.run_id]
        assert slurm_lab.fake.asked("scancel") == []
        failure = slurm_lab.failure(job)
        assert failure is not None
        assert failure.kind == "cancelled"
        slurm_lab.fake.private = False
        slurm_lab.fake.jobs.clear()
        assert slurm_lab.launch(job) == {job.run_id: "submitted"}

    def test_another_users_job_is_asked_by_a_mark(self, slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
        job = slurm_lab.job()
        slurm_lab.launch(job)
        told = "scancel: error: Kill job error on job id 100_0: Access/permission denied\n"
        monkeypatch.setattr(slurm_lab.fake, "scancel", lambda given: Answer(210, "", told))
        assert cancel(slurm_lab.store, None, slurm_lab.slurm) == [job.run_id]
        assert slurm_lab.ledger.is_cancelled(slurm_lab.ledger.open()[0].name, job.run_id)


def test_what_a_cluster_says_of_itself(slurm_lab: SlurmLab) -> None:
    assert read_cluster(slurm_lab.slurm) == Cluster("fake", "head1", "accounting_storage/slurmdbd", 1000)
