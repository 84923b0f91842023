"""``bench data text``: vectors of a text network against open_clip's own words, and all that is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spectral_bench.bench.cli.commands import run_command_line as main
from spectral_bench.bench.cli.text import class_names, class_words
from spectral_bench.bench.features.text import templates, text_vectors
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.methods.maskclip.text_vectors import read_text

MODEL, BACKBONE = "Small-CLIP", "vit_xsmall_patch16_clip_224"


def test_templates_are_eighty_one_and_none():
    assert len(templates("clip80")) == len(set(templates("clip80"))) == 80
    assert all(one.count("{}") == 1 for one in templates("clip80"))
    assert templates("one") == ("a photo of a {}.",)
    assert set(templates("one")) < set(templates("clip80"))
    assert templates("none") == ("{}",)
    with pytest.raises(ConfigError, match=r'"clip".*clip80'):
        templates("clip")


def test_templates_are_those_of_open_clip():
    published = pytest.importorskip("open_clip", reason="the extra text is not installed").OPENAI_IMAGENET_TEMPLATES
    assert templates("clip80") == tuple(one("{}") for one in published)


def test_classes_are_those_of_a_set():
    assert len(class_names("cityscapes:27")) == 27
    assert len(class_names("cityscapes")) == len(class_names("cityscapes:19")) == 19
    with pytest.raises(ConfigError, match='"20"'):
        class_names("cityscapes:20")
    with pytest.raises(ConfigError, match="no labels"):
        class_names("imagenet")
    with pytest.raises(ConfigError, match="cityscape"):
        class_names("cityscape")


def test_words_of_a_class_come_from_a_file(tmp_path):
    file = tmp_path / "words.yaml"
    file.write_text("sky: [sky, clouds]\ntree: oak")
    assert class_words(("sky", "tree", "traffic_light"), file) == {
        "sky": ["sky", "clouds"],
        "tree": ["oak"],
        "traffic_light": ["traffic light"],
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("sea: [sea]", '"sea"'),
        ("sky: [sky, '']", "none of them empty"),
        ("sky: []", "expected a list of words"),
        ("sky: [a, a]", "stands twice"),
        ("- sky", "expected lines of class"),
        ("{", "cannot be read"),
    ],
)
def test_bad_words_are_refused(tmp_path, content, words):
    (tmp_path / "words.yaml").write_text(content)
    with pytest.raises(ConfigError, match=words):
        class_words(("sky", "tree"), tmp_path / "words.yaml")


def command(tmp_path: Path, *more: str) -> list[str]:
    needed = ["--model", MODEL, "--weights", "openai", "--backbone", BACKBONE, "--classes", "camvid"]
    return ["data", "text", *needed, "--set", "weights=random", "--to", str(tmp_path / "t.safetensors"), *more]


def test_without_the_extra_it_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "open_clip" else found(name, *more)
    )
    assert main(command(tmp_path)) == 2
    assert "open_clip is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--synonyms", "most"], '"most"'),
        (["--to", "t.npz"], "expected the name of a .safetensors file"),
        (["--classes", "camvids"], '"camvids"'),
        (["--backbone", "efficientnet_lite0"], "facet"),
        (["--backbone", "vit_small_patch16_224"], "facet language is for CLIP"),
        (["--templates", "some"], '"some"'),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, more, words, capsys):
    assert main(command(tmp_path, *more)) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "t.safetensors").exists()


SMALL = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 10, "width": 256, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of a small CLIP of open_clip, whose image network timm has too."""
    open_clip = pytest.importorskip("open_clip", reason="the extra text is not installed")
    folder = tmp_path_factory.mktemp("clip")
    (folder / f"{MODEL}.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    network = open_clip.create_model(MODEL).eval()
    torch.save(network.state_dict(), folder / "clip.pt")
    return folder / "clip.pt", network, open_clip.get_tokenizer(MODEL)


def vectors(made, **settings):
    options = {"weights": str(made[0]), "facet": "language", "clip_resize": "native"}
    asked = {"chosen": "one", "synonyms": "max", "backbone": BACKBONE, "options": options, **settings}
    words = asked.pop("words", {"sky": ["sky", "clouds"], "tree": ["tree"]})
    return text_vectors(asked.pop("model", MODEL), asked.pop("weights", str(made[0])), words, **asked)


@pytest.mark.parametrize("chosen", ["none", "clip80"])
def test_vectors_are_those_of_the_text_network(weights, chosen):
    _, network, tokenise = weights
    text = vectors(weights, chosen=chosen)
    assert text.classes == ("sky", "tree")
    assert text.class_of.tolist() == [0, 0, 1]
    assert text.prompts == (("sky",), ("clouds",), ("tree",))
    assert text.backbone_weights == text.weights
    with torch.no_grad():
        for row, word in zip(text.vectors, ("sky", "clouds", "tree"), strict=True):
            mean = sum(
                network.encode_text(tokenise([one.replace("{}", word)]), normalize=True)[0] for one in text.templates
            )
            np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)


def test_synonyms_may_be_averaged_and_files_made_by_the_command(weights, tmp_path, capsys):
    each, mean = vectors(weights), vectors(weights, synonyms="mean")
    assert mean.class_of.tolist() == [0, 1]
    expected = each.vectors[0].astype(np.float64) + each.vectors[1]
    np.testing.assert_allclose(mean.vectors[0], expected / np.linalg.norm(expected), atol=1e-6)
    file = tmp_path / "t.safetensors"
    given = ["--weights", str(weights[0]), "--set", f"weights={weights[0]}", "--templates", "one"]
    arguments = ["data", "text", "--model", MODEL, "--backbone", BACKBONE, "--classes", "camvid", "--to", str(file)]
    assert main([*arguments, *given]) == 0
    assert "11 vectors for 11 classes" in capsys.readouterr().out
    assert read_text(file).model == f"{MODEL}:clip.pt"
    assert main([*arguments, *given]) == 2  # nothing is written over
    assert "is there already" in capsys.readouterr().err


def test_another_network_is_refused(weights, tmp_path):
    random = {"weights": "random", "facet": "language", "clip_resize": "native"}
    with pytest.raises(ConfigError, match="is not that of the image network of"):
        vectors(weights, options=random)
    with pytest.raises(ConfigError, match='"ViT-B-33"'):
        vectors(weights, model="ViT-B-33")
    with pytest.raises(ConfigError, match="trained with quick-GELU; use ViT-B-32-quickgelu"):
        vectors(weights, model="ViT-B-32", weights="openai")
    with pytest.raises(
        ConfigError, match=f"--model ViT-B-16-quickgelu has quick-GELU, and --backbone {BACKBONE} has not"
    ):
        vectors(weights, model="ViT-B-16-quickgelu")
    quick = "vit_base_patch16_clip_quickgelu_224"
    with pytest.raises(ConfigError, match=f"--backbone {quick} has quick-GELU, and --model {MODEL} has not"):
        vectors(weights, backbone=quick)
    with pytest.raises(ConfigError, match=r'"opena".*or a file'):
        vectors(weights, weights="opena")
    with pytest.raises(DataError, match="no such file"):
        vectors(weights, weights=str(tmp_path / "none.pt"))
    (tmp_path / "bad.pt").write_text("no weights")
    with pytest.raises(DataError, match="cannot be loaded"):
        vectors(weights, weights=str(tmp_path / "bad.pt"))


def test_siglip_of_open_clip_is_told_from_another(monkeypatch):
    import timm

    from spectral_bench.bench.features import text

    networks = [timm.create_model("test_vit", num_classes=0, global_pool="map") for _ in range(2)]
    monkeypatch.setattr(text, "load_backbone", lambda *given: SimpleNamespace(network=networks[0]))
    monkeypatch.setattr(text, "weights_digest", lambda *given: "0123")
    own, other = ({f"visual.trunk.{key}": one for key, one in net.state_dict().items()} for net in networks)
    assert text._require_twin(own, "siglip", {}, "SigLIP") == "0123"
    with pytest.raises(ConfigError, match=r"--backbone siglip: .* is not that of the image network of SigLIP"):
        text._require_twin(other, "siglip", {}, "SigLIP")
    with pytest.raises(ConfigError, match="cannot be compared with SigLIP"):
        text._require_twin({"logit_scale": torch.ones(1)}, "siglip", {}, "SigLIP")
