"""``cluster --names`` and ``predict --names``: masks of words, from a file of text vectors or from words themselves."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_lab import Bench
from PIL import Image

import spectral_bench as sb
from spectral_bench.bench.features.backbones import complete_options
from spectral_bench.bench.features.text import TEMPLATES, language_options
from spectral_bench.bench.predict.names import TEXT_MODELS
from spectral_bench.methods.maskclip.text_vectors import read_text
from spectral_bench.methods.testing import text_file

NETWORK = "vit_xsmall_patch16_clip_224"
WORDS = ("sky", "road", "tree", "car")
SMALL = ["--method", "kmeans", "--k", 5, "--size", 64, "--device", "cpu", "--no-overlays"]
CLIP = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 10, "width": 256, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, size in enumerate(((64, 96), (96, 64))):
        blocks = rng.integers(0, 255, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(folder / f"p{index}.png")
    return folder


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Random vectors of random weights: what they call clusters means nothing, and is the same each time."""
    source = text_file(WORDS, 512, backbone=NETWORK, backbone_weights="random-0")
    return Path(shutil.copy(source, tmp_path / "w.safetensors"))


def legend(folder: Path) -> list[dict[str, str]]:
    with (folder / "legend.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_masks_hold_the_words_that_clusters_are_called(bench: Bench, photos: Path, words: Path, tmp_path: Path) -> None:
    plain, named = tmp_path / "plain", tmp_path / "named"
    assert bench("cluster", photos, "--to", plain, *SMALL).code == 0
    result = bench("cluster", photos, "--to", named, *SMALL, "--names", words, "--names-option", "weights=random")
    assert result.code == 0, result.err
    assert f"named by text, clusters by their mean features of {NETWORK}, no label used: " in result.out
    made = json.loads((named / "settings.json").read_text())["names"]
    assert made["classes"] == list(WORDS)
    assert (made["file"], made["text"]) == (str(words), read_text(words).digest)
    called = [255 if name is None else WORDS.index(name) for name in made["of_clusters"]]
    for name in ("p0.png", "p1.png"):
        with Image.open(plain / name) as clusters, Image.open(named / name) as classes:
            np.testing.assert_array_equal(np.array(called)[np.array(clusters)], np.array(classes))
    rows = legend(named)
    assert [row["name"] for row in rows] == [*WORDS, "no class"]
    assert {int(c): int(row["class"]) for row in rows for c in row["clusters"].split()} == dict(enumerate(called))
    assert (named / "contact_sheet.jpg").is_file()


def test_the_python_door_names_them_alike(photos: Path, words: Path, tmp_path: Path, bench: Bench) -> None:
    bench("cluster", photos, "--to", tmp_path / "m", *SMALL, "--names", words, "--names-option", "weights=random")
    settings = json.loads((tmp_path / "m" / "settings.json").read_text())
    found = sb.cluster_images(
        photos, "kmeans", 5, size=64, device="cpu", names=words, names_options={"weights": "random"}
    )
    assert list(found.names) == settings["names"]["of_clusters"]
    assert "no label used" in found.named_by


def test_a_method_that_is_given_text_needs_no_means(bench: Bench, photos: Path, words: Path, tmp_path: Path) -> None:
    given = ["--names", words, "--backbone", NETWORK, "--set", "backbone_options.weights=random"]
    out = tmp_path / "m"
    result = bench("cluster", photos, "--to", out, "--method", "maskclip", "--size", 64, "--device", "cpu", *given)
    assert result.code == 0, result.err
    assert [row["clusters"] for row in legend(out)] == ["0", "1", "2", "3", ""]


BAD = [
    (["--names", "sky,, road"], "an empty word"),
    (["--names", "sky, road, sky"], "words that stand twice: sky"),
    (["--names", "sky"], "one word"),
    (["--names", "none.safetensors"], "text none.safetensors: no such file"),
    (["--names", "WORDS", "--names-option", "seed=1"], "option seed is for random weights only"),
    (["--names", "WORDS", "--names-backbone", "efficientnet_lite0"], "efficientnet_lite0 shares no space with texts"),
    (["--names", "WORDS", "--names-backbone", "vit_small_patch16_224"], "facet language is for CLIP"),
    (["--names", "WORDS", "--names-option", "facet=tokens"], "is to have facet tokens"),
    (["--names", "WORDS", "--text-model", "A:b"], "holds vectors already"),
    (["--names-backbone", NETWORK], "--names-backbone: says how clusters are named, by --names, which is not given"),
    (["--names", "WORDS", "--names-option", "weights=random", "--names-option", "weights=hub"], "is set twice"),
    (["--names", "WORDS", "--method", "maskclip", "--set", "text=a"], "give one of them"),
    (["--names", "sky, road", "--method", "maskclip"], "maskclip is given its names as a file"),
]


@pytest.mark.parametrize(("given", "told"), BAD, ids=[told for _, told in BAD])
def test_what_cannot_name_clusters_is_told_in_a_line(
    given: list[str], told: str, bench: Bench, photos: Path, words: Path, tmp_path: Path
) -> None:
    asked = [str(words) if one == "WORDS" else one for one in given]
    result = bench("cluster", photos, "--to", tmp_path / "m", "--size", 64, *asked)
    assert result.code == 2
    assert len(result.errors) == 1
    assert told in result.errors[0]
    assert not (tmp_path / "m").exists()


def test_text_of_other_weights_is_refused_before_work(bench: Bench, photos: Path, tmp_path: Path) -> None:
    other = text_file(WORDS, 512, backbone=NETWORK, backbone_weights="0123")
    given = ["--names", other, "--names-option", "weights=random"]
    result = bench("cluster", photos, "--to", tmp_path / "m", *SMALL, *given)
    assert (result.code, len(result.errors)) == (2, 1)
    assert f"it names features of {NETWORK} with weights 0123" in result.errors[0]


def test_words_need_open_clip_and_files_do_not(
    bench: Bench, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "open_clip" else found(name, *more)
    )
    result = bench("cluster", photos, "--to", tmp_path / "m", *SMALL, "--names", "sky, road")
    assert (result.code, len(result.errors)) == (2, 1)
    assert "open_clip is not installed" in result.errors[0]
    assert "--names FILE.safetensors" in result.errors[0]


def test_known_text_networks_are_those_of_networks_that_there_are() -> None:
    assert TEMPLATES[0] == "clip80"
    for name in TEXT_MODELS:
        assert language_options(name, {}, "here")["facet"] == "language"
        assert complete_options(name, {})
    open_clip = pytest.importorskip("open_clip", reason="the extra text is not installed")
    for model, _, tag in (told.partition(":") for told in TEXT_MODELS.values()):
        assert tag in open_clip.list_pretrained_tags_by_model(model)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights of a small CLIP of open_clip."""
    open_clip = pytest.importorskip("open_clip", reason="the extra text is not installed")
    import torch

    folder = tmp_path_factory.mktemp("clip")
    (folder / "Tiny-CLIP.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    torch.save(open_clip.create_model("Tiny-CLIP").state_dict(), folder / "clip.pt")
    return folder / "clip.pt"


def test_a_list_of_words_is_enough_and_its_vectors_are_kept(
    weights: Path, bench: Bench, photos: Path, tmp_path: Path
) -> None:
    out, model = tmp_path / "m", ["--text-model", f"Tiny-CLIP:{weights}"]
    given = ["--names", "sky, road, tree", "--backbone", NETWORK, "--set", f"backbone_options.weights={weights}"]
    result = bench("cluster", photos, "--to", out, *SMALL, *given, *model)
    assert result.code == 0, result.err
    assert "names.safetensors" in result.out
    assert read_text(out / "names.safetensors").classes == ("sky", "road", "tree")
    names = json.loads((out / "settings.json").read_text())["names"]
    again = ["--names", out / "names.safetensors", *given[2:]]
    assert bench("cluster", photos, "--to", tmp_path / "n", *SMALL, *again).code == 0
    repeated = json.loads((tmp_path / "n" / "settings.json").read_text())["names"]
    assert (repeated["of_clusters"], repeated["text"]) == (names["of_clusters"], names["text"])
    told = bench(
        "data",
        "text",
        "--names",
        "a, b",
        "--to",
        tmp_path / "t.safetensors",
        "--model",
        "Tiny-CLIP",
        "--weights",
        weights,
        "--backbone",
        NETWORK,
        "--set",
        f"weights={weights}",
        "--templates",
        "none",
    )
    assert "2 vectors for 2 classes" in told.out
