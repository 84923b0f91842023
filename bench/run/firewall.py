"""Whether labels on disk reach a fit: a tiny run as a grid makes it, again with its labels permuted, and without any.

``methods.contract`` looks at what a method is handed; this looks at what it could open by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spectral_bench.bench.features.backbones import weights_digest
from spectral_bench.bench.order import Execution, Order
from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.execute import execute
from spectral_bench.bench.run.fit import training_patches
from spectral_bench.bench.run.labels import labels_at_prediction
from spectral_bench.bench.run.stored import STATE_FILE, load_fit
from spectral_bench.common.errors import UserError
from spectral_bench.methods.labels import predict_scores
from spectral_bench.methods.registry import base_params, complete_params, method_facts
from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData
from spectral_bench.results.store import Store

IMAGES, GRID, PATCH, CLASSES = 8, (6, 7), 16, 4
BACKBONE = "vit_tiny_patch16_224"
PERMUTED, REMOVED = "labels_permuted_on_disk", "labels_removed_from_disk"
DISK_CHECKS = (PERMUTED, REMOVED)

Labels = Literal["kept", "permuted", "removed"]


@dataclass(frozen=True)
class Learnt:
    """What came of a run: the bytes of the stored fit, and its scores of the first training images."""

    state: bytes
    scores: Tensor


def disk_violations(method: str, params: Mapping[str, Any]) -> dict[str, str]:
    """How labels on disk reach a method that does not declare them, or fail to reach one that does; empty if sound.

    The trees lie as CamVid does below a data root that ``$BENCH_DATA`` names meanwhile, each in a folder of its own.

    Args:
        method: as in grids.
        params: parameters that make its fit small, on 8 images of 6 x 7 patches.

    Returns:
        Name of the check, of ``DISK_CHECKS`` -> what was found.
    """
    facts = method_facts(method)
    try:
        kept = _learnt(method, params, "kept")
    except Exception as error:
        return dict.fromkeys(DISK_CHECKS, f"the fit fails: {type(error).__name__}: {error}")
    if facts.uses_labels:
        found = {PERMUTED: _unread(method, params, kept), REMOVED: _unrefused(method, params)}
    else:
        found = {PERMUTED: _read(method, params, kept, "permuted"), REMOVED: _read(method, params, kept, "removed")}
    return {name: text for name, text in found.items() if text}


def _unread(method: str, params: Mapping[str, Any], kept: Learnt) -> str:
    other = _learnt(method, params, "permuted")
    at_prediction = method_facts(method).labels_at_prediction
    same = torch.equal(kept.scores, other.scores) if at_prediction else kept.state == other.state
    return "it declares that it uses labels, and other labels change nothing" if same else ""


def _unrefused(method: str, params: Mapping[str, Any]) -> str:
    try:
        _learnt(method, params, "removed")
    except UserError:
        return ""
    return "it declares that it uses labels, and is fitted without any"


def _read(method: str, params: Mapping[str, Any], kept: Learnt, labels: Labels) -> str:
    try:
        other = _learnt(method, params, labels)
    except Exception as error:
        return f"with labels {labels} the fit fails: it reads them ({type(error).__name__}: {error})"
    if kept.state != other.state:
        return f"with labels {labels} the fit is another: it reads labels behind the harness's back"
    if not torch.equal(kept.scores, other.scores):
        return f"with labels {labels} the scores are others: it reads labels behind the harness's back"
    return ""


def _learnt(method: str, params: Mapping[str, Any], labels: Labels) -> Learnt:
    facts, complete = method_facts(method), complete_params(method, params)
    with TemporaryDirectory(prefix="bench-check-") as name, _data_root(Path(name)):
        folder = Path(name)
        description = write_tree(folder, complete["k"] if facts.classes_as_clusters else CLASSES, labels)
        store = Store.open(folder / "store", create=True)
        base = None
        if facts.fit_from is not None:
            base = _order(facts.fit_from, base_params(method, params), description, store)
            execute(base, store=store, should_stop=_never)
        order = _order(method, complete, description, store, base)
        execute(order, store=store, should_stop=_never)
        state = (store.run_folder(order.spec.run_id) / STATE_FILE).read_bytes()
        return Learnt(state, _scores(Run(order, store, _never)))


def _scores(run: Run) -> Tensor:
    """(2, K, h, w) scores of the first training images by the stored fit."""
    method, spec = load_fit(run.store, run.spec.run_id), run.spec
    source = training_patches(run, run.meter())
    labels = labels_at_prediction(spec, run.open_data(spec.data.dataset), spec.data.split)
    batches: Iterator[Any] = iter(source.images())
    return torch.cat([predict_scores(method, next(batches), labels) for _ in range(2)])


def _order(method: str, params: Mapping[str, Any], description: Path, store: Store, base: Order | None = None) -> Order:
    options = {"weights": "random", "seed": 0}
    digest = weights_digest(BACKBONE, options) or ""
    spec = FitSpec(
        data=TrainingData(dataset=f"folder:{description}"),
        backbone=BackboneSpec(name=BACKBONE, options=options, weights=digest),
        method=method,
        params=dict(params),
    )
    execution = Execution(device="cpu", workers=1, executor="check-method")
    requires = None if base is None else base.spec.run_id
    roots = (description.parents[1],)
    return Order(spec=spec, requires=requires, store=store.path, data_roots=roots, execution=execution)


def write_tree(root: Path, classes: int, labels: Labels = "kept") -> Path:
    """Write images of blocks in the colours of their classes, and their labels; returns the data set's description.

    Args:
        root: the data root; the tree is its folder ``camvid``.
        classes: C, at least 1; the labels are 0 to C - 1.
        labels: as they belong to the images, those of other patches of the image, or left out.
    """
    rng, shuffle = np.random.default_rng(0), np.random.default_rng(1)  # images do not depend on the labels' fate
    block = np.ones((PATCH, PATCH), np.int64)
    colours = rng.integers(0, 196, (classes, 3))
    folder = root / "camvid"
    for index in range(IMAGES):
        truth = np.kron(rng.integers(0, classes, GRID), block)
        noise = rng.integers(0, 60, (*truth.shape, 3))
        _write(folder / "train" / f"train{index}.png", (colours[truth] + noise).astype(np.uint8))
        if labels == "permuted":
            truth = np.kron(shuffle.permutation(truth[::PATCH, ::PATCH].ravel()).reshape(GRID), block)
        if labels != "removed":
            _write(folder / "trainannot" / f"train{index}.png", truth.astype(np.uint16 if classes > 256 else np.uint8))
    content = {
        "title": "blocks",
        "splits": {"train": {"images": "train", "labels": "trainannot"}},
        "classes": [{"name": f"class {index}", "ids": [index]} for index in range(classes)],
    }
    path = folder / "description.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def _write(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@contextmanager
def _data_root(root: Path) -> Iterator[None]:
    """``$BENCH_DATA`` names the root inside, so that a method that looks for labels there finds these."""
    before = os.environ.get("BENCH_DATA")
    os.environ["BENCH_DATA"] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["BENCH_DATA"]
        else:
            os.environ["BENCH_DATA"] = before


def _never() -> bool:
    return False
