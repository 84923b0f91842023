"""Weights of transformers from files: of the forms that training codes write, and of wrong ones."""

import argparse
from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from spectral_bench.bench.features.backbones import complete_options, load_backbone, weights_digest
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.common.errors import ConfigError, DataError

NAME = "test_vit"  # the smallest of timm's


def network(name: str = NAME, seed: int = 1, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, **{"num_classes": 0, **settings})


def loaded(path: Path, name: str = NAME):
    return load_backbone(name, {"weights": str(path)}, "cpu")


def image():
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def assert_same(path: Path, expected) -> None:
    state = expected.state_dict()
    found = loaded(path).network.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_round_trip_gives_the_same_features(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_file(network("vit_small_patch16_224", seed=5).state_dict(), path)
    random = load_backbone("vit_small_patch16_224", {"weights": "random", "seed": 5}, "cpu").features(image())
    filed = loaded(path, "vit_small_patch16_224").features(image())
    assert all(torch.equal(one, other) for one, other in zip(random, filed, strict=True))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": OrderedDict(state), "args": argparse.Namespace(lr=0.1)},
        lambda state: {"student": {}, "teacher": {f"module.backbone.{key}": value for key, value in state.items()}},
        lambda state: {"model": {"head.weight": torch.zeros(3, 64), "decoder_embed.weight": torch.zeros(1)} | state},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()} | {"temperature": torch.ones(1)},
        lambda state: {"state_dict": {"model": state}},
    ],
    ids=["bare", "state_dict", "options beside", "teacher", "heads beside", "compiled", "nested"],
)
def test_weights_are_found_in_what_training_codes_write(wrap, tmp_path: Path) -> None:
    made = network()
    torch.save(wrap(dict(made.state_dict())), tmp_path / "a.pth")
    assert_same(tmp_path / "a.pth", made)


def test_of_a_student_and_its_teacher_the_teacher_is_taken(tmp_path: Path) -> None:
    student, teacher = network(seed=1), network(seed=2)
    torch.save({"student": student.state_dict(), "teacher": teacher.state_dict()}, tmp_path / "a.pt")
    assert_same(tmp_path / "a.pt", teacher)


def test_position_embeddings_of_another_size_are_resampled(tmp_path: Path) -> None:
    save_file(network(img_size=96).state_dict(), tmp_path / "a.safetensors")
    assert loaded(tmp_path / "a.safetensors").network.pos_embed.shape == network().pos_embed.shape


def half() -> dict[str, torch.Tensor]:
    return {key: value for key, value in network().state_dict().items() if not key.startswith("blocks.3")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (half, r"a\.pth: lacks blocks\.3\..*; is it of this architecture\?"),
        (lambda: network().state_dict() | {"extra.weight": torch.ones(1)}, r"a\.pth: has besides extra\.weight"),
        (lambda: network("vit_tiny_patch16_224").state_dict(), "is of shape .*, and of .* in this architecture"),
        (lambda: {"epoch": 3}, "holds no weights by name; it has epoch; expected them at the top, or under"),
        (lambda: [torch.ones(1)], "holds no weights by name"),
        (lambda: {"model": {"a": 1}}, "holds no weights by name"),
        (lambda: {"model": half(), "note": Path("x")}, "holds Python objects other than tensors, which are not loaded"),
        (
            lambda: {f"{who}.{key}": value for who in ("one", "two") for key, value in half().items()},
            r"holds several networks, under one\., two\.",
        ),
    ],
    ids=["half", "more", "another", "none", "list", "empty", "code", "two"],
)
def test_what_is_wrong_with_a_file_is_told(content, message: str, tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "a.pth")
    with pytest.raises(DataError, match=message) as caught:
        loaded(tmp_path / "a.pth")
    assert str(caught.value).startswith(f"backbone {NAME}: weights {tmp_path / 'a.pth'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_damaged_file_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        loaded(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pth: no such file"):
        weights_digest(NAME, {"weights": str(tmp_path / "none.pth")})


def test_a_word_that_is_no_file_lists_what_will_do() -> None:
    with pytest.raises(ConfigError, match=r'option weights: unknown value "hbu"; did you mean "hub"'):
        complete_options(NAME, {"weights": "hbu"})


def planned(folder: Path, store: Path, weights: str = "mine.safetensors"):
    row = {"method": "kmeans", "params": {"k": 4}, "backbone_options": {"weights": weights}}
    grid = {"name": "g", "protocols": ["whole"], "defaults": {"dataset": "synthetic", "backbone": NAME, "seeds": [0]}}
    (folder / "g.yaml").write_text(yaml.safe_dump(grid | {"runs": [row]}))
    plan = make_plan(load_grid(folder / "g.yaml"), None, store)
    return plan.runs[0].run_id, plan.runs[0].title


def test_a_run_is_told_by_the_content_of_its_weights_and_not_by_their_place(tmp_path: Path) -> None:
    ids = {}
    for place, seed in (("one", 1), ("two", 1), ("three", 2)):
        (tmp_path / place).mkdir()
        save_file(network(seed=seed).state_dict(), tmp_path / place / "mine.safetensors")
        ids[place], title = planned(tmp_path / place, tmp_path / "store")
        assert str(tmp_path) not in title
    random, _ = planned(tmp_path / "one", tmp_path / "store", weights="random")
    assert ids["one"] == ids["two"]
    assert len({ids["one"], ids["three"], random}) == 3


def test_a_grid_names_the_line_of_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"g\.yaml:\d+: runs\[0\]\.backbone_options.*: weights lost\.pth: no such file"
    ):
        planned(tmp_path, tmp_path / "store", weights="lost.pth")


@pytest.mark.parametrize(
    "content", [b"junk\n", b"hello world", b"<html></html>", b"version https://git-lfs", b"\0" * 9]
)
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "own.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"own\.pth: (it is damaged|cannot be read)"):
        loaded(path)
