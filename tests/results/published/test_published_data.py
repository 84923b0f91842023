"""The published numbers that ship: every result read is there, with its protocol, its source and its caveats."""

from __future__ import annotations

from collections import Counter

import pytest

from spectral_bench.datasets.registry import names
from spectral_bench.results.published import Look, Published, PublishedRow, load_published
from spectral_bench.results.specification import Resize

READ = {
    # Deng and Luo: 9 rows of two tables; 3 methods on 3 data sets; the log's 27 cells.
    ("neuralef", "nef_paper"): 9 + 9 + 6 + 3,
    ("neuralef", "nef_log"): 7 + 12 + 8,
    # K, alpha on two data sets, beta for both outputs, transfer, CLIP, K = classes.
    ("neuralef_ablations", "nef_paper"): 4 + 5 + 5 + 3 + 3 + 2 + 3 + 2,
    # K, alpha again, beta again, stop-gradient, neighbours, temperature, collapse, head, K = classes with CRF, ViT-Ti,
    # CLIP again, the default thrice, without CRF on two data sets.
    ("neuralef_ablations", "nef_log"): 3 + 3 + 2 + 2 + 8 + 4 + 1 + 1 + 1 + 1 + 2 + 3 + 2,
    ("neuralef_precursor", "nef_precursor"): 4 * 7 + 3 + 1 + 3 * 7,
    ("coco_stuff", "transfgu"): 1 + 1,
    ("coco_stuff", "transfgu_issue"): 1,
    ("coco_stuff", "reco"): 3,
    ("coco_stuff", "primaps"): 10,
    ("coco_stuff", "u2seg"): 1,
    ("coco_stuff", "alignseg"): 1,
    ("coco_stuff", "cause"): 3 + 3 + 1 + 3 + 2,
    ("cityscapes", "transfgu"): 1,
    ("cityscapes", "reco"): 3,
    ("cityscapes", "clippy"): 1,
    ("cityscapes", "primaps"): 10,
    ("cityscapes", "cause"): 2 + 2 + 1 + 3,
    ("cityscapes", "reclip"): 1,
    ("cityscapes", "u2seg"): 2,
    ("cityscapes", "cups"): 1,
    ("potsdam", "primaps"): 10,
    ("kitti_step", "reco"): 3,
    ("text_prompted", "ifseg"): 1,
    ("text_prompted", "reclip"): 6,
    ("pascal_voc", "dsm_issues"): 4,
    ("pascal_voc", "transfgu"): 1,
    ("pascal_voc", "maskdistill"): 2,
    ("pascal_voc", "cause"): 6,
    ("pascal_voc", "leopart"): 2,
    ("object_discovery", "lost"): 9,
    ("object_discovery", "tokencut"): 9,
    ("object_discovery", "found"): 3,
    # Ten methods and backbones on five data sets and class sets.
    ("training_free", "trident"): 9 * 5,
    ("training_free", "naclip"): 5,
}


@pytest.fixture(scope="module")
def published() -> Published:
    return load_published()


def find(published: Published, **wanted: object) -> list[PublishedRow]:
    def value(row: PublishedRow, key: str) -> object:
        return getattr(row.protocol, key) if hasattr(row.protocol, key) else getattr(row, key)

    return [row for row in published.rows if all(value(row, key) == what for key, what in wanted.items())]


def test_every_result_that_was_read_is_there(published: Published):
    assert Counter((row.file, row.source.key) for row in published.rows) == READ
    assert len(published.rows) == sum(READ.values())
    assert len(published.facts) == 17


def test_no_row_stands_twice(published: Published):
    told = [row.model_dump_json() for row in published.rows]
    # Two runs of one setting may give two numbers; the same number twice would be a slip.
    assert len(set(told)) == len(told)


def test_scores_are_percentages(published: Published):
    assert all(0 < value <= 100 for row in published.rows for value in row.metrics.values())


@pytest.mark.parametrize(
    ("wanted", "accuracy", "miou"),
    [
        ({"where": "Table 1", "method": "NeuralEF", "backbone": "ViT-S/16"}, 70.4, 38.8),
        ({"where": "Table 2", "method": "k-means", "backbone": "ViT-L/16"}, 66.3, 20.9),
        ({"where": "Table 3", "method": "NeuralEF + k-means", "dataset": "cityscapes"}, 88.3, 52.8),
        ({"where": "Table 4", "method": "k-means"}, 50.7, 19.2),
        ({"where": "Section 4.4", "matching": "hungarian_rest_first"}, 40.8, 23.5),
        ({"where": "log", "dataset": "ade20k", "backbone": "ViT-B/8", "method": "NeuralEF"}, 66.45, 17.48),
        ({"method": "CAUSE-TR", "backbone": "DINOv2 ViT-B/14", "dataset": "coco_stuff"}, 78.0, 45.3),
    ],
)
def test_numbers_are_those_of_the_sources(
    published: Published, wanted: dict[str, object], accuracy: float, miou: float
):
    (row,) = find(published, **wanted)
    assert row.metrics == {"accuracy": accuracy, "mIoU": miou}


def test_rows_of_the_320_protocol_say_what_is_wrong_with_them(published: Published):
    rows = [row for row in find(published, crf="black_image") if row.protocol.k == 256]
    assert len(rows) > 30
    for row in rows:
        keys = {caveat.key for caveat in row.caveats}
        assert row.protocol.images == 352
        assert {"subset_352", "crf_black_image"} <= keys
        assert ("label_leak" in keys) == bool(row.protocol.uses_labels)


def test_only_what_trained_with_the_leak_used_labels(published: Published):
    (transfer, _) = find(published, setting="trained on ImageNet for 5 epochs")
    (baseline, _) = find(published, method="k-means", backbone="ViT-S/16", where="Table 1") * 2
    assert (transfer.protocol.uses_labels, baseline.protocol.uses_labels) == (False, False)
    assert all(row.protocol.uses_labels for row in published.rows if "label_leak" in {c.key for c in row.caveats})


def test_k_means_of_the_paper_was_fitted_on_label_steered_crops_too(published: Published):
    steered = {row.method for row in published.rows if "label_steered_crops" in {c.key for c in row.caveats}}
    baselines = find(published, file="neuralef", method="k-means")
    assert len(baselines) == 17
    assert all("label_steered_crops" in {caveat.key for caveat in row.caveats} for row in baselines)
    assert steered == {"k-means", "NeuralEF", "NeuralEF + k-means"}
    assert not any(row.protocol.uses_labels for row in baselines)  # the crops only: no label reached a fit's loss


def test_the_best_of_three_is_told(published: Published):
    (best,) = find(published, selection="best")
    assert (best.protocol.seeds, best.backbone, best.metrics["mIoU"]) == (3, "CLIP ViT-L/14", 38.7)
    assert "best_of_n" in {caveat.key for caveat in best.caveats}


def test_protocols_are_written_as_the_harness_resolves_its_own(published: Published):
    from spectral_bench.bench.grid.protocol import class_count, resolve
    from spectral_bench.bench.grid.protocol import find as find_protocol
    from spectral_bench.datasets.registry import data_info
    from spectral_bench.reports.published.fields import _look

    for name, dataset in (("centre320", "pascal_context"), ("centre320", "cityscapes"), ("sliding", "ade20k")):
        info = data_info(dataset)
        ours = resolve(find_protocol(name, None), info, split="val", subset=None)  # type: ignore[arg-type]
        rows = [row for row in find(published, dataset=dataset, view=_look(ours.view)) if row.file == "neuralef"]
        assert rows
        assert {row.protocol.classes for row in rows} == {class_count(ours, info)}
        assert {row.protocol.matching for row in rows} == {ours.scoring.matching}


def test_data_sets_of_ours_have_our_names(published: Published):
    read = {"pascal_context", "cityscapes", "ade20k", "coco_stuff", "pascal_voc", "potsdam3"}
    assert read == set(published.datasets) & set(names())


@pytest.mark.parametrize(
    ("dataset", "split"), [("coco_stuff", "val_curated_7"), ("cityscapes", "val"), ("potsdam3", "val")]
)
def test_rows_of_the_field_are_on_what_its_grids_score(published: Published, dataset: str, split: str):
    from spectral_bench.bench.grid.protocol import class_count, resolve
    from spectral_bench.bench.grid.protocol import find as find_protocol
    from spectral_bench.datasets.registry import data_info

    info = data_info(dataset)
    ours = resolve(find_protocol("stego", None), info, split=split, subset=None)  # type: ignore[arg-type]
    rows = find(published, dataset=dataset, method="k-means", split=split, matching=ours.scoring.matching)
    assert len(rows) == 4
    assert {row.protocol.classes for row in rows} == {row.protocol.k for row in rows} == {class_count(ours, info)}
    assert {row.protocol.images for row in rows} <= {"all", None}


def test_unstated_is_not_a_default(published: Published):
    (row,) = find(published, method="ReCLIP++", dataset="cityscapes")
    assert (row.protocol.classes, row.protocol.seeds) == (None, None)
    assert Resize() not in {getattr(row.protocol.view, "resize", None) for row in published.rows}


def test_features_are_stated_of_the_rows_whose_code_was_read_and_of_no_other(published: Published):
    told = {row.source.key for row in published.rows if row.protocol.facet is not None}
    assert told == {"primaps", "cause", "dsm_issues"}
    for row in published.rows:
        protocol, own = row.protocol, (row.protocol.facet, row.protocol.layer, row.protocol.flip)
        if row.source.key == "primaps":
            alone = row.method in ("k-means", "PriMaPs-EM")
            assert own == (("tokens", "last", None) if alone else (None, None, None))
        elif row.source.key == "cause":
            dino = (row.backbone or "").startswith("DINO")
            assert own == (("tokens", "last", "scores") if dino else (None, None, None))
        elif row.source.key == "dsm_issues":
            assert own == ("keys", "last", None)
        else:
            assert (protocol.facet, protocol.layer, protocol.flip) == (None, None, None)


def test_training_free_rows_are_told_with_how_they_were_read(published: Published):
    rows = find(published, file="training_free")
    assert len(rows) == 50
    quoted = {row.method for row in rows if row.confidence == "read-2nd"}
    assert quoted == {"CLIP", "MaskCLIP", "ReCo", "SCLIP", "NACLIP", "ProxyCLIP"}
    assert all(row.confidence == "read" for row in published.rows if row.file != "training_free")
    (best,) = find(published, method="Trident", backbone="CLIP ViT-H/14", dataset="cityscapes")
    assert best.metrics == {"mIoU": 47.6}
    assert best.protocol.view == Look(resize=Resize(mode="short_side", short_side=560), window=224, stride=112)
    assert {caveat.key for caveat in best.caveats} == {"text_prompts", "sam_refined"}
    (pamr,) = find(published, method="NACLIP + PAMR", dataset="ade20k")
    assert (pamr.metrics, pamr.protocol.crf, pamr.protocol.uses_labels) == ({"mIoU": 19.05}, "none", False)
