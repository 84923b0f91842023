"""ReCo on features whose answer is known, and against plain formulas in float64; what is refused, stopped and held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.maskclip.text_vectors import TextVectors, read_text, write_text
from spectral_bench.methods.reco import method as reco
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemorySource,
    Recorder,
    fit,
    same_state,
    scenes,
    stop_after,
    text_file,
)
from spectral_bench.results.specification import named_by_text

CLASSES = ("ground", "car", "tree", "boat")
IMAGES, ROWS, COLUMNS, WIDTH = 9, 5, 6, 12
PLACES = {name: (1 + index, 2) for index, name in enumerate(CLASSES[1:])}
"""Where the things lie: each in three images of nine, on ground that is in all."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[MemorySource, str]:
    """Things on ground: keys that agree best on ground, and features near to the text of each class.

    The one vector of a class is an axis of the space of texts; keys of each class are an axis of their own.
    """
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(IMAGES, ROWS, COLUMNS, dtype=torch.int64)
    for index, (row, column) in enumerate(PLACES.values()):
        truth[3 * index : 3 * index + 3, row, column : column + 2] = index + 1
    axes = torch.eye(len(CLASSES), WIDTH)
    spread = torch.where(truth > 0, 0.1, 0.001)[..., None]
    keys = axes[truth] + spread * torch.randn(*truth.shape, WIDTH, generator=generator)
    joint = axes[truth] + 0.1 * torch.randn(*truth.shape, WIDTH, generator=generator)
    path = tmp_path_factory.mktemp("text") / "t.safetensors"
    vectors, prompts = axes.numpy().copy(), tuple((name,) for name in CLASSES)
    write_text(path, TextVectors(CLASSES, vectors, np.arange(len(CLASSES)), prompts, "any", "any"))
    return MemorySource([3 * keys, 0.5 * joint]), str(path)


def seeds_of(method: Any, name: str) -> set[tuple[int, int]]:
    """Rows and columns of the seeds of a class."""
    state, index = method.state_dict(), CLASSES.index(name)
    return {divmod(seed, COLUMNS) for seed in state["seeds"][index].tolist()}


def test_images_patches_and_classes_are_found(planted):
    source, text = planted
    method = fit("reco", {"text": text, "archive": 3}, source)
    state = method.state_dict()
    for index, (name, (row, column)) in enumerate(PLACES.items()):
        assert sorted(state["archives"][index + 1].tolist()) == list(range(3 * index, 3 * index + 3))
        assert seeds_of(method, name) <= {(row, column), (row, column + 1)}
        assert float(state["prototypes"][index + 1][index + 1]) > 0.95
    labels = method.predict(source.batch(range(IMAGES))).argmax(1)
    for index, (row, column) in enumerate(PLACES.values()):
        expected = torch.zeros(3, ROWS, COLUMNS, dtype=torch.int64)
        expected[:, row, column : column + 2] = index + 1
        assert torch.equal(labels[3 * index : 3 * index + 3], expected)


@pytest.mark.parametrize(
    ("options", "on_ground"), [({}, True), ({"context": ["ground"]}, False), ({"text_attention": True}, False)]
)
def test_what_all_images_share_is_told_from_a_class_by_text_or_context(planted, options, on_ground):
    source, text = planted
    method = fit("reco", {"text": text, "archive": 3, "text_attention": False, **options}, source)
    for name, (row, column) in PLACES.items():
        assert (seeds_of(method, name) <= {(row, column), (row, column + 1)}) is not on_ground
    # Ground is context of others, and what stands before it in the list would be its own: nothing.
    alone = fit("reco", {"text": text, "archive": 3, "text_attention": "text_attention" in options}, source)
    assert torch.equal(method.state_dict()["prototypes"][0], alone.state_dict()["prototypes"][0])


def test_a_thing_in_a_corner_is_retrieved_by_its_best_patch(planted):
    source, text = planted
    one = MemorySource([level.clone() for level in source.features])
    one.features[1][4] = one.features[1][4].roll(1, -1)  # an image of ground, said to be car all over
    by = {
        way: fit("reco", {"text": text, "archive": 1, "retrieval": way}, one).state_dict()["archives"][1].tolist()
        for way in ("mean", "max")
    }
    assert by["mean"] == [4]
    best = max(range(IMAGES), key=lambda image: cosines(one, image, read_text(Path(text)))[:, 1].max())
    assert by["max"] == [best]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def cosines(source: MemorySource, image: int, text: TextVectors) -> np.ndarray:
    """(n, K), the largest of each class."""
    features = source.features[-1][image].double().numpy().reshape(-1, text.width)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    every = unit @ text.vectors.astype(np.float64).T
    return np.stack([every[:, text.class_of == index].max(1) for index in range(len(text.classes))], 1)


def literal(source: MemorySource, text: TextVectors, params: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Archives, seeds, prototypes and scores (B, K, h, w) of all images, a patch and a pair of images at a time."""
    count, k = len(source), len(text.classes)
    levels = [source.features[params["level"]][i].double().numpy().reshape(-1, 6) for i in range(count)]
    said = [cosines(source, i, text) for i in range(count)]
    similar = np.empty((count, k))
    for i in range(count):
        joint = source.features[-1][i].double().numpy().reshape(-1, text.width)
        mean = (joint / np.linalg.norm(joint, axis=1, keepdims=True)).mean(0)
        own = [text.vectors[text.class_of == c].astype(np.float64) @ mean / np.linalg.norm(mean) for c in range(k)]
        similar[i] = [one.max() for one in own]
    ahead = [text.classes.index(name) for name in params["context"]]
    archives, seeds = np.empty((k, params["archive"]), int), np.empty((k, params["archive"]), int)
    prototypes: dict[int, np.ndarray] = {}

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    for c in [*ahead, *(c for c in range(k) if c not in ahead)]:
        archives[c] = sorted(range(count), key=lambda i: -similar[i, c])[: params["archive"]]
        against = list(prototypes) if c in ahead else ahead
        weight = {}
        for i in archives[c]:
            for p, feature in enumerate(levels[i]):
                weight[i, p] = sigmoid(params["text_scale"] * said[i][p, c])
                for other in against:
                    weight[i, p] *= 1 - sigmoid(cosine(feature, prototypes[other]))
        chosen = []
        for place, i in enumerate(archives[c]):
            supported = [
                np.mean([max(weight[j, q] * cosine(f, g) for q, g in enumerate(levels[j])) for j in archives[c]])
                for f in levels[i]
            ]
            seeds[c, place] = int(np.argmax(supported))
            chosen.append(levels[i][seeds[c, place]])
        mean = np.mean(chosen, 0)
        prototypes[c] = mean / np.linalg.norm(mean)
    scores = np.empty((count, k, 3, 4))
    for i in range(count):
        for p, feature in enumerate(levels[i]):
            for c in range(k):
                likeness = sigmoid(cosine(feature, prototypes[c])) * sigmoid(params["text_scale"] * said[i][p, c])
                scores[i, c, p // 4, p % 4] = likeness
    return archives, seeds, np.stack([prototypes[c] for c in range(k)]), scores


@pytest.mark.parametrize("context", [[], ["class 3", "class 1"]])
@pytest.mark.parametrize("several", [1, 2])
def test_it_is_what_the_formulas_say(context, several):
    source = scenes(5, (3, 4), noise=0.7)[0]
    params = complete_params("reco", {"text": text_file(4, 8, several), "archive": 3, "context": context})
    method = fit("reco", params, source)
    archives, seeds, prototypes, scores = literal(source, read_text(Path(params["text"])), params)
    state = method.state_dict()
    assert state["archives"].tolist() == archives.tolist()
    assert state["seeds"].tolist() == seeds.tolist()
    np.testing.assert_allclose(state["prototypes"], prototypes, atol=1e-6)
    np.testing.assert_allclose(method.predict(source.batch(range(5))), scores, atol=1e-6)


def test_without_the_map_of_the_text_scores_are_those_of_prototypes(planted):
    source, text = planted
    method = fit("reco", {"text": text, "archive": 3, "text_map": False}, source)
    prototypes = method.state_dict()["prototypes"]
    keys = torch.nn.functional.normalize(source.features[0], dim=-1)
    expected = (keys @ prototypes.T).sigmoid().permute(0, 3, 1, 2)
    torch.testing.assert_close(method.predict(source.batch(range(IMAGES))), expected, rtol=0, atol=1e-6)


SETTINGS = {"archive": 3, "context": ["class 3"]}


def test_how_much_is_held_at_once_changes_no_bit(monkeypatch):
    source, params = scenes()[0], {"text": text_file(4, 8), **SETTINGS}
    plenty, passes = fit("reco", params, source), []
    monkeypatch.setattr(reco, "HELD_BYTES", 1)
    read = source.images
    monkeypatch.setattr(source, "images", lambda: passes.append(1) or read())
    sparing = fit("reco", params, source)
    assert same_state(plenty, sparing)
    assert len(passes) == 2 + 4  # a look and a retrieval, then a class at a time


def test_images_of_many_patches_are_compared_in_parts(monkeypatch):
    from spectral_bench.methods.reco import cosegment

    source, params = scenes()[0], {"text": text_file(4, 8), **SETTINGS}
    whole = fit("reco", params, source)
    monkeypatch.setattr(cosegment, "_ENTRIES", 100)
    parts = fit("reco", params, source)
    assert torch.equal(whole.state_dict()["seeds"], parts.state_dict()["seeds"])
    torch.testing.assert_close(whole.state_dict()["prototypes"], parts.state_dict()["prototypes"])


def test_a_stopped_fit_goes_on_with_the_classes_that_are_left(monkeypatch):
    monkeypatch.setattr(reco, "HELD_BYTES", 1)
    source, params = scenes()[0], {"text": text_file(4, 8), **SETTINGS}
    undisturbed = fit("reco", params, source)
    checkpoint, recorder = MemoryCheckpoint(every=1), Recorder()
    with pytest.raises(RunInterrupted):
        fit("reco", params, source, checkpoint=checkpoint, should_stop=stop_after(8 + 8 + 4))
    resumed = fit("reco", params, source, checkpoint=checkpoint, recorder=recorder)
    assert same_state(undisturbed, resumed)
    assert "retrieval" not in recorder.stages
    assert 0 < recorder.stages.count("cosegmentation") < 4
    assert recorder.progress[-1] == (4, 4)


BAD = [
    ({"archive": 9}, "archive = 9: expected at most the 8 training images"),
    ({"level": 3}, "level = 3: expected -3 to 2, a level of the backbone"),
    ({"level": -4}, "level = -4: expected -3 to 2"),
    ({"context": ["class 9"]}, 'unknown class of the text "class 9"'),
    ({"context": ["class 1", "class 1"]}, "context: classes that stand twice: class 1"),
    ({"text": text_file(4, 7)}, "its vectors have 7 channels and the last level of the backbone 8"),
    ({"k": 5}, "k = 5: expected 4, the classes of"),
    ({"text": "nowhere.safetensors"}, "no such file"),
]


@pytest.mark.parametrize(("params", "words"), BAD, ids=[words for _, words in BAD])
def test_what_does_not_fit_is_refused_in_one_line(params, words):
    with pytest.raises(ConfigError, match=words) as caught:
        fit("reco", {"text": text_file(4, 8), "archive": 3, **params}, scenes()[0])
    assert len(str(caught.value).splitlines()) == 1


def test_it_is_named_by_text():
    assert named_by_text(complete_params("reco", {"text": text_file(5, 8)}))
