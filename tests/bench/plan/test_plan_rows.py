from __future__ import annotations

from collections.abc import Callable

import pytest

from spectral_bench.bench.plan.run_ids import ResolvedRow, base_spec
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.specification import Resize, Transform

Rows = Callable[..., list[ResolvedRow]]

DESIGN_EXAMPLE = """\
name: example
protocols: [whole]
defaults: {dataset: synthetic, backbone: efficientnet_lite0, seeds: [0, 1, 2]}
ablate:
  base: {method: neuralef, params: {k: 64, alpha: 0.3}}
  vary:
    k: [32, 64, 128]
    alpha: [0.0, 0.1, 0.3, 0.5, 0.7]
runs:
  - {method: kmeans, matrix: {k: [32, 64, 128]}}
  - {method: kmeans, matrix: {k: [32, 64], input: [last_l2, all_standardised_l2]}, exclude: [{k: 32, input: last_l2}]}
"""


def test_a_row_becomes_one_complete_specification_a_seed(rows: Rows) -> None:
    (row,) = rows("{runs: [{method: kmeans, params: {k: 9}, subset: 16, seeds: [3, 5], precision: bfloat16}]}")
    assert [spec.seed for spec in row.specs] == [3, 5]
    spec = row.specs[0]
    assert (spec.method, spec.params["k"], spec.params["restarts"], spec.precision) == ("kmeans", 9, 1, "bfloat16")
    assert (spec.data.dataset, spec.data.split, spec.data.subset) == ("synthetic", "train", 16)
    assert spec.backbone.options == {"weights": "package"}
    assert len(spec.backbone.weights) == 16
    assert spec.configuration_id == row.specs[1].configuration_id


def test_defaults_that_are_spelled_out_make_no_other_run(rows: Rows) -> None:
    (plain,) = rows("{runs: [{method: kmeans}]}")
    (spelled,) = rows("{runs: [{method: kmeans, params: {restarts: 1}, backbone_options: {weights: package}}]}")
    assert plain.specs == spelled.specs


def test_the_evaluation_transform_is_the_training_data_sets_own(rows: Rows) -> None:
    (row,) = rows("{runs: [{method: kmeans, dataset: synthetic, train_dataset: camvid}]}")
    assert row.specs[0].data.transform == Transform(resize=Resize(mode="exact", size=(352, 480)))
    assert row.protocols[0].view.dataset == "synthetic"
    assert row.protocols[0].view.resize.size == (192, 256)


def test_a_transform_can_be_spelled_out(rows: Rows) -> None:
    (row,) = rows("{runs: [{method: kmeans, transform: {crop: 64, flip: true}, features: {views: 3}}]}")
    assert row.specs[0].data.transform == Transform(crop=64, flip=True)
    assert row.specs[0].features.views == 3


def test_a_method_on_a_stored_fit_names_the_fit(rows: Rows) -> None:
    (row,) = rows("{runs: [{method: neuralef_kmeans, params: {k: 16, alpha: 0.1}, seeds: [4]}]}")
    base = base_spec(row.specs[0])
    assert base is not None
    assert (base.method, base.seed, base.params["alpha"]) == ("neuralef", 4, 0.1)
    assert (base.data, base.features, base.backbone) == (
        row.specs[0].data,
        row.specs[0].features,
        row.specs[0].backbone,
    )
    assert base_spec(base) is None


def test_the_example_of_the_documentation(rows: Rows) -> None:
    found = rows(DESIGN_EXAMPLE)
    assert [row.grid_row.role for row in found] == ["baseline"] + ["variation"] * 6 + ["row"] * 6
    assert all(len(row.specs) == 3 for row in found)


def test_a_variation_that_is_the_default_of_the_baseline_is_the_baseline(rows: Rows) -> None:
    found = rows("{ablate: {base: {method: neuralef, params: {k: 8}}, vary: {alpha: [0.0, 0.3]}}}")
    assert [row.grid_row.value for row in found] == [None, 0.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("method: kmaens", 'runs[0].method: unknown method "kmaens"; did you mean "kmeans"? valid: '),
        ("method: gone.py:X", "runs[0].method: gone.py:X: no such file"),
        ("method: kmeans, params: {kk: 3}", 'runs[0].params.kk: unknown parameter of kmeans "kk"'),
        ("method: kmeans, params: {k: 1}", "runs[0].params.k: kmeans: k = 1"),
        ("method: kmeans, params: {k: many}", "runs[0].params.k: kmeans: k = 'many'"),
        ("method: kmeans, params: {input: lst}", 'runs[0].params.input: unknown input of kmeans "lst"; did you mean'),
        ("method: kmeans, matrix: {k: [3, 0]}", "runs[0].matrix.k[1]: kmeans: k = 0"),
        ("method: kmeans, matrix: {backbne: [a]}", '(or did you mean "backbone", a key of a run?)'),
        ("method: neuralef, params: {temperature_max: 0.5, temperature_min: 0.6}", "runs[0].params: neuralef: temp"),
        ("method: nystrom, params: {alpha: 0.3}", "runs[0].params.alpha: nystrom: alpha = 0.3: a sampled patch has"),
        (
            "method: nystrom, params: {alpha: 0.3, sampling: image}",
            "runs[0].params.sampling: unknown sampling of nystrom",
        ),
        (
            "method: nystrom, params: {alpha: 0.3, sampling: images, extension: nystrom}",
            "runs[0].params: nystrom: extens",
        ),
        ("method: kmeans, dataset: camvd", 'runs[0].dataset: unknown data set "camvd"; did you mean "camvid"?'),
        ("method: kmeans, train_dataset: camvd", 'runs[0].train_dataset: unknown data set "camvd"'),
        ("method: kmeans, split: vla", 'runs[0].split: unknown split of synthetic "vla"; did you mean "val"?'),
        ("method: kmeans, train_split: tran", 'runs[0].train_split: unknown split of synthetic "tran"'),
        ("method: kmeans, subset: 1000000", "runs[0].subset: synthetic train has"),
        ("method: kmeans, eval_subset: 1000000", "runs[0].eval_subset: synthetic val has"),
        ("method: kmeans, backbone: efficientnet_lit0", 'unknown backbone "efficientnet_lit0"; did you mean'),
        ("method: kmeans, backbone_options: {weights: hub}", "runs[0].backbone_options: backbone efficientnet_lite0"),
        ("method: kmeans, transform: paper", "runs[0].transform: the paper does not use data set synthetic"),
        ("method: kmeans, transform: {scale: [0.5, 2]}", "runs[0].transform: scale gives images of many sizes"),
        ("method: kmeans, features: {views: 2}", "runs[0].features: views: 2 views an image have no meaning here"),
        ("method: kmeans, features: {views: 2, mode: online}, transform: {crop: 32}", "online features are drawn anew"),
        ("method: kmeans, protocols: [hole]", 'runs[0].protocols[0]: unknown protocol "hole"; did you mean "whole"?'),
        ("method: kmeans, protocols: [whole, whole]", 'protocols[1]: the protocol "whole" stands here twice'),
        ("method: kmeans, protocols: [hungarian]", "protocols[0]: protocol hungarian matches one cluster to one class"),
        ("method: kmeans, protocols: [sliding]", "protocols[0]: protocol sliding takes short_side, window, stride"),
        ("method: kmeans, protocols: [mine.yaml]", "mine.yaml: no such file"),
    ],
)
def test_a_bad_name_or_value_is_refused_where_it_stands(rows: Rows, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rows(f"name: a\nruns:\n  - {{{text}}}\n")
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    assert says in lines[0]
    assert "g.yaml:3: " in lines[0]


def test_bad_names_of_different_rows_are_said_together(rows: Rows) -> None:
    with pytest.raises(ConfigError) as caught:
        rows("runs:\n  - {method: a}\n  - {method: kmeans, dataset: b, backbone: c, params: {k: 0, input: d}}\n")
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize(
    "second",
    [
        "{method: kmeans, params: {k: 8}}",
        "{method: kmeans, params: {k: 8}, name: other}",
        "{method: kmeans, matrix: {k: [4, 8]}}",
        "{method: kmeans, params: {k: 8, restarts: 1}, seeds: [1, 0]}",
        "{method: kmeans, params: {k: 8}, protocols: [centre320, whole]}",
    ],
)
def test_two_rows_of_the_same_run_are_refused_with_both_lines(rows: Rows, second: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rows(f"runs:\n  - {{method: kmeans, params: {{k: 8}}}}\n  - {second}\n")
    message = str(caught.value)
    assert "g.yaml:3: runs[1]: the same run as runs[0] on " in message
    assert "g.yaml:2 (method kmeans, seed 0, protocol whole)" in message


def test_the_same_fit_under_another_protocol_or_data_set_is_another_row(rows: Rows) -> None:
    found = rows(
        "runs:\n  - {method: kmeans, protocols: [whole]}\n  - {method: kmeans, protocols: [centre320]}\n"
        "  - {method: kmeans, train_dataset: synthetic, dataset: camvid}\n"
    )
    assert len({row.specs[0].run_id for row in found}) == 1


def test_weights_that_are_not_here_come_from_the_store_or_leave_the_run_provisional(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spectral_bench.bench.plan import inputs as backbone

    monkeypatch.setattr(backbone, "weights_digest", lambda name, options: None)
    (row,) = rows("{runs: [{method: kmeans}]}")
    assert row.specs[0].backbone.weights == ""


@pytest.mark.parametrize(
    ("run", "where", "says"),
    [
        ("method: kmeans, params: {k: 400}", "runs[0].params.k", "k = 400: expected at most 384"),
        ("method: neuralef_kmeans, params: {k: 400, batch_size: 2}", "runs[0].params.k", "k = 400: expected at most"),
        ("method: neuralef", "runs[0].params", "batch_size = 16: expected at most the 2 training images"),
        ("method: linear_probe, params: {batch_size: 3}", "runs[0].params.batch_size", "batch_size = 3: expected"),
        ("method: deep_spectral, params: {k: 49}", "runs[0].params.k", "k = 49: expected at most 48, 24 segments in"),
        ("method: deep_spectral, params: {k: 400}", "runs[0].params.k", "k = 400: expected at most 48, 24 segments in"),
        ("method: nystrom, params: {k: 384}", "runs[0].params", "eigenvectors = 384: expected fewer than the 384"),
        (
            "method: spin, params: {batch_size: 1, functions: 8, k: 9, max_patches: 8}",
            "runs[0].params.k",
            "at most max_patches = 8",
        ),
        (
            "method: spin, params: {batch_size: 1, functions: 193}",
            "runs[0].params.functions",
            "functions = 193: expected at most the 192 patches of a batch of 1 images",
        ),
    ],
)
def test_more_than_the_training_images_have(rows: Rows, run: str, where: str, says: str) -> None:
    """Two images of 12 x 16 patches each."""
    with pytest.raises(ConfigError) as caught:
        rows(f"{{runs: [{{{run}, subset: 2}}]}}")
    assert f": {where}: " in str(caught.value)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "run",
    [
        "method: kmeans, params: {k: 384}",
        "method: neuralef, params: {k: 384, batch_size: 2}",
        "method: deep_spectral, params: {k: 48}",
        "method: nystrom, params: {k: 383}",
        "method: spin, params: {batch_size: 1, functions: 192}",
        "method: kmeans, params: {k: 400}, transform: {resize: {mode: short_side, short_side: 64}}",
    ],
)
def test_all_that_the_training_images_have_or_what_is_not_known_yet(rows: Rows, run: str) -> None:
    assert len(rows(f"{{runs: [{{{run}, subset: 2}}]}}")) == 1


def test_negative_scores_that_a_view_would_multiply_are_told_before_work(rows: Rows) -> None:
    def planned(scores: str, rest: str) -> list[ResolvedRow]:
        ratio = f"{{name: ratio, extends: whole, view: {{upsample: {{name: guided, correction: ratio{rest}}}}}}}"
        return rows(f"{{runs: [{{method: kmeans, params: {{scores: {scores}}}, protocols: [{ratio}]}}]}}")

    with pytest.raises(ConfigError, match=r"params.scores: scores = distance: .* are negative, .* set its temperature"):
        planned("distance", "")
    for scores, rest in (("one_hot", ""), ("distance", ", temperature: 0.1")):
        assert len(planned(scores, rest)) == 1
