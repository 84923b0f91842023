"""Whether labels on disk reach a method: tiny runs as a grid makes them, over trees that differ in their labels only.

``methods.contract`` checks what a method is handed; this checks what it could open by itself. The labels of the
training split and those of the evaluated split are permuted, then removed, each by itself: the fit and the scores of
all images must have the same bits throughout, but where a method declares that it uses those very labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spectral_bench.bench.run.firewall_trial import Failed, Labels, LabelsOnDisk, Learnt, trial
from spectral_bench.methods.contract import NONDETERMINISTIC, NOT_JUDGED
from spectral_bench.methods.registry import method_facts

PERMUTED, REMOVED = "labels_permuted_on_disk", "labels_removed_from_disk"
EVALUATED_PERMUTED, EVALUATED_REMOVED = "evaluated_labels_permuted_on_disk", "evaluated_labels_removed_from_disk"
DISK_CHECKS = (PERMUTED, REMOVED, EVALUATED_PERMUTED, EVALUATED_REMOVED)

UNSTEADY = "cannot be judged: two predictions of one fit differ"

# In this order a file that a method leaves for itself is first written where there are no labels.
_VARIANTS = {
    REMOVED: LabelsOnDisk(trained="removed"),
    EVALUATED_REMOVED: LabelsOnDisk(evaluated="removed"),
    PERMUTED: LabelsOnDisk(trained="permuted"),
    EVALUATED_PERMUTED: LabelsOnDisk(evaluated="permuted"),
}


class _Nondeterministic(Exception):
    """The same trial gave something else the second time.

    Args:
        why: what differs, for the check of determinism.
        unjudged: the same, for those of labels.
    """

    def __init__(self, why: str, unjudged: str) -> None:
        super().__init__(why)
        self.why, self.unjudged = why, unjudged


@dataclass
class _Trials:
    """The trials of one method, each with other global generators."""

    run: Callable[[LabelsOnDisk, int], Learnt | Failed]
    number: int = 0
    kept: Learnt | Failed = field(init=False)

    def __call__(self, on_disk: LabelsOnDisk) -> Learnt | Failed:
        self.number += 1
        return self.run(on_disk, self.number)

    def same_twice(self, on_disk: LabelsOnDisk, found: Learnt | Failed) -> None:
        """Raise where a repetition does not give what was found: then no difference says anything of labels."""
        again = self(on_disk)
        if found == again or (isinstance(found, Failed) and isinstance(again, Failed)):
            return
        if isinstance(found, Learnt) and isinstance(again, Learnt) and found.state == again.state:
            raise _Nondeterministic("two predictions of one fit differ", UNSTEADY)
        raise _Nondeterministic(NONDETERMINISTIC, NOT_JUDGED)


def disk_violations(method: str, params: Mapping[str, Any]) -> dict[str, str]:
    """How labels on disk reach a method that does not declare them, or fail to reach one that does; empty if neither.

    The data lies as CamVid does below a data root that ``$BENCH_DATA`` names in the processes of the trials.

    Args:
        method: as in grids.
        params: parameters that make its fit small, on 8 images of 6 x 7 patches.

    Returns:
        Name of the check, of ``DISK_CHECKS`` -> what was found. Where two fits of one seed differ, labels are not
        judged: each check says so, and ``determinism`` says why.
    """
    with TemporaryDirectory(prefix="bench-check-") as root:
        trials = _Trials(partial(trial, Path(root), method, params))
        found = {name: trials(on_disk) for name, on_disk in _VARIANTS.items()}
        trials.kept = trials(LabelsOnDisk())
        if isinstance(trials.kept, Failed):
            return dict.fromkeys(DISK_CHECKS, f"the fit fails: {trials.kept.reason}")
        try:
            trials.same_twice(LabelsOnDisk(), trials.kept)
            told = {name: _finding(method, name, found[name], trials) for name in DISK_CHECKS}
        except _Nondeterministic as found_out:
            return {"determinism": found_out.why, **dict.fromkeys(DISK_CHECKS, found_out.unjudged)}
    return {name: text for name, text in told.items() if text}


def judged(found: Mapping[str, str]) -> dict[str, str]:
    """What a method breaks, its use of labels not judged where its fits of one seed differ.

    Args:
        found: check -> what was found, of ``methods.contract.violations`` and ``disk_violations`` together.
    """
    if NOT_JUDGED not in found.values() and found.get("determinism") != NONDETERMINISTIC:
        return dict(found)
    return {**found, "determinism": NONDETERMINISTIC, **dict.fromkeys(("labels", *DISK_CHECKS), NOT_JUDGED)}


def _finding(method: str, name: str, found: Learnt | Failed, trials: _Trials) -> str:
    """What is wrong with a trial; empty if nothing is.

    Raises:
        _Nondeterministic: it is found to be chance.
    """
    facts, on_disk = method_facts(method), _VARIANTS[name]
    of_evaluated = on_disk.trained == "kept"
    labels, which = (on_disk.evaluated, "of the evaluated images ") if of_evaluated else (on_disk.trained, "")
    if facts.labels_at_prediction if of_evaluated else facts.uses_labels:
        return _unused(found, trials.kept, labels, which)
    text = _read(found, trials.kept, f"labels {which}{labels}")
    if text:  # an accusation: is it the same again?
        trials.same_twice(on_disk, found)
        trials.same_twice(LabelsOnDisk(), trials.kept)
    return text


def _unused(found: Learnt | Failed, kept: Learnt | Failed, labels: Labels, which: str) -> str:
    """How labels that a method declares are not used."""
    if labels == "permuted":
        return f"it declares that it uses labels, and other labels {which}change nothing" if found == kept else ""
    if isinstance(found, Failed):
        return "" if found.refused else f"without labels {which}it must end in an error for users, not {found.reason}"
    return f"it declares that it uses labels, and works without any {which}".rstrip()


def _read(found: Learnt | Failed, kept: Learnt | Failed, what: str) -> str:
    """How labels that a method does not declare are read."""
    assert isinstance(kept, Learnt)
    if isinstance(found, Failed):
        return f"with {what} it fails: it reads them ({found.reason})"
    if found.state != kept.state:
        return f"with {what} the fit is another: it reads labels behind the harness's back"
    if found != kept:
        return f"with {what} the scores are others: it reads labels behind the harness's back"
    return ""
