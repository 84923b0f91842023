"""Patches named by text: the file of vectors and all that is refused of it, scores against plain formulas, identity."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.maskclip.text_vectors import read_text, write_text
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.testing import MemorySource, fit, scenes, text_file
from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData, named_by_text

UNIT = np.eye(4, 6, dtype=np.float32)
TOLD = {
    "classes": json.dumps(["sky", "road", "tree", "car"]),
    "prompts": json.dumps(["sky", "road", "tree", "car"]),
    "backbone": "vit",
    "backbone_weights": "0123",
}


def elsewhere(folder: Path, tensors: dict[str, Any] | None = None, **told: str | None) -> Path:
    """A file that was made by other means than ours."""
    path = folder / "own.safetensors"
    metadata = {key: value for key, value in {**TOLD, **told}.items() if value is not None}
    save_file(tensors or {"vectors": UNIT}, path, metadata=metadata)
    return path


def test_a_file_made_elsewhere_needs_no_more_than_this(tmp_path):
    text = read_text(elsewhere(tmp_path))
    assert text.classes == ("sky", "road", "tree", "car")
    assert text.class_of.tolist() == [0, 1, 2, 3]
    assert text.prompts == (("sky",), ("road",), ("tree",), ("car",))
    assert text.width == 6


def test_what_was_written_is_read_and_told_from_others_by_what_counts(tmp_path):
    text = read_text(elsewhere(tmp_path))
    path = tmp_path / "again.safetensors"
    write_text(path, replace(text, templates=("a {}.",), model="M", synonyms="max"))
    again = read_text(path)
    assert (again.templates, again.model, again.synonyms) == (("a {}.",), "M", "max")
    assert again.digest == text.digest  # how it was made is told by neither
    assert replace(text, classes=("sky", "road", "car", "tree")).digest != text.digest
    assert replace(text, vectors=-text.vectors).digest != text.digest


BAD = [
    ({}, {"classes": json.dumps(["sky", "sky", "tree", "car"])}, "class names that stand twice: sky"),
    ({}, {"classes": json.dumps(["sky", " ", "tree", "car"])}, "a class name is empty"),
    ({}, {"prompts": json.dumps(["sky", "", "tree", "car"])}, "vector 1 has an empty prompt"),
    ({}, {"prompts": json.dumps(["sky", [], "tree", "car"])}, "vector 1 has an empty prompt"),
    ({}, {"prompts": json.dumps(["sky"])}, "1 prompts for 4 vectors"),
    ({}, {"prompts": "sky"}, "prompts is not JSON"),
    ({}, {"prompts": "3"}, "prompts: expected a JSON list"),
    ({}, {"classes": json.dumps([["sky"], ["road"], ["tree"], ["car"]])}, "classes: expected a JSON list of texts"),
    ({}, {"backbone_weights": None}, "metadata lack backbone_weights"),
    ({}, {"classes": json.dumps(["sky", "road", "tree", "car", "sea"])}, "classes without a vector: sea"),
    ({"class_of": np.array([0, 1, 2, 2])}, {}, "classes without a vector: car"),
    ({"class_of": np.array([0, 1, 2, 7])}, {}, "class_of has 7; expected 0 to 3"),
    ({"class_of": np.array([0, 1, 2])}, {}, r"class_of is int64 \(3,\)"),
    ({"vectors": 2 * UNIT}, {}, r"vector 0 \(sky\) is of length 2, not normalised"),
    ({"vectors": UNIT * np.nan}, {}, r"vector 0 \(sky\) is of length nan"),
    ({"vectors": UNIT[0]}, {}, r"vectors are float32 \(6,\)"),
    ({"vectors": UNIT.astype(np.int64)}, {}, "vectors are int64"),
]


@pytest.mark.parametrize(("tensors", "told", "words"), BAD, ids=[words for *_, words in BAD])
def test_what_would_name_patches_wrongly_is_refused_in_one_line(tmp_path, tensors, told, words):
    path = elsewhere(tmp_path, {"vectors": UNIT, **tensors}, **told)
    with pytest.raises(DataError, match=words) as caught:
        read_text(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_class_may_not_have_a_prompt_twice(tmp_path):
    twice = {"vectors": np.eye(5, 6, dtype=np.float32), "class_of": np.array([0, 1, 2, 3, 3])}
    with pytest.raises(DataError, match="prompts that one class has twice: car"):
        read_text(elsewhere(tmp_path, twice, prompts=json.dumps(["sky", "road", "tree", "car", "car"])))


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("sky")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        read_text(tmp_path / "text.safetensors")
    save_file({"other": UNIT}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no tensor called vectors; it has other"):
        read_text(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="not normalised"):
        write_text(
            tmp_path / "bad.safetensors", replace(read_text(Path(text_file(4, 8))), vectors=np.ones((4, 8), "f4"))
        )
    assert not (tmp_path / "bad.safetensors").exists()


def test_parameters_take_k_and_digest_from_the_file():
    complete = complete_params("maskclip", {"text": text_file(5, 8)})
    assert complete["k"] == 5
    assert complete["text_digest"] == read_text(Path(text_file(5, 8))).digest
    assert named_by_text(complete)
    with pytest.raises(ConfigError, match="k = 4: expected 5, the classes of"):
        complete_params("maskclip", {"text": text_file(5, 8), "k": 4})
    with pytest.raises(ConfigError, match="no such file"):
        complete_params("maskclip", {"text": "nowhere.safetensors"})


def spec(params: dict[str, Any], method: str = "maskclip") -> FitSpec:
    return FitSpec(data=TrainingData(dataset="d"), backbone=BackboneSpec(name="b"), method=method, params=params)


def test_a_run_is_known_by_what_its_text_holds_and_not_by_where_it_lies(tmp_path):
    here = text_file(5, 8)
    there = shutil.copy(here, tmp_path / "there.safetensors")
    one, two = (spec(complete_params("maskclip", {"text": str(path)})) for path in (here, there))
    assert one.params != two.params
    assert one.run_id == two.run_id
    assert one.run_id != spec(complete_params("maskclip", {"text": text_file(5, 8, 2)})).run_id
    started = [
        spec(complete_params("self_training", {"k": 5, "start": "maskclip", "start_params": {"text": str(path)}}), "s")
        for path in (here, there)
    ]
    assert started[0].run_id == started[1].run_id
    assert named_by_text(started[0].params)
    Path(there).unlink()  # a stored fit has its vectors
    assert complete_params("maskclip", two.params) == two.params


def test_a_text_that_was_edited_since_planning_is_refused(tmp_path):
    path = shutil.copy(text_file(5, 8), tmp_path / "text.safetensors")
    params = complete_params("maskclip", {"text": str(path)})
    shutil.copy(text_file(5, 8, 2), path)
    with pytest.raises(ConfigError, match="holds another text"):
        fit("maskclip", params, scenes()[0])


def test_vectors_of_another_width_and_missing_keys_are_refused():
    with pytest.raises(ConfigError, match="its vectors have 7 channels and the last level of the backbone 8"):
        fit("maskclip", {"text": text_file(4, 7)}, scenes()[0])
    with pytest.raises(ConfigError, match="key_smoothing looks at the keys"):
        fit("maskclip", {"text": text_file(4, 8), "key_smoothing": 1.0}, scenes(channels=(8,))[0])
    alike = MemorySource([torch.ones(9, 2, 3, 8)])
    with pytest.raises(NumericalError, match="all patches are alike"):
        fit("maskclip", {"text": text_file(4, 8)}, alike)


def literal(batch, text, smoothing, denoising):
    """(B, K, h, w) of the formulas, a patch and a class at a time, in float64."""
    found = np.zeros((len(batch), len(text.classes), *batch.grid))
    for index in range(len(batch)):
        features = batch.features[-1][index].double().numpy().reshape(-1, text.width)
        keys = batch.features[-2][index].double().numpy().reshape(len(features), -1)
        scores = np.empty((len(features), len(text.classes)))
        for patch, feature in enumerate(features):
            for label in range(len(text.classes)):
                own = text.vectors[text.class_of == label].astype(np.float64)
                scores[patch, label] = 100 * max(feature @ one / np.linalg.norm(feature) for one in own)
        if denoising is not None:
            sure = softmax(scores).max(0)
            if (sure >= denoising).any():
                scores[:, sure < denoising] = -200
        if smoothing is not None:
            plain = softmax(scores)
            scores = plain.copy()
            for patch in range(len(plain)):
                if plain[patch].max() <= smoothing:
                    near = [keys[patch] @ one / np.linalg.norm(keys[patch]) / np.linalg.norm(one) for one in keys]
                    scores[patch] = np.array(near) @ plain / np.abs(near).sum()
        found[index] = scores.T.reshape(-1, *batch.grid)
    return found


def softmax(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize(
    "options", [{}, {"prompt_denoising": 0.9}, {"key_smoothing": 0.8}, {"key_smoothing": 1.0, "prompt_denoising": 0.99}]
)
def test_scores_are_those_of_the_formulas(several, options):
    source = scenes(3, (4, 5), noise=1.0)[0]
    path = text_file(5, 8, several)
    batch, method = source.batch(range(3)), fit("maskclip", {"text": path, **options}, source)
    expected = literal(batch, read_text(Path(path)), options.get("key_smoothing"), options.get("prompt_denoising"))
    torch.testing.assert_close(method.predict(batch).double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-4)


def test_denoising_takes_out_what_is_nowhere_sure_and_never_all():
    source = scenes(1, (4, 5), noise=1.0)[0]
    batch = source.batch([0])
    plain, out = (
        fit("maskclip", {"text": text_file(5, 8), "prompt_denoising": level}, source).predict(batch)
        for level in (None, 0.999)
    )
    gone = (out == -200).all(-1).all(-1)[0]
    assert 0 < int(gone.sum()) < 5
    assert torch.equal(out[:, ~gone], plain[:, ~gone])
    faint = {"text": text_file(5, 8), "logit_scale": 0.01}  # no class is sure of anything
    kept = fit("maskclip", {**faint, "prompt_denoising": 0.9}, source).predict(batch)
    assert torch.equal(kept, fit("maskclip", faint, source).predict(batch))
