"""Eigenfunctions are checked on held-out images after a fit, and what fails is not converged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spectral_bench.bench.features.pipeline import concatenate
from spectral_bench.bench.run import execute
from spectral_bench.bench.run.fit import load_fit
from spectral_bench.bench.run.health import WANTED_PATCHES, held_out_images
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.subset import in_drawing_order
from spectral_bench.methods.exact import MOST_EXACT_NODES
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.results.specification import Features, Resize, TrainingData, View

NETWORK = {"epochs": 1, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 8, "mlp_width": 16, "neighbours": 8}
EXACT = '''
"""A method that is its own eigenvectors."""
import torch
from pydantic import Field
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.graphs.kernel import DenseKernel
from spectral_bench.methods.params import Params
from spectral_bench.methods.exact import exact_eigenspace


class ExactParams(Params):
    k: int = Field(3, ge=2, description="clusters")
    fault: str = Field("none", description="what is wrong with it")


class Exact:
    """Eigenvectors of whatever it is shown."""
    Params, uses_labels, fit_from = ExactParams, False, None
    health_limits = {"angle_largest": 1.0, "residual_largest": 1e-3}
    per_image = False

    def __init__(self, params):
        self.params, self.n_clusters = params, params.k

    def fit(self, patches, *, context):
        return self

    def predict(self, batch):
        scores = torch.zeros(len(batch), self.n_clusters, *batch.grid)
        scores[:, 0, ::2], scores[:, 1, 1::2] = 1.0, 1.0
        return scores

    def kernel(self, batch):
        if self.params.fault == "kernel":
            raise NumericalError("the kernel is not finite")
        if self.per_image and len(batch) > 1:
            raise ValueError("one image at a time")
        kernel = batch_kernel(batch, neighbours=8, alpha=0.3)
        return DenseKernel(kernel.dense() * float("nan")) if self.params.fault == "nan kernel" else kernel

    def eigenfunctions(self, batch):
        kernel = batch_kernel(batch, neighbours=8, alpha=0.3)
        vectors = torch.from_numpy(exact_eigenspace(kernel, self.n_clusters)[1].copy()).float()
        if self.params.fault == "wrong":
            vectors = vectors[torch.randperm(len(vectors), generator=SeedStreams(0).torch("wrong"))]
        if self.params.fault == "constant":
            vectors = torch.ones_like(vectors)
        if self.params.fault == "nan":
            vectors[3, 1] = float("nan")
        return vectors.view(len(batch), *batch.grid, -1).permute(0, 3, 1, 2)

    def state_dict(self):
        return {"nothing": torch.zeros(1)}

    def load_state_dict(self, state):
        pass
'''


@pytest.fixture
def exact(tmp_path: Path) -> str:
    path = tmp_path / "exact.py"
    path.write_text(EXACT)
    return f"{path}:Exact"


def evaluated(order, store):
    status = execute(order, store=store, should_stop=lambda: False).status
    record = store.evaluation_record(order.spec.run_id, order.views[0].view_id)
    assert record is not None
    return status, record, {check.name: check for check in record.health}


def test_exact_functions_are_in_health_and_the_cost_is_a_stage_of_the_evaluation(store, make_order, exact):
    order = make_order(exact, {})
    status, record, checks = evaluated(order, store)
    assert (status, record.status) == ("done", "done")
    assert checks["angle_largest"].value == pytest.approx(0, abs=0.1)
    assert (checks["angle_largest"].limit, checks["residual_largest"].limit) == (1.0, 1e-3)
    assert checks["eigenvalue_mean"].value == pytest.approx(checks["rayleigh_mean"].value, rel=1e-5)
    assert checks["graph_patches"].value == 4 * 4 * 6
    assert [cost.stage for cost in record.costs if cost.stage == "health"] == ["health"]
    fit = store.fit_record(order.spec.run_id)
    assert "health" not in {cost.stage for cost in fit.costs}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("wrong", "angle_largest"),
        ("constant", "varying_functions"),
        ("nan", "varying_functions"),
        ("nan", "angle_largest"),
        ("kernel", "spectral_health"),
        ("nan kernel", "spectral_health"),
    ],
)
def test_what_fails_a_check_is_not_converged_and_keeps_its_counts(store, make_order, exact, fault, check):
    order = make_order(exact, {"fault": fault})
    status, record, checks = evaluated(order, store)
    assert (status, record.status) == ("not_converged", "not_converged")
    assert not checks[check].passed
    assert checks[check].note
    assert store.contingency(order.spec.run_id, order.views[0].view_id).n_images == 4


def test_a_method_that_decomposes_each_image_is_checked_image_by_image(store, make_order, exact, tmp_path):
    path = tmp_path / "exact.py"
    path.write_text(EXACT.replace("per_image = False", "per_image = True"))
    status, _, checks = evaluated(make_order(exact, {}), store)
    assert status == "done"
    assert checks["graph_patches"].value == 4 * 6


@pytest.mark.parametrize("params", [{"k": 4}, {"k": 64}, {"k": 256}, {"k": 4, "discrete": False}])
def test_neuralef_is_checked_with_any_number_of_functions(store, make_order, params):
    """With more functions than held-out patches there are no exact eigenvectors, and the rest is checked."""
    order = make_order("neuralef", NETWORK | params | {"batch_size": 4}, features=Features(mode="online"))
    if params["k"] == 256:  # more than the 96 training patches
        large = Resize(mode="exact", size=(192, 288))
        transform = order.spec.data.transform.model_copy(update={"resize": large})
        spec = order.spec.model_copy(update={"data": TrainingData(dataset="camvid", transform=transform)})
        order = order.model_copy(update={"spec": spec})
    _, _, checks = evaluated(order, store)
    assert checks["rayleigh_mean"].value is not None
    assert ("angle_largest" in checks) == (params["k"] <= 96)
    assert all(check.passed for name, check in checks.items() if name not in ("clusters_in_use", "varying_functions"))


def test_a_limit_on_the_angle_can_be_asked_for(store, make_order):
    order = make_order("neuralef", {"k": 4, "angle_limit": 1.0, **NETWORK})
    status, _, checks = evaluated(order, store)
    assert (checks["angle_largest"].limit, checks["angle_largest"].passed) == (1.0, False)
    assert status == "not_converged"


def test_neuralef_kmeans_shows_the_functions_of_the_fit_that_it_starts_from(store, make_order):
    params = {"k": 4, **NETWORK}
    base = make_order("neuralef", params)
    _, _, expected = evaluated(base, store)
    order = make_order("neuralef_kmeans", params, requires=base.spec.run_id)
    _, _, found = evaluated(order, store)
    for name in ("rayleigh_mean", "angle_largest", "residual_largest"):
        assert found[name].value == expected[name].value


def test_a_method_without_eigenfunctions_is_not_checked(store, make_order):
    _, record, checks = evaluated(make_order(), store)
    assert set(checks) == {"clusters_in_use"}
    assert "health" not in {cost.stage for cost in record.costs}


def test_images_of_the_fit_are_left_out_while_there_are_others(store, make_order, exact):
    resize = Resize(mode="exact", size=(64, 96))
    order = make_order(exact, {}, views=(View(dataset="camvid", split="train", resize=resize),))
    _, _, checks = evaluated(order, store)
    assert (checks["graph_patches"].value, checks["graph_patches"].passed) == (96, True)
    assert "the fit was trained on" in checks["graph_patches"].note
    part = order.spec.data.model_copy(update={"subset": 3})
    _, _, checks = evaluated(order.model_copy(update={"spec": order.spec.model_copy(update={"data": part})}), store)
    assert (checks["graph_patches"].value, checks["graph_patches"].note) == (24, "")


def test_a_stored_fit_is_as_healthy_as_the_fresh_one(store, make_order):
    order = make_order("neuralef", {"k": 4, "graph_standardise": True, **NETWORK})
    _, _, fresh = evaluated(order, store)
    view = order.views[0]
    (store.run_folder(order.spec.run_id) / "evaluations" / f"{view.view_id}.json").unlink()
    _, _, again = evaluated(order, store)
    assert again == fresh
    method = load_fit(store, order.spec.run_id)
    assert set(method.state_dict()) >= {"graph_statistics.0", "graph_statistics.2"}


class Shown:
    """Features of a view whose images have these grids and numbers of windows."""

    def __init__(self, grids: dict[str, tuple[int, int]], windows: int = 1, mirrored: int = 0) -> None:
        self.grids, self.windows, self.mirrored = grids, windows, mirrored
        self.image_ids = tuple(grids)
        self.read: list[str] = []

    def at(self, index: int) -> Any:
        name = self.image_ids[index]
        height, width = self.grids[name]
        self.read.append(name)
        values = torch.arange(self.windows).view(-1, 1, 1, 1).expand(-1, height, width, 2).float()
        crop = Crop.whole(16 * height, 16 * width)
        plain = self.windows - self.mirrored
        crops = (*[crop] * plain, *[replace(crop, flip=True)] * self.mirrored)
        batch = PatchBatch((values,), values[..., :1].expand(-1, -1, -1, 3), (name,) * self.windows, crops)
        return type("Item", (), {"patches": batch, "cover": (16 * height, 16 * width)})


def test_held_out_images_are_taken_by_hash_until_the_graph_is_large_enough():
    ids = [f"image{index}" for index in range(30)]
    shown = Shown(dict.fromkeys(ids, (22, 30)))
    chosen = held_out_images(shown, tuple(ids))
    assert [batch.image_ids[0] for batch in chosen] == in_drawing_order(ids)[:3]
    assert concatenate(chosen).pixels[..., 0].numel() == 1980 <= WANTED_PATCHES
    few = held_out_images(Shown(dict.fromkeys(ids, (22, 30))), tuple(ids[:1]))
    assert [batch.image_ids for batch in few] == [("image0",)]


def test_held_out_images_have_one_grid_and_of_windows_the_middle_one():
    ids = [f"image{index}" for index in range(40)]
    grids = {name: (4, 4) if rank % 2 else (5, 4) for rank, name in enumerate(in_drawing_order(ids))}
    shown = Shown(grids, windows=5)
    chosen = held_out_images(shown, tuple(ids))
    assert {batch.grid for batch in chosen} == {(5, 4)}
    assert (len(chosen), len(shown.read)) == (8, 16)
    assert all((batch.features[0] == 2).all() and len(batch) == 1 for batch in chosen)


def test_held_out_windows_are_not_mirrored():
    (image,) = held_out_images(Shown({"a": (4, 4)}, windows=6, mirrored=3), ("a",))
    assert (image.features[0] == 1).all()
    assert not image.crops[0].flip


def test_a_large_image_is_cut_to_what_can_be_decomposed():
    (image,) = held_out_images(Shown({"a": (64, 128), "b": (64, 128)}), ("a", "b"))
    assert WANTED_PATCHES < image.grid[0] * image.grid[1] <= MOST_EXACT_NODES
