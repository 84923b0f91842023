"""Training data, backbones and parameters of a run, each checked where it is stated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plan_lab import Lab

from spectral_bench.bench.grid.keys import RUN_KEYS, RunSettings
from spectral_bench.bench.plan.inputs import backbone_spec, checked_params, facts_of, resolve_transform, training_data
from spectral_bench.common.documents.document import Place, standing_at
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.registry import data_info, names
from spectral_bench.methods.registry import complete_params, method_facts
from spectral_bench.results.specification import Resize, Transform


def noted_by_key() -> Problems:
    """Where each key of a run stands at itself."""
    return Problems({(key,): Place("f:1", key) for key in RUN_KEYS})


def settings(**values: Any) -> RunSettings:
    return RunSettings(**{"method": "kmeans", **values})


@pytest.mark.parametrize(
    ("dataset", "transform"),
    [
        ("synthetic", Transform(resize=Resize(mode="exact", size=(192, 256)))),
        ("camvid", Transform(resize=Resize(mode="exact", size=(352, 480)))),
        ("pascal_context", Transform()),
        ("cityscapes", Transform()),
        ("ade20k", Transform()),
    ],
)
def test_the_transform_evaluation(dataset: str, transform: Transform) -> None:
    assert resolve_transform("evaluation", data_info(dataset)) == transform


@pytest.mark.parametrize(
    ("dataset", "short_side", "crop"),
    [("pascal_context", 520, 480), ("cityscapes", 1024, 768), ("ade20k", 512, 512)],
)
def test_the_transform_of_the_paper(dataset: str, short_side: int, crop: int) -> None:
    assert resolve_transform("paper", data_info(dataset)) == Transform(
        resize=Resize(mode="short_side", short_side=short_side),
        scale=(0.5, 2.0),
        crop=crop,
        flip=True,
        photometric=True,
    )


@pytest.mark.parametrize("dataset", [name for name in names() if name != "folder"])
def test_the_paper_is_refused_where_it_did_not_look(dataset: str) -> None:
    info = data_info(dataset)
    if info.short_side is None:
        with pytest.raises(ConfigError, match=f"the paper does not use data set {dataset}"):
            resolve_transform("paper", info)
    else:
        assert resolve_transform("paper", info).random


def test_the_paper_takes_its_sizes_from_the_description_of_an_own_data_set(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    text = "title: T\nsplits: {train: {images: photos}}\nshort_side: 512\n"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"own\.yaml states no window; add it there"):
        resolve_transform("paper", data_info(f"folder:{path}"))
    path.write_text(text + "window: 256\n")
    transform = resolve_transform("paper", data_info(f"folder:{path}"))
    assert (transform.resize.short_side, transform.crop) == (512, 256)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "{{method: kmeans, dataset: {name}, split: train}}",
            'split: split "train" of {name} has no labels; splits with',
        ),
        ("{{method: linear_probe, dataset: {name}}}", "method: linear_probe is fitted with labels, and split train of"),
        (
            "{{method: kmeans, dataset: {name}, protocols: [{{name: p, view: {{split: train}}, scoring: {{}}}}]}}",
            'split: split "train" of {name} has no labels; splits with labels: val',
        ),
        (
            "{{method: kmeans, dataset: {name}, protocols: [{{name: p, view: {{}}, scoring: {{fit_split: train}}}}]}}",
            'fit_split: split "train" of {name} has no labels; splits with labels: val',
        ),
    ],
)
def test_a_split_without_labels_is_refused_where_labels_are_needed(lab: Lab, text: str, fault: str) -> None:
    path = lab.folder / "own.yaml"
    splits = "{train: {images: i}, val: {images: i, labels: l}}"
    path.write_text(f"title: T\nsplits: {splits}\nclasses: {{0: a, 1: b}}\n")
    with pytest.raises(ConfigError) as caught:
        lab.plan(f"runs: [{text.format(name=f'folder:{path}')}]")
    assert fault.format(name=f"folder:{path}") in str(caught.value)


def test_a_transform_that_is_spelled_out_is_kept() -> None:
    transform = Transform(crop=64, flip=True)
    assert resolve_transform(transform, data_info("camvid")) is transform


def test_a_data_set_keeps_the_name_that_the_grid_uses() -> None:
    assert facts_of("camvid").name == "camvid"
    with pytest.raises(ConfigError, match='did you mean "camvid"'):
        facts_of("camvit")


def test_training_data_of_another_data_set() -> None:
    problems = noted_by_key()
    data = training_data(settings(dataset="camvid", train_dataset="synthetic", subset=9), problems)
    assert data is not None
    assert (data.dataset, data.split, data.subset) == ("synthetic", "train", 9)
    assert data.transform.resize.size == (192, 256)
    assert not problems


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"dataset": "camvit"}, "dataset"),
        ({"train_dataset": "camvit"}, "train_dataset"),
        ({"train_split": "trian"}, "train_split"),
        ({"subset": 65}, "subset"),
        ({"transform": "paper"}, "transform"),
        ({"transform": {"scale": (0.5, 2.0)}}, "transform"),
        ({"features": {"views": 2}}, "features"),
        ({"features": {"views": 2, "mode": "online"}, "transform": {"crop": 32}}, "features"),
    ],
)
def test_bad_training_data_is_noted_at_its_key(values: dict[str, Any], path: str) -> None:
    problems = noted_by_key()
    assert training_data(settings(**values), problems) is None
    (line,) = problems
    assert line.startswith(f"f:1: {path}: ")


def test_cached_views_of_a_random_transform_are_fine() -> None:
    problems = noted_by_key()
    values = {"features": {"views": 3}, "transform": {"crop": 32, "scale": (0.5, 2.0)}}
    data = training_data(settings(**values), problems)
    assert data is not None
    assert data.transform.random


@pytest.mark.parametrize(
    ("options", "digest", "known", "weights"),
    [
        ({}, "aaaa", {}, "aaaa"),
        ({}, "aaaa", {"efficientnet_lite0": "bbbb"}, "aaaa"),
        ({}, None, {"efficientnet_lite0": "bbbb"}, "bbbb"),
        ({}, None, {"another": "bbbb"}, ""),
    ],
)
def test_weights_of_this_machine_then_of_the_store_then_none(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], digest: str | None, known: dict[str, str], weights: str
) -> None:
    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: digest)
    problems = noted_by_key()
    spec = backbone_spec(settings(backbone_options=options), known, problems)
    assert spec is not None
    assert spec.weights == weights
    assert not problems


def test_random_weights_have_to_be_asked_for_and_are_named_by_their_seed() -> None:
    problems = noted_by_key()
    spec = backbone_spec(settings(backbone_options={"weights": "random", "seed": 3}), {}, problems)
    assert spec is not None
    assert (spec.weights, spec.options) == ("random-3", {"weights": "random", "seed": 3})


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"backbone": "efficientnet"}, "backbone"),
        ({"backbone_options": {"wights": "random"}}, "backbone_options"),
        ({"backbone_options": {"weights": "rnadom"}}, "backbone_options"),
        ({"backbone_options": {"weights": "random", "seed": -1}}, "backbone_options"),
    ],
)
def test_a_bad_backbone_is_noted_at_its_key(values: dict[str, Any], path: str) -> None:
    problems = noted_by_key()
    assert backbone_spec(settings(**values), {}, problems) is None
    (line,) = problems
    assert line.startswith(f"f:1: {path}: ")


Check = Callable[..., tuple[dict[str, Any] | None, list[str]]]


def checked(method: str, stated: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    problems = Problems(standing_at(Place("f:1"), {"params": stated}).places)
    found = checked_params(method_facts(method), stated, problems)
    return found, list(problems)


def test_parameters_are_completed() -> None:
    assert checked("kmeans", {"k": 5}) == (complete_params("kmeans", {"k": 5}), [])


def test_every_unknown_parameter_is_noted() -> None:
    found, lines = checked("kmeans", {"kk": 1, "inptu": "last"})
    assert found is None
    assert [line.split(": ")[1] for line in lines] == ["params.kk", "params.inptu"]
    assert 'did you mean "input"' in lines[1]


def test_every_bad_value_is_noted_at_its_own_place() -> None:
    found, lines = checked("kmeans", {"k": 0, "input": "lats", "restarts": 2})
    assert found is None
    assert [line.split(": ")[1] for line in lines] == ["params.k", "params.input"]


def test_values_that_do_not_go_together_are_noted_at_the_parameters() -> None:
    found, lines = checked("neuralef", {"temperature_max": 0.5, "temperature_min": 0.6})
    assert found is None
    assert len(lines) == 1
    assert lines[0].startswith("f:1: params: neuralef: temperature_min = 0.6")
