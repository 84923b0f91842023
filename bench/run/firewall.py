"""Whether labels on disk reach a method: tiny runs as a grid makes them, over trees that differ in their labels only.

Each trial is a fresh process, which holds nothing that an earlier one has read: whatever a method keeps from one call
to the next, in a cache or in a module, starts empty, and its file is imported anew where ``$BENCH_DATA`` names the
trial's own tree. The data are images of blocks, and labels that are kept, permuted or left out.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.bench.evaluation.counting import labels_at_prediction
from spectral_bench.bench.features.backbones import weights_digest
from spectral_bench.bench.measure.environment import set_up_torch
from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.evaluate import scored_images, view_features
from spectral_bench.bench.run.execute import execute
from spectral_bench.bench.run.fit import STATE_FILE, fit, load_fit
from spectral_bench.bench.work.order import Execution, Order
from spectral_bench.common.errors import UserError
from spectral_bench.methods.contract import NONDETERMINISTIC, NOT_JUDGED
from spectral_bench.methods.interface import Segmenter
from spectral_bench.methods.registry import base_method, base_params, complete_params, method_facts
from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData, View
from spectral_bench.results.store import Store

BACKBONE = "vit_tiny_patch16_224"
CLASSES = 4
# Imported, and its code hashed, once for all trials. No method is among them: each trial imports its own.
PRELOAD = (
    "spectral_bench.common.uncollected",
    "torch",
    "timm",
    "spectral_bench.bench.run",
    "spectral_bench.bench.run.firewall",
    "spectral_bench.bench.features.backbones.timm_vit",
    "spectral_bench.datasets.folder",
    "spectral_bench.bench.executors.warm",
)
IMAGES, GRID, PATCH = 8, (6, 7), 16
TRAINED, EVALUATED = "train", "val"

Labels = Literal["kept", "permuted", "removed"]


@dataclass(frozen=True)
class LabelsOnDisk:
    """What becomes of the labels on disk: those of the training split, and those of the evaluated one."""

    trained: Labels = "kept"
    evaluated: Labels = "kept"


@dataclass(frozen=True)
class Learnt:
    """What came of a run, as digests of its bits.

    Attributes:
        state: the stored fit.
        trained, evaluated: scores of the images of either split, by the fit and by the fit read back from the store.
    """

    state: str
    trained: str
    evaluated: str


@dataclass(frozen=True)
class Failed:
    """Why a run came to nothing; ``refused``: by an error for users."""

    reason: str
    refused: bool = False


def trial(
    root: Path, method: str, params: Mapping[str, Any], on_disk: LabelsOnDisk, number: int = 0
) -> Learnt | Failed:
    """Fit and predict in a process of its own, over labels that lie on disk like this.

    Args:
        root: the data root, which trials that follow each other share: images and their features stay, labels change.
        method: as in grids.
        params: parameters that make its fit small, on 8 images of 6 x 7 patches.
        on_disk: what becomes of the labels before.
        number: seeds the global random generators, which no method may draw from, so that one who does is found out.
    """
    facts, complete = method_facts(method), complete_params(method, params)
    classes = complete["k"] if facts.classes_as_clusters else CLASSES
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, dict(os.environ), root, classes, method, dict(params), on_disk, number)
    process = context.Process(target=_enter, args=arguments, name="check-method", daemon=True)
    process.start()
    sender.close()  # else a child that dies would leave us waiting for what it never sends
    try:
        found: Learnt | Failed = receiver.recv()
    except EOFError:  # killed, or it left by os._exit
        process.join()
        found = Failed(f"its process ended with exit code {process.exitcode}")
    process.join()
    return found


def _enter(sender: Connection, environment: Mapping[str, str], *arguments: Any) -> None:
    os.environ.clear()  # the server that this process is forked from may have been started with another
    os.environ.update(environment)
    try:
        found: Learnt | Failed = learn(*arguments)
    except BaseException as error:  # whatever a method does without its labels, sys.exit too, is an answer
        found = Failed(f"{type(error).__name__}: {error}", isinstance(error, UserError))
    sender.send(found)
    sender.close()


def learn(
    root: Path, classes: int, method: str, params: Mapping[str, Any], on_disk: LabelsOnDisk, number: int = 0
) -> Learnt:
    """As ``trial``, over labels of so many classes, in this process; it changes ``$BENCH_DATA`` and random generators.

    Raises:
        Exception: whatever the run ends with.
    """
    set_up_torch(Execution())
    _seed_global_generators(number)
    os.environ["BENCH_DATA"] = str(root)  # a method that looks for labels there finds these
    description = write_tree(root, classes, on_disk)  # before the method's file is imported
    complete, base = complete_params(method, params), None
    with TemporaryDirectory(prefix="store-", dir=root) as name:
        store = Store.open(name, create=True)
        # Features are those of the images, which all trials share: the first pays for them.
        shared = root / store.features_folder.name
        shared.mkdir(exist_ok=True)
        store.features_folder.symlink_to(shared)
        if (start := base_method(method, params)) is not None:
            base = _order(start, base_params(method, params), description, store)
        return _learnt(_order(method, complete, description, store, base), base, store)


def _learnt(order: Order, base: Order | None, store: Store) -> Learnt:
    if base is not None:
        execute(base, store=store, should_stop=_never)
    run = Run(order, store, _never)
    _, fitted = fit(run)
    state = (run.folder / STATE_FILE).read_bytes()
    methods = (fitted, load_fit(store, order.spec.run_id))
    dataset = order.spec.data.dataset
    trained, evaluated = (_scores(run, methods, View(dataset=dataset, split=split)) for split in (TRAINED, EVALUATED))
    return Learnt(hashlib.sha256(state).hexdigest(), trained, evaluated)


def _scores(run: Run, methods: tuple[Segmenter, ...], view: View) -> str:
    """The digest of all scores of a view's images, by each of some methods, as an evaluation asks for them."""
    meter, found = run.meter(), hashlib.sha256()
    features = view_features(run, view, run.open_data(view.dataset).images(view.split), meter)
    for method in methods:
        labels = labels_at_prediction(run.spec, run.open_data(view.dataset), view.split)
        for scored in scored_images(
            method, view, features, device=run.device, stage=meter.stage, should_stop=_never, labels=labels
        ):
            found.update(scored.scores.contiguous().numpy().tobytes())
    return found.hexdigest()


def _order(method: str, params: Mapping[str, Any], description: Path, store: Store, base: Order | None = None) -> Order:
    options = {"weights": "random", "seed": 0}  # nothing to download, and labels leak no less
    spec = FitSpec(
        data=TrainingData(dataset=f"folder:{description}"),
        backbone=BackboneSpec(name=BACKBONE, options=options, weights=weights_digest(BACKBONE, options) or ""),
        method=method,
        params=dict(params),
    )
    return Order(
        spec=spec,
        requires=None if base is None else base.spec.run_id,
        store=store.path,
        data_roots=(description.parents[1],),
        execution=Execution(device="cpu", workers=1, executor="check-method"),
    )


def _seed_global_generators(number: int) -> None:
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 (the very generator that no method may draw from)
    torch.manual_seed(number)


def _never() -> bool:
    return False


def write_tree(root: Path, classes: int, on_disk: LabelsOnDisk = LabelsOnDisk()) -> Path:
    """Write images of blocks in the colours of their classes, and their labels; returns the data set's description.

    Images do not depend on what becomes of labels: those that are there stay as they are, and labels that are there go.

    Args:
        root: the data root; the tree is its folder ``camvid``, laid out as that data set is.
        classes: C, at least 1; the labels are 0 to C - 1.
        on_disk: labels as they belong to the images, those of other patches of the image, or none.
    """
    folder = root / "camvid"
    colours = np.random.default_rng(0).integers(0, 196, (classes, 3))
    for seed, (split, labels) in enumerate(((TRAINED, on_disk.trained), (EVALUATED, on_disk.evaluated))):
        _write_split(folder, split, colours, labels, seed)
    content = {
        "title": "blocks",
        "splits": {split: {"images": split, "labels": f"{split}annot"} for split in (TRAINED, EVALUATED)},
        "classes": [{"name": f"class {index}", "ids": [index]} for index in range(classes)],
    }
    path = folder / "description.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def _write_split(folder: Path, split: str, colours: NDArray[Any], labels: Labels, seed: int) -> None:
    rng, shuffle = np.random.default_rng([1, seed]), np.random.default_rng([2, seed])
    kind = np.uint16 if len(colours) > 256 else np.uint8
    shutil.rmtree(folder / f"{split}annot", ignore_errors=True)  # of the trial before
    for index in range(IMAGES):
        truth = np.kron(rng.integers(0, len(colours), GRID), np.ones((PATCH, PATCH), np.int64))
        noise = rng.integers(0, 60, (*truth.shape, 3))  # drawn in any case, or the next image would be another
        if not (path := folder / split / f"{split}{index}.png").exists():
            _write(path, (colours[truth] + noise).astype(np.uint8))
        if labels == "permuted":
            truth = np.kron(shuffle.permutation(truth[::PATCH, ::PATCH].ravel()).reshape(GRID), np.ones((PATCH, PATCH)))
        if labels != "removed":
            _write(folder / f"{split}annot" / f"{split}{index}.png", truth.astype(kind))


def _write(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


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
        # The intact labels come last: see `_VARIANTS`.
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
    assert isinstance(kept, Learnt)  # else nothing is judged: see `disk_violations`
    if isinstance(found, Failed):
        return f"with {what} it fails: it reads them ({found.reason})"
    if found.state != kept.state:
        return f"with {what} the fit is another: it reads labels behind the harness's back"
    if found != kept:
        return f"with {what} the scores are others: it reads labels behind the harness's back"
    return ""
