from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.bench.features import views
from spectral_bench.bench.predict import panels
from spectral_bench.bench.predict.panels import make_panels
from spectral_bench.bench.run import execute
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.reports.gallery.panels import WantedPanel
from spectral_bench.results.panels import read_panel
from spectral_bench.results.specification import Features, View

METHOD = """
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.kmeans import KMeans as Base


class Waves(Base):
    def eigenfunctions(self, batch):
        return batch.features[-1].permute(0, 3, 1, 2)[:, :3] - 1.0

    def kernel(self, batch):
        return batch_kernel(batch, neighbours=4, alpha=0.3)
"""


@pytest.fixture
def waves(tmp_path: Path) -> str:
    path = tmp_path / "waves.py"
    path.write_text(METHOD)
    return f"{path}:Waves"


def finished(store, order) -> tuple[str, View]:
    execute(order, store=store, should_stop=lambda: False)
    return order.spec.run_id, order.views[0]


def wanted(run_id: str, view: View, *images: str) -> list[WantedPanel]:
    return [WantedPanel(run_id, view, image) for image in images]


def panel(store, run_id: str, view: View, image: str):
    record = store.evaluation_record(run_id, view.view_id)
    return read_panel(store.run_folder(run_id), view.view_id, image, record.contingency_sha256)


@pytest.mark.parametrize("windows", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_panels_show_exactly_what_was_scored(store, make_order, data_root, windows: bool):
    sizes = {"window": 48, "stride": 32} if windows else {}
    features = Features(mode="online") if windows else Features()
    run_id, view = finished(store, make_order(views=[View(dataset="camvid", split="val", **sizes)], features=features))
    steps: list[tuple[int, int]] = []
    problems = make_panels(
        store,
        wanted(run_id, view, "val2", "val0"),
        DataRoots((data_root,)),
        device="cpu",
        progress=lambda *step: steps.append(step),
    )
    assert problems == []
    assert steps == [(2, 2)]
    counts = store.contingency(run_id, view.view_id)
    for image in ("val0", "val2"):
        found = panel(store, run_id, view, image)
        pairs = np.bincount((found.clusters * counts.n_labels + found.truth).ravel(), minlength=4 * counts.n_labels)
        expected = counts.matrix([counts.image_ids.index(image)])
        np.testing.assert_array_equal(pairs.reshape(4, -1), expected)
        assert found.image.shape == (64, 96, 3)
        assert len(found.functions) == 0
    assert panel(store, run_id, view, "val1") is None


def test_eigenfunctions_are_kept_with_sign_and_scale_fixed(store, make_order, data_root, waves: str):
    run_id, view = finished(store, make_order(waves))
    assert make_panels(store, wanted(run_id, view, "val1"), DataRoots((data_root,)), device="cpu") == []
    found = panel(store, run_id, view, "val1")
    assert found.functions.shape == (3, 4, 6)
    np.testing.assert_allclose(found.functions.reshape(3, -1).max(axis=1), 1, atol=1e-4)
    assert found.window.shape == (64, 96, 3)
    assert found.cover == (1.0, 1.0)


def test_what_cannot_be_made_is_told_once_with_its_runs_and_the_rest_is_made(store, make_order, data_root, tmp_path):
    first, view = finished(store, make_order(seed=0))
    second, _ = finished(store, make_order(seed=1))
    good, _ = finished(store, make_order(seed=2))
    for run_id in (first, second):
        (store.run_folder(run_id) / "fit.safetensors").unlink()
    asked = [panel for run_id in (first, good) for panel in wanted(run_id, view, "val0")]
    (problem,) = make_panels(store, asked, DataRoots((data_root,)), device="cpu")
    assert problem.startswith(f"No panels of {first}: StoreError")
    assert panel(store, good, view, "val0") is not None
    nowhere = [panel for run_id in (first, second) for panel in wanted(run_id, view, "val0")]
    problems = make_panels(store, wanted(good, view, "val1"), DataRoots((tmp_path / "nothing",)), device="cpu")
    assert [good in line and "DataError" in line for line in problems] == [True]
    assert len(make_panels(store, nowhere, DataRoots((data_root,)), device="cpu")) == 2


def test_a_fit_that_predicts_otherwise_than_it_was_scored_is_not_shown(store, make_order, data_root):
    run_id, view = finished(store, make_order(seed=0))
    other, _ = finished(store, make_order(seed=1, params={"k": 4, "iterations": 1}))
    state = store.run_folder(run_id) / "fit.safetensors"
    state.write_bytes((store.run_folder(other) / "fit.safetensors").read_bytes())
    (problem,) = make_panels(store, wanted(run_id, view, "val0"), DataRoots((data_root,)), device="cpu")
    assert "predicted otherwise than when scored" in problem
    assert panel(store, run_id, view, "val0") is None


def test_features_that_are_kept_are_read_and_else_computed(store, make_order, data_root, monkeypatch):
    """Neither gives a panel of its own."""
    asked: list[str] = []
    monkeypatch.setattr(
        panels, "fresh_features", lambda *given, **named: asked.append("fresh") or fresh(*given, **named)
    )
    fresh = views.fresh_features
    run_id, view = finished(store, make_order(seed=0))
    assert make_panels(store, wanted(run_id, view, "val2", "val0"), DataRoots((data_root,)), device="cpu") == []
    assert asked == []
    kept = [panel(store, run_id, view, image) for image in ("val0", "val2")]
    for folder in (store.features_folder, store.run_folder(run_id) / "panels"):
        shutil.rmtree(folder)
    assert make_panels(store, wanted(run_id, view, "val2", "val0"), DataRoots((data_root,)), device="cpu") == []
    assert asked == ["fresh"]
    for one, image in zip(kept, ("val0", "val2"), strict=True):
        again = panel(store, run_id, view, image)
        np.testing.assert_array_equal(one.clusters, again.clusters)
        np.testing.assert_array_equal(one.image, again.image)
        np.testing.assert_array_equal(one.functions, again.functions)
