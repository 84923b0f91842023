"""One trial of the label firewall: a tiny run as a grid makes it, over labels of some fate, in a process of its own.

A fresh process holds nothing that an earlier trial has read: whatever a method keeps from one call to the next, in a
cache or in a module, starts empty, and its file is imported anew where ``$BENCH_DATA`` names the trial's own tree.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spectral_bench.bench.features.backbones import weights_digest
from spectral_bench.bench.run.firewall_tree import EVALUATED, TRAINED, Fate, write_tree
from spectral_bench.bench.work.order import Execution, Order
from spectral_bench.common.errors import UserError
from spectral_bench.methods.registry import base_params, complete_params, method_facts
from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData, View
from spectral_bench.results.store import Store

BACKBONE = "vit_tiny_patch16_224"
CLASSES = 4
PRELOAD = ("torch", "timm", "spectral_bench.bench.run", "spectral_bench.bench.run.firewall_trial")


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


def trial(root: Path, method: str, params: Mapping[str, Any], fate: Fate, number: int = 0) -> Learnt | Failed:
    """Fit and predict over labels of this fate, in a process of its own.

    Args:
        root: the data root, which trials that follow each other share: images and their features stay, labels change.
        method: as in grids.
        params: parameters that make its fit small, on 8 images of 6 x 7 patches.
        fate: of the labels.
        number: seeds the global random generators, which no method may draw from, so that one who does is found out.
    """
    facts, complete = method_facts(method), complete_params(method, params)
    classes = complete["k"] if facts.classes_as_clusters else CLASSES
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, dict(os.environ), root, classes, method, dict(params), fate, number)
    process = context.Process(target=_enter, args=arguments, name="check-method", daemon=True)
    process.start()
    sender.close()
    try:
        found: Learnt | Failed = receiver.recv()
    except EOFError:
        process.join()
        found = Failed(f"its process ended with exit code {process.exitcode}")
    process.join()
    return found


def _enter(sender: Connection, environment: Mapping[str, str], *arguments: Any) -> None:
    os.environ.clear()  # the server that this process is forked from may have been started with another
    os.environ.update(environment)
    try:
        found: Learnt | Failed = learn(*arguments)
    except BaseException as error:
        found = Failed(f"{type(error).__name__}: {error}", isinstance(error, UserError))
    sender.send(found)
    sender.close()


def learn(root: Path, classes: int, method: str, params: Mapping[str, Any], fate: Fate, number: int = 0) -> Learnt:
    """As ``trial``, over labels of so many classes, in this process; it changes ``$BENCH_DATA`` and random generators.

    Raises:
        Exception: whatever the run ends with.
    """
    from spectral_bench.bench.numerics import set_up_torch

    set_up_torch(Execution())
    _seed_global_generators(number)
    os.environ["BENCH_DATA"] = str(root)  # a method that looks for labels there finds these
    description = write_tree(root, classes, fate)  # before the method's file is imported
    facts, complete, base = method_facts(method), complete_params(method, params), None
    with TemporaryDirectory(prefix="store-", dir=root) as name:
        store = Store.open(name, create=True)
        (root / "features").mkdir(exist_ok=True)
        (store.path / "features").symlink_to(root / "features")
        if facts.fit_from is not None:
            base = _order(facts.fit_from, base_params(method, params), description, store)
        return _learnt(_order(method, complete, description, store, base), base, store)


def _learnt(order: Order, base: Order | None, store: Store) -> Learnt:
    from spectral_bench.bench.run.context import Run
    from spectral_bench.bench.run.execute import execute
    from spectral_bench.bench.run.fit import fit
    from spectral_bench.bench.run.stored import STATE_FILE, load_fit

    if base is not None:
        execute(base, store=store, should_stop=_never)
    run = Run(order, store, _never)
    _, fitted = fit(run)
    state = (run.folder / STATE_FILE).read_bytes()
    methods = (fitted, load_fit(store, order.spec.run_id))
    dataset = order.spec.data.dataset
    trained, evaluated = (_scores(run, methods, View(dataset=dataset, split=split)) for split in (TRAINED, EVALUATED))
    return Learnt(hashlib.sha256(state).hexdigest(), trained, evaluated)


def _scores(run: Any, methods: tuple[Any, ...], view: View) -> str:
    """The digest of all scores of a view's images, by each of some methods, as an evaluation asks for them."""
    from spectral_bench.bench.run.evaluation import view_features
    from spectral_bench.bench.run.labels import evaluated_labels
    from spectral_bench.bench.run.looking import scored_images

    meter, found = run.meter(), hashlib.sha256()
    features = view_features(run, view, run.open_data(view.dataset).images(view.split), meter)
    for method in methods:
        labels = evaluated_labels(run, view)
        for scored in scored_images(
            method, view, features, device=run.device, stage=meter.stage, should_stop=_never, labels=labels
        ):
            found.update(scored.scores.contiguous().numpy().tobytes())
    return found.hexdigest()


def _order(method: str, params: Mapping[str, Any], description: Path, store: Store, base: Order | None = None) -> Order:
    options = {"weights": "random", "seed": 0}
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
    import numpy as np
    import torch

    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 (the very generator that no method may draw from)
    torch.manual_seed(number)


def _never() -> bool:
    return False
