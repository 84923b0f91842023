"""The grids that ship are what they say, and plan without data."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
from plan_lab import CLIP, TEXTS, FixedCode, with_texts

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.states import Plan
from spectral_bench.methods.params import GraphParams
from spectral_bench.results.specification import Crf

ROOT = Path(__file__).parents[3]
FIELD = {"primaps_kmeans": "arXiv 2404.16818", "stego": "ICLR 2022", "text": "ECCV 2022"}
"""Grids of other papers than that of the harness -> where it was published."""
PUBLISHED = sorted((ROOT / "grids" / "paper").glob("*.yaml"))
PAPER = [path for path in PUBLISHED if path.stem not in FIELD]


@pytest.fixture(autouse=True)
def _without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests of transformers would import timm and torch, and what is cached differs between machines."""
    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: "0" * 16)


@functools.cache
def planned(path: Path) -> Plan:
    """The plan of a grid, made once for all tests, which only read it."""
    with tempfile.TemporaryDirectory() as folder:
        return make_plan(load_grid(with_texts(path, Path(folder))), None, Path("out"), FixedCode())


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_grid_of_a_paper_plans_without_data_and_names_it(path: Path) -> None:
    plan = planned(path)
    assert plan.unfinished
    comment = path.read_text().split("\nname:")[0]
    assert comment.startswith("# ")
    assert FIELD.get(path.stem, "ICCV 2023") in comment
    assert plan.grid.name == f"paper-{path.stem.replace('_', '-')}"
    assert plan.grid.note
    seeds = (0,) if path.stem == "text" else (0, 1, 2)  # where nothing is drawn
    assert all(row.grid_row.settings.seeds == seeds for row in plan.rows)
    assert plan.caches == ()  # features are computed as they are read: no cache of hundreds of gigabytes


def test_all_tables_of_the_paper_have_a_grid() -> None:
    assert [path.stem for path in PAPER] == [
        "ade20k",
        "alpha",
        "backbones",
        "beta",
        "clusters",
        "main_results",
        "neighbours",
        "orthogonality",
        "sliding_window",
        "zero_shot",
    ]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_settings_are_those_of_the_paper(path: Path) -> None:
    for run in planned(path).runs:
        spec, params = run.spec, run.spec.params
        assert (spec.data.transform.scale, spec.data.transform.flip) == ((0.5, 2.0), True)
        if spec.method == "kmeans":
            assert params["input"] == "last"
            continue
        assert params["epochs"] == {"ade20k": 20, "imagenet": 5}.get(spec.data.dataset, 40)
        assert params["batch_size"] == (8 if spec.data.dataset == "cityscapes" else 16)
        assert (params["lr"], params["lr_min"], params["t"]) == (1e-3, 1e-5, 0.01)
        assert (params["temperature_max"], params["temperature_min"]) == (1.0, 0.3)
        assert (params["depth"], params["heads"], params["head_width"], params["mlp_width"]) == (2, 18, 64, 576)
        if path.stem != "clusters":
            assert params["k"] == (512 if spec.data.dataset == "ade20k" else 256)
        if path.stem not in ("beta", "clusters"):
            assert params["beta"] == pytest.approx(20.48 / params["k"])


@pytest.mark.slow
def test_k_means_of_the_paper_scores_as_its_code_did() -> None:
    rows = [
        (path.stem, run.spec.method, run.spec.params["scores"], run.spec.params["input"])
        for path in PAPER
        for run in planned(path).runs
        if run.spec.method in ("kmeans", "neuralef_kmeans")
    ]
    assert {row[0] for row in rows} == {path.stem for path in PAPER} - {"alpha", "backbones"}
    assert {row[1:] for row in rows} == {
        ("kmeans", "distance", "last"),
        ("neuralef_kmeans", "distance", "hidden_norm"),
    }


@pytest.mark.parametrize("name", ["primaps_kmeans", "stego"])
def test_the_benchmarks_of_the_field_are_looked_at_as_there(name: str) -> None:
    plan = planned(ROOT / "grids/paper" / f"{name}.yaml")
    for row in plan.rows:
        spec, patch = row.specs[0], 14 if "patch14" in row.grid_row.settings.backbone else 8
        assert spec.backbone.options == {"facet": "tokens", "layers": [11], "weights": "hub"}
        assert spec.params.get("input") in ("last_l2", "hidden_norm", None)
        assert spec.params["k"] == {"potsdam3": 3}.get(spec.data.dataset, 27)
        side = {8: 320, 14: 322}[patch]
        assert (spec.data.transform.resize.short_side, spec.data.transform.crop) == (side, side)
        for protocol in row.protocols:
            view = protocol.view
            assert (view.resize.short_side, view.centre_crop, view.label_resize) == (side, side, True)
            assert view.flip == "features"
            assert (view.crf is None) == protocol.name.endswith("no_crf")
            assert protocol.scoring.matching == "hungarian"
            assert view.split == {"coco_stuff": "val_curated_7"}.get(view.dataset, "val")
        assert spec.data.split == {"coco_stuff": "train_curated_7"}.get(spec.data.dataset, "train")
    assert {row.specs[0].data.dataset for row in plan.rows} == {"cityscapes", "coco_stuff", "potsdam3"}


def test_the_k_means_grid_states_the_numbers_that_are_to_be_met() -> None:
    from spectral_bench.results.published.loading import load_published

    text = (ROOT / "grids/paper/primaps_kmeans.yaml").read_text()
    timm = {"vit_small_patch8_224.dino": "DINO ViT-S/8", "vit_small_patch14_dinov2.lvd142m": "DINOv2 ViT-S/14"}
    rows = [
        row
        for row in load_published().rows
        if row.source.key == "primaps" and row.method == "k-means" and row.timm in timm
    ]
    assert len(rows) == 6
    for row in rows:
        line = next(line for line in text.splitlines() if line.startswith(f"#   {timm[str(row.timm)]} "))
        assert f"{row.metrics['accuracy']} / {row.metrics['mIoU']:>4}" in line


def test_rows_named_by_text_are_looked_at_as_naclip_looks() -> None:
    plan = planned(ROOT / "grids/paper/text.yaml")
    wanted = [(name, dataset) for name in ("MaskCLIP", "NACLIP", "ReCo") for dataset in TEXTS]
    assert [(row.grid_row.settings.name, row.grid_row.settings.dataset) for row in plan.rows] == wanted
    for row in plan.rows:
        spec, name, dataset = row.specs[0], row.grid_row.settings.name, row.grid_row.settings.dataset
        assert spec.method == ("reco" if name == "ReCo" else "maskclip")
        assert spec.backbone.name == CLIP
        assert spec.backbone.options.get("attention") == ("neighbour" if name == "NACLIP" else None)
        assert spec.params["k"] == int(TEXTS[dataset])
        if name == "ReCo":
            assert spec.params["context"][1:] == ["sky", "building", "road", "person"]
        else:
            assert spec.params["key_smoothing"] is spec.params["prompt_denoising"] is None
        assert len(row.protocols) == (2 if name == "NACLIP" else 1)
        for protocol in row.protocols:
            view, side = protocol.view, 560 if dataset == "cityscapes" else 336
            assert (view.resize.short_side, view.window, view.stride) == (side, 224, 112)
            assert (view.split, view.subset, view.crf, view.label_resize) == ("val", None, None, False)
            assert (protocol.scoring.matching, protocol.scoring.classes) == ("text", TEXTS[dataset])
            refined = protocol.name.endswith("pamr")
            assert (view.refine and (view.refine.iterations, view.refine.dilations)) == (
                (10, (8, 16)) if refined else None
            )


def test_the_grid_of_text_states_the_published_numbers_of_its_rows() -> None:
    from spectral_bench.results.published.loading import load_published

    lines = (ROOT / "grids/paper/text.yaml").read_text().splitlines()
    classes = [("pascal_context", 59), ("cityscapes", 19), ("ade20k", 150)]
    rows = [row for row in load_published().rows if row.file == "training_free" and row.backbone == "CLIP ViT-B/16"]
    for method in ("MaskCLIP", "NACLIP", "NACLIP + PAMR", "ReCo"):
        found = {
            (row.protocol.dataset, row.protocol.classes): row.metrics["mIoU"] for row in rows if row.method == method
        }
        line = next(line for line in lines if line.startswith(f"#   {method}  "))
        assert [float(number) for number in line.split()[-3:]] == [found[key] for key in classes]


OWN = (ROOT / "ablations.yaml", *sorted((ROOT / "grids").glob("*.yaml")))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_all_rows_of_a_grid_are_compared_by_one_kind_of_scores(path: Path) -> None:
    kinds = {run.spec.params.get("scores", "distance") for run in planned(path).runs}
    assert kinds == ({"one_hot", "distance"} if path.stem == "scores" else {"distance"})


def test_scores_ablates_them_on_five_seeds_and_shares_its_psi() -> None:
    plan, camvid = (planned(ROOT / "grids" / name) for name in ("scores.yaml", "camvid.yaml"))
    keys = ("input", "scores")
    assert [(row.specs[0].method, *(row.specs[0].params.get(key) for key in keys)) for row in plan.rows] == [
        *(("kmeans", i, s) for i in ("last", "last_l2", "all_standardised_l2") for s in ("one_hot", "distance")),
        *(("neuralef_kmeans", i, s) for i in ("hidden", "hidden_norm") for s in ("one_hot", "distance")),
        ("neuralef", None, None),
    ]
    assert all(len(row.specs) == 5 for row in plan.rows)
    psi = {run.run_id for run in camvid.runs if run.spec.method == "neuralef"}
    assert psi <= {run.run_id for run in plan.runs}


def test_views_are_those_of_the_papers_protocols() -> None:
    main = planned(ROOT / "grids/paper/main_results.yaml")
    assert {(view.centre_crop, view.crf is not None) for run in main.runs for view in run.views} == {
        (320, False),
        (320, True),
    }
    sliding = planned(ROOT / "grids/paper/sliding_window.yaml")
    assert {
        (view.dataset, view.resize.short_side, view.window, view.stride) for r in sliding.runs for view in r.views
    } == {
        ("pascal_context", 520, 480, 320),
        ("cityscapes", 1024, 768, 512),
    }
    assert {view.crf for run in sliding.runs for view in run.views} == {None, Crf()}


def test_psi_is_trained_once_a_seed_and_reused() -> None:
    for name in ("camvid.yaml", "camvid_k256.yaml", "paper/main_results.yaml", "paper/clusters.yaml"):
        runs = planned(ROOT / "grids" / name).runs
        assert all(run.asked_for for run in runs)
        assert any(run.requires for run in runs)


def test_zero_shot_trains_on_imagenet_alone() -> None:
    plan = planned(ROOT / "grids/paper/zero_shot.yaml")
    trained = {run.run_id: {view.dataset for view in run.views} for run in plan.runs if run.spec.method == "neuralef"}
    assert len(trained) == 3
    assert set().union(*trained.values()) == {"pascal_context", "cityscapes"}


def test_the_ablations_are_small_on_purpose_and_say_so() -> None:
    plan = planned(ROOT / "ablations.yaml")
    assert "small on purpose" in plan.grid.note.lower()
    specs = [run.spec for run in plan.runs]
    assert {spec.data.dataset for spec in specs} == {"synthetic"}
    assert {spec.data.subset for spec in specs} == {64}
    assert {spec.seed for spec in specs} == {0, 1, 2}
    networks = [spec.params for spec in specs if spec.method == "neuralef"]
    assert all(p["depth"] == 1 and p["heads"] * p["head_width"] <= 128 and p["mlp_width"] <= 128 for p in networks)
    assert all(p["steps"] == 60 for p in networks)
    assert {row.grid_row.factor for row in plan.rows} == {None, "k", "alpha", "beta"}
    assert [row.grid_row.role for row in plan.rows].count("baseline") == 1
    assert any(spec.method == "kmeans" for spec in specs)
    assert plan.cache_bytes < 10**8


def test_graphs_varies_every_option_of_the_graph() -> None:
    plan = planned(ROOT / "grids/graphs.yaml")
    assert "small on purpose" in plan.grid.note.lower()
    assert [row.grid_row.role for row in plan.rows].count("baseline") == 1
    assert all(len(row.specs) == 5 for row in plan.rows)  # as many as a claim needs
    params = [row.specs[0].params for row in plan.rows]
    assert {one["graph"] for one in params} == {"knn", "mutual", "epsilon", "full"}
    assert len({one["neighbours"] for one in params}) >= 3
    assert len({one["graph_epsilon"] for one in params if one["graph"] == "epsilon"}) >= 3
    assert {one["graph_level"] for one in params} == {0, 1, -1, "all"}
    assert {one["graph_standardise"] for one in params} == {False, True}
    assert 0.0 in {one["alpha"] for one in params}
    baseline = params[0]
    for one in params[1:]:
        assert len([key for key in one if one[key] != baseline[key]]) in (1, 2)
    factors = {row.grid_row.factor for row in plan.rows if row.grid_row.factor}
    varied = {name.strip() for factor in factors for name in factor.split(",")}
    factors = {row.grid_row.factor for row in planned(ROOT / "grids/pixel_graph.yaml").rows if row.grid_row.factor}
    of_pixels = {factor for factor in factors if factor.startswith("pixel_")}
    assert of_pixels == {"pixel_colours", "pixel_scales", "pixel_cut", "pixel_grid"}
    assert varied | of_pixels == set(GraphParams.model_fields)


def test_leak_sets_the_leak_beside_the_row_of_camvid_and_the_ceilings() -> None:
    plan, camvid = planned(ROOT / "grids/leak.yaml"), planned(ROOT / "grids/camvid.yaml")
    rows = {row.grid_row.settings.method: row for row in plan.rows}
    assert list(rows) == ["neuralef", "neuralef_label_leak", "linear_probe", "oracle"]
    assert [row.facts.uses_labels for row in rows.values()] == [False, True, True, True]
    assert set(rows["neuralef"].run_ids) <= {run.run_id for run in camvid.runs}
    plain, leak = rows["neuralef"].specs[0], rows["neuralef_label_leak"].specs[0]
    assert {**plain.params, "detach_head": False, "head_weight": 1.0} == leak.params
    assert plain.model_copy(update={"method": leak.method, "params": leak.params}) == leak
    assert rows["linear_probe"].specs[0].params["k"] == rows["oracle"].specs[0].params["k"] == 11


def test_camvid_spectral_has_the_settings_of_the_reference_figures() -> None:
    plan = planned(ROOT / "grids/camvid_spectral.yaml")
    keys = ("eigenvectors", "segments", "colour_weight", "published", "samples", "neighbours", "input", "extension")
    rows = [(row.grid_row.settings.method, *(row.specs[0].params.get(key) for key in keys)) for row in plan.rows]
    assert rows[:8] == [
        ("deep_spectral", 4, 8, 10.0, True, None, None, None, None),
        ("deep_spectral", 14, 24, 10.0, True, None, None, None, None),
        ("deep_spectral", 4, 8, 0.0, None, None, None, None, None),
        ("deep_spectral", 14, 24, 10.0, None, None, None, None, None),
        ("nystrom", 64, None, None, None, 4000, 32, "last_l2", "nearest"),
        ("nystrom", 64, None, None, None, 4000, 32, "all_standardised_l2", "nearest"),
        ("nystrom", 64, None, None, None, 4000, 32, "last_l2", "cluster_means"),
        ("nystrom", 64, None, None, None, 4000, 32, "all_standardised_l2", "cluster_means"),
    ]
    assert {spec.params["k"] for row in plan.rows[:8] for spec in row.specs} == {64}
    assert all([spec.seed for spec in row.specs] == [0, 1, 2] for row in plan.rows[:8])
    assert {spec.params["k"] for row in plan.rows[8:] for spec in row.specs} == {64, 256}
    assert all([spec.seed for spec in row.specs] == [0, 1, 2, 3, 4] for row in plan.rows[8:])


def test_camvid_is_the_grid_of_the_documentation() -> None:
    plan = planned(ROOT / "grids/camvid.yaml")
    keys = ("input", "iterations")
    assert [(row.grid_row.settings.method, *(row.specs[0].params.get(key) for key in keys)) for row in plan.rows] == [
        ("kmeans", "last", 100),
        ("kmeans", "last_l2", 100),
        ("kmeans", "all_standardised_l2", 100),
        ("kmeans", "last", 10),
        ("kmeans", "last_l2", 10),
        ("kmeans", "all_standardised_l2", 10),
        ("neuralef", None, None),
        ("neuralef_kmeans", "hidden", 100),
        ("neuralef_kmeans", "hidden", 10),
        ("spin", "eigenfunctions_l2", 100),
    ]
    assert {run.spec.params["k"] for run in plan.runs} == {64}
    assert all([spec.seed for spec in row.specs] == [0, 1, 2] for row in plan.rows)
    assert {protocol.name for row in plan.rows for protocol in row.protocols} == {"whole"}
    psi = next(run.spec for run in plan.runs if run.spec.method == "neuralef")
    assert psi.precision == "bfloat16"
    assert {key: psi.params[key] for key in ("epochs", "batch_size", "lr", "lr_min")} == {
        "epochs": 8,
        "batch_size": 8,
        "lr": 1e-3,
        "lr_min": 1e-5,
    }
    assert psi.params["standardise"] is True
    assert (psi.params["graph_level"], psi.params["graph_standardise"]) == (-1, False)


def test_camvid_at_k_256_differs_from_camvid_in_clusters_and_epochs() -> None:
    plan, camvid = (planned(ROOT / "grids" / name) for name in ("camvid_k256.yaml", "camvid.yaml"))
    keys = ("k", "base_k", "input", "iterations", "orthogonality")
    rows = [row for row in plan.rows if row.specs[0].method == "neuralef_kmeans"]
    assert [tuple(row.specs[0].params.get(key) for key in keys) for row in rows] == [
        (256, 256, "hidden", 10, None),
        (256, 256, "hidden_norm", 10, None),
        (11, 256, "hidden", 10, None),
        (11, 256, "hidden_norm", 10, None),
    ]
    constrained, free = (row for row in plan.rows if row.specs[0].method == "neuralef")
    assert {run.requires for run in plan.runs if run.requires} == set(constrained.run_ids)
    assert free.specs[0].params == {**constrained.specs[0].params, "orthogonality": "initialisation"}
    known = next(run.spec for run in camvid.runs if run.spec.method == "neuralef")
    changed = {**known.params, "k": 256, "beta": 0.08, "epochs": 4}
    assert constrained.specs[0] == known.model_copy(update={"params": changed})


def test_facets_crosses_facets_layers_and_backbones() -> None:
    plan = planned(ROOT / "grids/facets.yaml")
    facets = {row.specs[0].backbone.options["facet"] for row in plan.rows}
    layers = {tuple(row.specs[0].backbone.options["layers"]) for row in plan.rows}
    backbones = {row.grid_row.settings.backbone for row in plan.rows}
    assert facets == {"tokens", "keys", "queries", "values"}
    assert layers == {(3,), (7,), (11,)}
    assert len(backbones) == 3
    assert len(plan.rows) == 4 * 3 * 3
    assert len(plan.runs) == 3 * len(plan.rows)
    assert plan.caches == ()
    assert {run.spec.params["k"] for run in plan.runs} == {27}


def test_facets_of_camvid_share_their_runs_with_camvid() -> None:
    plan = planned(ROOT / "grids/facets_camvid.yaml")
    assert [(row.specs[0].method, row.specs[0].params["input"]) for row in plan.rows] == [
        ("kmeans", "last_l2"),
        ("kmeans", "last"),
        ("kmeans", "all_standardised_l2"),
        ("nystrom", "last_l2"),
        ("nystrom", "all_standardised_l2"),
    ]
    assert all(len(row.specs) == 5 for row in plan.rows)  # as many as a claim needs
    known = {run.run_id for name in ("camvid", "camvid_spectral") for run in planned(ROOT / f"grids/{name}.yaml").runs}
    assert {run.run_id for run in plan.runs if run.spec.seed < 3} <= known
