from __future__ import annotations

from spectral_bench.bench.code.records import evaluation_code, fit_code

LITE = "efficientnet_lite0"


def test_a_fit_depends_on_its_method_data_and_backbone_and_not_on_other_methods_or_the_evaluation():
    modules = set(fit_code("kmeans", "camvid", LITE))
    assert {
        "methods.kmeans",
        "methods.lloyd",
        "datasets.camvid",
        "bench.features.backbones.efficientnet_lite0",
    } <= modules
    assert not {"methods.neuralef.method", "datasets.cityscapes", "bench.evaluation.layout"} & modules


def test_a_neuralef_fit_depends_on_graphs_and_loss():
    assert {"methods.neuralef.psi", "methods.neuralef.loss", "methods.trainer"} <= set(
        fit_code("neuralef", "camvid", LITE)
    )


def test_a_vit_fit_depends_on_the_vit_and_on_no_other_backbone():
    modules = set(fit_code("kmeans", "camvid", "vit_small_patch16_224.dino"))
    assert {"bench.features.backbones.timm_vit", "bench.features.backbones.network"} <= modules
    assert not {"bench.features.backbones.efficientnet_lite0", "bench.features.backbones.registry"} & modules


def test_an_evaluation_depends_on_resampling_and_counting():
    modules = set(evaluation_code("kmeans", "synthetic", LITE))
    assert {"bench.evaluation.layout", "bench.run.evaluate", "results.contingency", "methods.kmeans"} <= modules


def test_how_a_run_is_executed_is_no_part_of_it():
    assert not any(
        name.startswith(("bench.executors", "bench.cli", "reports")) for name in fit_code("kmeans", "camvid", LITE)
    )
