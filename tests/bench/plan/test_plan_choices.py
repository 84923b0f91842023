"""What the manifest tells of a row beyond what its grid states: defaults, K, weights, data sets and their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from plan_lab import Lab

from spectral_bench.results.manifest import Manifest, ManifestRow

ABLATION = """\
name: g
defaults: {subset: 18}
ablate:
  base: {method: neuralef, params: {k: 16}}
  vary:
    orthogonality: [initialisation]
    alpha: [0.7]
    params.epochs: [2]
    features.mode: [online]
    subset: [20]
    "k, beta": [[32, 0.5]]
"""
OWN = """\
title: Lanes
splits: {train: {images: im, labels: lb}, val: {images: im, labels: lb}}
classes: [{name: road, ids: [0, 4]}, {name: kerb, ids: [2]}]
"""


def rows(lab: Lab, text: str) -> dict[str, ManifestRow]:
    return {row.title: row for row in lab.plan(text).manifest.rows}


def test_variations_know_the_baselines_own_value_stated_or_not(lab: Lab) -> None:
    told = {row.factor: row.baseline for row in lab.plan(ABLATION).manifest.rows}
    assert told == {
        None: None,
        "orthogonality": ["constraint"],  # left out of records at its default
        "alpha": [0.3],
        "params.epochs": [40],
        "features.mode": ["cache"],
        "subset": [18],
        "k, beta": [16, 1.28],
    }


def test_unusual_is_what_differs_from_defaults_at_the_rows_own_k(lab: Lab) -> None:
    text = """\
name: g
defaults: {subset: 20}
runs:
  - {method: neuralef, name: plain, params: {k: 64, beta: 0.32, alpha: 0.3}}
  - {method: neuralef, name: other, params: {k: 64, beta: 0.5, orthogonality: initialisation}, precision: bfloat16}
  - {method: kmeans, transform: {crop: 32, flip: true}, features: {mode: online}}
"""
    found = rows(lab, text)
    assert found["plain"].unusual == {}
    assert found["other"].unusual == {"precision": "bfloat16", "beta": 0.5, "orthogonality": "initialisation"}
    kmeans = found["kmeans"].unusual
    assert kmeans is not None
    assert (kmeans["features.mode"], kmeans["transform"]["crop"]) == ("online", 32)
    assert set(kmeans) == {"features.mode", "transform"}


def test_k_weights_and_training_images_are_told(lab: Lab) -> None:
    text = """\
name: g
runs:
  - {method: kmeans, name: plain, subset: 12}
  - {method: kmeans, name: random, backbone_options: {weights: random}}
  - {method: kmeans, name: seeded, backbone_options: {weights: random, seed: 3}}
  - {method: oracle, name: oracle, train_split: val}
"""
    found = rows(lab, text)
    assert {title: row.weights for title, row in found.items()} == {
        "plain": "",
        "random": "random",
        "seeded": "random, seed 3",
        "oracle": "",
    }
    assert found["plain"].k == 64
    assert found["oracle"].k == 12  # the classes of the synthetic data set: no grid states it
    assert (found["plain"].subset, found["random"].subset, found["oracle"].train_split) == (12, None, "val")
    assert all(row.unusual == {} for row in found.values())


def test_the_manifest_keeps_titles_and_class_lists_of_its_data_sets(lab: Lab, tmp_path: Path) -> None:
    for folder in ("im", "lb"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).convert("RGB" if folder == "im" else "L").save(
            tmp_path / folder / "a.png"
        )
    own = tmp_path / "lanes.yaml"
    own.write_text(OWN)
    text = f"name: g\nprotocols: [whole]\nruns:\n  - {{method: kmeans, params: {{k: 2}}, dataset: 'folder:{own}'}}\n"
    manifest = lab.plan(text).manifest
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    facts = manifest.data[manifest.rows[0].protocols[0].view.data_name]
    assert (facts.title, facts.default_classes) == ("Lanes", "2")
    assert facts.class_sets["2"].raw_ids == [[0, 4], [2]]
    before = lab.plan(text).runs[0].run_id
    own.write_text(OWN.replace("kerb", "edge"))
    after = lab.plan(text)
    assert after.manifest.data[after.manifest.rows[0].protocols[0].view.data_name].class_sets["2"].classes[1] == "edge"
    assert after.runs[0].run_id == before  # a name is no reason to run anything again
