"""Small orders over a tree of pictures in CamVid's layout."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spectral_bench.bench.code import fingerprint
from spectral_bench.bench.features.backbones import timm_hub, weights_digest
from spectral_bench.bench.work.order import Execution, Order
from spectral_bench.methods.registry import complete_params
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Resize, TrainingData, Transform, View
from spectral_bench.results.store import Store

SIZE = (64, 96)
OrderMaker = Callable[..., Order]


def write_tree(root: Path, seed: int = 0, n_images: int = 4) -> Path:
    """A CamVid tree of blocky pictures below ``root``; returns ``root``."""
    rng = np.random.default_rng(seed)
    for split in ("train", "val"):
        for index in range(n_images):
            classes = np.kron(rng.integers(0, 4, (4, 6)), np.ones((16, 16), int))
            noise = rng.integers(0, 60, (*classes.shape, 3))
            picture = np.stack([classes * 50, 200 - classes * 40, (classes % 2) * 120], -1) + noise
            for folder, array in ((split, picture), (f"{split}annot", classes)):
                path = root / "camvid" / folder / f"{split}{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(path)
    return root


_file = functools.cache(fingerprint._file)
_build_network = timm_hub.build_network


@functools.cache
def _drawn(seed: int, name: str, **settings: Any) -> torch.nn.Module:
    return _build_network(name, pretrained=False, **settings)


def _built(name: str, *, pretrained: bool, **settings: Any) -> torch.nn.Module:
    if pretrained:
        return _build_network(name, pretrained=True, **settings)
    return copy.deepcopy(_drawn(torch.initial_seed(), name, **settings))


@pytest.fixture(autouse=True, scope="module")
def _once_for_all_runs() -> Iterator[None]:
    """Random weights are drawn once a seed, and each file of the project is looked for once: no test here adds one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_file", _file)
        patch.setattr(timm_hub, "build_network", _built)
        yield


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "data")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def make_order(store: Store, data_root: Path) -> OrderMaker:
    def make(
        method: str = "kmeans",
        params: dict[str, Any] | None = None,
        *,
        views: Sequence[View] | None = None,
        seed: int = 0,
        requires: str | None = None,
        transform: Transform | None = None,
        features: Features | None = None,
        **execution: Any,
    ) -> Order:
        resize = Resize(mode="exact", size=SIZE)
        name, options = "vit_tiny_patch16_224", {"weights": "random", "seed": 0}
        spec = FitSpec(
            data=TrainingData(dataset="camvid", transform=transform or Transform(resize=resize)),
            features=features or Features(),
            backbone=BackboneSpec(name=name, options=options, weights=weights_digest(name, options) or ""),
            method=method,
            params=complete_params(method, {"k": 4} if params is None else params),
            seed=seed,
        )
        return Order(
            spec=spec,
            views=(View(dataset="camvid", split="val", resize=resize),) if views is None else tuple(views),
            requires=requires,
            store=store.path,
            data_roots=(data_root,),
            execution=Execution(**{"device": "cpu", "threads": 1, "workers": 1, **execution}),
        )

    return make
