"""Counted operations against counts by hand: a multiplication and its addition are two."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.measure import flops
from spectral_bench.bench.measure.flops import backbone_flops, count_flops
from spectral_bench.methods.threads import each_on_one_thread
from spectral_bench.results.specification import BackboneSpec

RANDOM = {"weights": "random", "seed": 0}
TINY = BackboneSpec(name="vit_tiny_patch16_224", options=RANDOM)


def vit_by_hand(height: int, width: int, *, dim: int = 192, depth: int = 12, patch: int = 16) -> int:
    """Patch embedding, then per block: qkv, both attention products, projection, and an MLP four times as wide."""
    patches = (height // patch) * (width // patch)
    tokens = patches + 1
    block = tokens * dim * 3 * dim + 2 * tokens * tokens * dim + tokens * dim * dim + 2 * tokens * dim * 4 * dim
    return 2 * (patches * 3 * patch * patch * dim + depth * block)


def test_a_linear_layer():
    layer = nn.Linear(8, 4)
    assert count_flops(lambda: layer(torch.zeros(3, 8))) == 2 * 3 * 8 * 4


def test_a_convolution():
    layer = nn.Conv2d(3, 5, 3, padding=1)
    assert count_flops(lambda: layer(torch.zeros(1, 3, 10, 12))) == 2 * 10 * 12 * 5 * 3 * 9


def test_what_threads_do_side_by_side_is_counted_whole(monkeypatch: pytest.MonkeyPatch):
    layer, threads = nn.Linear(8, 4), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = count_flops(lambda: each_on_one_thread(layer, [torch.zeros(3, 8)] * 5))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert found == 5 * 2 * 3 * 8 * 4


def test_fused_attention_is_counted():
    one = torch.zeros(1, 2, 7, 16)
    assert count_flops(lambda: functional.scaled_dot_product_attention(one, one, one)) == 2 * 2 * (2 * 7 * 7 * 16)


@pytest.mark.parametrize("size", [(64, 96), (48, 48)])
def test_a_vit_equals_the_count_by_hand(size: tuple[int, int]):
    assert backbone_flops(TINY, 1, *size) == vit_by_hand(*size)


def test_windows_add_up_and_sides_are_padded_to_whole_patches():
    assert backbone_flops(TINY, 5, 64, 96) == 5 * vit_by_hand(64, 96)
    assert backbone_flops(TINY, 1, 63, 81) == vit_by_hand(64, 96)


def test_a_network_without_memory_counts_as_a_real_one():
    network = load_backbone("efficientnet_lite0", RANDOM, "cpu")
    real = count_flops(lambda: network.single(torch.rand(1, 3, 64, 96)))
    assert backbone_flops(BackboneSpec(name="efficientnet_lite0", options=RANDOM), 1, 64, 96) == real > 10**8


def test_weights_need_not_be_here():
    trained = BackboneSpec(name="vit_tiny_patch16_224", options={"weights": "timm"}, weights="0123456789ab")
    assert backbone_flops(trained, 1, 64, 96) == vit_by_hand(64, 96)


class Counter:
    """Counts how often a network is built to be counted, without a memory of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self._count = 0, flops._one_input.__wrapped__
        monkeypatch.setattr(flops, "_one_input", self)

    def __call__(self, *network: object) -> int:
        self.calls += 1
        return int(self._count(*network))


def test_a_kept_count_is_that_which_was_counted_and_is_counted_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    counter = Counter(monkeypatch)
    found = [backbone_flops(TINY, shots, 64, 96, tmp_path) for shots in (1, 1, 3)]
    assert found == [vit_by_hand(64, 96), vit_by_hand(64, 96), 3 * vit_by_hand(64, 96)]
    assert counter.calls == 1


def test_a_count_is_kept_by_size_options_code_and_releases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    counter = Counter(monkeypatch)
    backbone_flops(TINY, 1, 64, 96, tmp_path)
    assert backbone_flops(TINY, 1, 48, 48, tmp_path) == vit_by_hand(48, 48)
    backbone_flops(BackboneSpec(name=TINY.name, options={**RANDOM, "seed": 1}), 1, 64, 96, tmp_path)
    assert flops.releases() == [metadata.version("torch"), metadata.version("timm")]
    monkeypatch.setattr(flops, "releases", lambda: ["0.0", "0.0"])
    backbone_flops(TINY, 1, 64, 96, tmp_path)
    monkeypatch.setattr(flops, "fingerprint", lambda modules, loaded: {"other": "code"})
    backbone_flops(TINY, 1, 64, 96, tmp_path)
    assert counter.calls == len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"operations": null}', '{"operations": true}', '{"operations": -1}'])
def test_a_torn_count_is_counted_again(torn: str, tmp_path: Path):
    backbone_flops(TINY, 1, 64, 96, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(torn)
    assert backbone_flops(TINY, 1, 64, 96, tmp_path) == vit_by_hand(64, 96)
    assert json.loads(file.read_text())["operations"] == vit_by_hand(64, 96)


def test_what_cannot_be_kept_is_counted_all_the_same(tmp_path: Path):
    folder = tmp_path / "file"
    folder.write_text("in the way")
    assert backbone_flops(TINY, 1, 64, 96, folder) == vit_by_hand(64, 96)
