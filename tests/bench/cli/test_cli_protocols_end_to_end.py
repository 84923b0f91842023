"""Protocols of one's own and transfer between data sets, with real runs from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_lab import Bench
from dataset_trees import cityscapes, folder, imagenet

from spectral_bench.reports.collect import collect
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.metrics import score
from spectral_bench.results.store import Store

FITTED = """\
name: fitted
note: short side 96 with windows, a CRF, two fixed images, matching fitted on the training images
extends: whole
view: {resize: {mode: short_side, short_side: 96, size: null}, window: 64, stride: 48, subset: 2, crf: {iterations: 2}}
scoring: {fit_split: train}
"""


def counted(store: Store, run_id: str) -> dict[tuple[str, str], Contingency]:
    """(data set, split) -> what was counted."""
    run = store.load_run(run_id)
    assert run is not None
    return {(r.view.dataset, r.view.split): store.contingency(run_id, r.view_id) for r in run.evaluations.values()}


@pytest.mark.slow
@pytest.mark.usefixtures("crf_server")
def test_a_users_protocol_fits_its_matching_on_training_images_and_scores_a_fixed_subset(
    bench: Bench, tmp_path: Path
) -> None:
    pytest.importorskip("pydensecrf.densecrf")
    (tmp_path / "fitted.yaml").write_text(FITTED)
    (tmp_path / "g.yaml").write_text("protocols: [fitted.yaml]\nruns: [{method: kmeans, subset: 4, params: {k: 6}}]\n")
    options = ("--grid", "g.yaml", "--out", "o", "--executor", "inline", "--threads", "1", "--workers", "2")
    done = bench("run", *options)
    assert done.code == 0, done.out + done.err
    store = Store.open(tmp_path / "o")
    (entry,) = collect(store)
    (seed,) = entry.seeds
    counts = counted(store, seed.run_id)
    assert {key: found.n_images for key, found in counts.items()} == {
        ("synthetic", "val"): 2,
        ("synthetic", "train"): 64,
    }
    assert seed.evaluation is not None
    assert seed.evaluation.view.crf is not None
    classes = seed.evaluation.class_sets[seed.evaluation.default_classes]
    val, train = counts["synthetic", "val"], counts["synthetic", "train"]
    expected = score(val, classes, "iou", fit_on=train)
    assert seed.scores is not None
    assert seed.scores.miou == expected.miou != score(val, classes, "iou").miou
    assert "fitted on train" in bench("report", "--out", "o").out


@pytest.mark.slow
def test_trained_on_imagenet_and_evaluated_on_cityscapes_and_ones_own_images(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "data"
    imagenet(data)
    cityscapes(data)
    description = folder(tmp_path)
    transform = (
        "{resize: {mode: short_side, short_side: 64}, scale: [0.5, 2.0], crop: 64, flip: true, photometric: true}"
    )
    small = "{k: 4, epochs: 1, batch_size: 2, depth: 1, heads: 1, head_width: 8, mlp_width: 8, neighbours: 8}"
    (tmp_path / "g.yaml").write_text(
        f"defaults: {{train_dataset: imagenet, transform: {transform}, features: {{mode: online}}, params: {small}}}\n"
        "runs:\n"
        "  - {method: neuralef, dataset: cityscapes, protocols: [centre320]}\n"
        f"  - {{method: neuralef, dataset: 'folder:{description}', protocols: [whole]}}\n"
    )
    result = bench(
        "run", "--grid", "g.yaml", "--out", "o", "--data-root", data, "--executor", "inline"
    )  # fmt: skip
    assert result.code == 0, result.out + result.err
    store = Store.open(tmp_path / "o")
    (run_id,) = store.runs()  # one fit serves both
    fit = store.fit_record(run_id)
    assert fit is not None
    assert fit.spec.data.dataset == "imagenet"
    counts = counted(store, run_id)
    assert {key: found.n_images for key, found in counts.items()} == {
        ("cityscapes", "val"): 3,
        (f"folder:{description}", "val"): 2,
    }
    assert counts["cityscapes", "val"].n_pixels == 3 * 320 * 320
    assert "warning: imagenet, split train: 4 images found, 1281167 published" in result.err
