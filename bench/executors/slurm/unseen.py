"""Jobs that Slurm may know and not show: what it does not speak of is lost only to who would see it."""

from __future__ import annotations

from spectral_bench.bench.executors.slurm.cluster import Cluster, User
from spectral_bench.bench.executors.slurm.ledger import Submission


def why_not_seen(submission: Submission, cluster: Cluster | None, user: User) -> str:
    """Why Slurm may know jobs of a submission and not show them here; empty where it would show them.

    ``PrivateData`` hides the jobs of others without a word, and another cluster knows nothing of these.

    Args:
        submission: whose jobs Slurm did not speak of.
        cluster: the one that was asked; None where that is not known.
        user: who asked.
    """
    theirs = submission.user if submission.uid is None else str(submission.uid)
    if theirs != (user.name if submission.uid is None else str(user.uid)):
        return f"it was submitted by {submission.user}, whose jobs Slurm may hide from {user.name}"
    if cluster is None:
        return "Slurm does not say which cluster this is"
    where = _where(submission.cluster, submission.controller)
    if submission.cluster not in ("", cluster.name) or submission.controller not in ("", cluster.controller):
        return f"it was submitted on the cluster {where}, and this is {_where(cluster.name, cluster.controller)}"
    return ""


def _where(name: str, controller: str) -> str:
    return f"{name} ({controller})" if controller else name
