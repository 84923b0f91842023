"""Jobs that Slurm may know and not show: what it does not speak of is lost only to who would see it."""

from __future__ import annotations

from spectral_bench.bench.executors.slurm.cluster import Cluster, User
from spectral_bench.bench.executors.slurm.ledger import Submission

GIVE_UP = ", or give the run up with bench cancel"


def why_not_seen(submission: Submission, cluster: Cluster | None, user: User) -> str:
    """Why Slurm may know jobs of a submission and not show them here, and what to do; empty where it would show them.

    ``PrivateData`` hides the jobs of others without a word, and another cluster knows nothing of these.

    Args:
        submission: whose jobs Slurm did not speak of.
        cluster: the one that was asked; None where that is not known.
        user: who asked.
    """
    theirs = submission.user if submission.uid is None else str(submission.uid)
    if theirs != (user.name if submission.uid is None else str(user.uid)):
        them, me = _who(submission.user, submission.uid, user.name), _who(user.name, user.uid, submission.user)
        return f"it was submitted by {them}, whose jobs Slurm may hide from {me}; ask as {them}{GIVE_UP}"
    if cluster is None:
        return f"Slurm does not say which cluster this is; ask again later{GIVE_UP}"
    where = _where(submission.cluster, submission.controller)
    if submission.cluster not in ("", cluster.name) or submission.controller not in ("", cluster.controller):
        here = _where(cluster.name, cluster.controller)
        return f"it was submitted on the cluster {where}, and this is {here}; ask from there{GIVE_UP}"
    return ""


def _who(name: str, uid: int | None, other: str) -> str:
    """A user; by number too where the other one has the same name, as on another machine."""
    return f"{name} (user id {uid})" if name == other and uid is not None else name


def _where(name: str, controller: str) -> str:
    return f"{name} ({controller})" if controller else name
