"""Networks with a feature map a stage, held to what timm's own features_only gives."""

import json
import re

import pytest
import timm
import torch
from torch import nn

from spectral_bench.bench.features.backbones import backbone_info, backbone_names, complete_options, load_backbone
from spectral_bench.bench.features.backbones.registry import backbone
from spectral_bench.bench.features.backbones.testing import Subject, violations
from spectral_bench.bench.features.backbones.timm_names import KEPT, is_staged, is_transformer, stages
from spectral_bench.common.errors import ConfigError, DataError

RANDOM = {"weights": "random", "seed": 3}
SIZE = (75, 107)  # no multiple of any stride

# One of each module of timm, the smallest of it; the number of the three stages among those of features_only.
KINDS = {
    "test_convnext": (0, 2, 3),
    "test_resnet": (1, 3, 4),
    "test_efficientnet": (1, 3, 4),
    "test_mambaout": (0, 2, 3),
    "mobilenetv3_small_050": (1, 3, 4),
    "regnetx_002": (1, 3, 4),
    "resnetv2_18": (1, 3, 4),
    "poolformer_s12": (0, 2, 3),
    "pvt_v2_b0": (0, 2, 3),
    "inception_next_atto": (0, 2, 3),
    "hgnetv2_b0": (0, 2, 3),
    "densenet121": (1, 3, 4),
    "hrnet_w18_small": (1, 3, 4),
}
QUICK = ("test_convnext", "test_resnet", "test_efficientnet")
PARAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]


def shaken(network: nn.Module) -> nn.Module:
    """Biases, scales and statistics that start at 0 or 1 would hide a mistake."""
    generator = torch.Generator().manual_seed(5)
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.data.add_(torch.randn(tensor.shape, generator=generator) * 0.005)
    return network.eval()


def channels_first(maps, channels):
    """(B, C, h, w), as not all of timm's networks give them."""
    return maps if maps.shape[1] == channels else maps.permute(0, 3, 1, 2)


def pooled(maps, size):
    """Means over whole cells, spelled out."""
    *rest, height, width = maps.shape
    return maps.reshape(*rest, size[0], height // size[0], size[1], width // size[1]).mean((-3, -1))


def upsampled(maps, size):
    """Bilinear up-sampling with centres of cells aligned, spelled out."""
    for axis in (-2, -1):
        n, m = maps.shape[axis], size[axis]
        at = ((torch.arange(m) + 0.5) * n / m - 0.5).clamp(0, n - 1)
        low = at.floor().long()
        high = (low + 1).clamp(max=n - 1)
        share = (at - low).reshape(-1, 1) if axis == -2 else at - low
        maps = maps.index_select(axis, low) * (1 - share) + maps.index_select(axis, high) * share
    return maps


@pytest.mark.parametrize("name", PARAMS)
def test_levels_are_what_features_only_gives_on_the_grid(name):
    network = load_backbone(name, RANDOM, "cpu")
    shaken(network.network)
    theirs = timm.create_model(name, features_only=True, out_indices=KINDS[name]).eval()
    plain, wrapped = network.network.state_dict(), theirs.state_dict()
    # Both list the same weights; timm calls them by other names where it takes a network apart.
    known = {key.removeprefix("model.").replace(".", "_"): value for key, value in plain.items()}
    theirs.load_state_dict({key: known[key.removeprefix("model.").replace(".", "_")] for key in wrapped})
    info = network.info
    assert (info.stride, len(info.channels), info.family) == (16, 3, "cnn")
    assert info.channels == tuple(theirs.feature_info.channels())
    images = torch.rand(2, 3, *SIZE)
    found = network.features(images)
    inputs = torch.zeros(2, 3, 96, 128)  # what a multiple of 32 covers
    inputs[..., : SIZE[0], : SIZE[1]] = (images - network.mean) / network.std
    with torch.no_grad():
        maps = [channels_first(one, n) for one, n in zip(theirs(inputs), info.channels, strict=True)]
    for level, one, reduction in zip(found, maps, theirs.feature_info.reduction(), strict=True):
        expected = pooled(one, (6, 8)) if reduction < 16 else upsampled(one, (6, 8)) if reduction > 16 else one
        assert tuple(level.shape[1:3]) == info.grid(*SIZE) == (5, 7)
        gap = (level - expected[:, :, :5, :7].permute(0, 2, 3, 1)).abs().max()
        assert gap <= 1e-5 * expected.abs().max()
        assert level.std() > 0
    # Of stride 16 it is the map itself, to the bit; on a CPU images are seen one at a time.
    with torch.no_grad():
        alone = torch.cat([channels_first(theirs(one[None])[1], info.channels[1]) for one in inputs])
        alone = alone.permute(0, 2, 3, 1)
    assert torch.equal(found[1], alone[:, :5, :7])


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.slow
def test_they_keep_what_every_backbone_keeps(name):
    assert violations(Subject(name, RANDOM)) == {}


@pytest.mark.parametrize(("grid", "shape"), [(4, (19, 27)), (8, (10, 14)), (16, (5, 7)), (32, (3, 4))])
def test_the_grid_is_an_option_and_part_of_the_identity(grid, shape):
    options = complete_options("test_convnext", {**RANDOM, "grid": grid})
    assert options == {**RANDOM, "grid": grid}
    found = load_backbone("test_convnext", options, "cpu").features(torch.rand(1, 3, *SIZE))
    assert {tuple(level.shape[1:3]) for level in found} == {shape}
    assert backbone_info("test_convnext", options).stride == grid
    assert complete_options("test_convnext", {})["grid"] == 16


def test_which_stages_are_levels():
    assert stages("convnext_tiny") == ((96, 4), (192, 8), (384, 16), (768, 32))
    assert backbone_info("convnext_tiny", RANDOM).channels == (96, 384, 768)
    assert [stride for _, stride in stages("resnet50")] == [2, 4, 8, 16, 32]  # the stem at stride 2 is no level
    assert backbone_info("resnet50", RANDOM).channels == (256, 1024, 2048)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"facet": "keys"}, "option facet is for vision transformers, and this network has stages"),
        ({"layers": [0]}, "option layers is for vision transformers"),
        ({"norm": False}, "option norm is for vision transformers"),
        ({"grid": 14}, "option grid: expected 4, 8, 16, 32 (pixels a patch), got 14"),
        ({"grid": True}, "option grid: expected 4, 8, 16, 32 (pixels a patch), got True"),
        ({"grids": 16}, 'did you mean "grid"?'),
        ({"weights": "hubb"}, "hub"),
        ({"weights": "hub", "seed": 1}, "option seed is for random weights only"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        complete_options("test_convnext", options)


def test_tags_are_checked():
    with pytest.raises(ConfigError, match='unknown pretrained tag "no_such"'):
        complete_options("convnext_tiny.no_such", {})
    assert complete_options("convnext_tiny.fb_in1k", {})["weights"] == "hub"


def test_names_stand_for_one_network_each():
    names = backbone_names()
    assert len(set(names)) == len(names)
    assert {"convnext_tiny", "convnextv2_atto", "resnet50", "naflexvit_base_patch16_gap"} <= set(names)
    assert not any(is_staged(name) and is_transformer(name) for name in names)
    assert backbone_info("efficientnet_lite0").channels == (64, 192, 320)  # ours, not timm's of that name
    assert not is_staged("efficientnet_lite0")


@pytest.mark.skipif(timm.__version__ != json.loads(KEPT.read_text())["timm"], reason="the table is of another timm")
def test_a_table_tells_the_stages_of_all(monkeypatch):
    """So that planning builds nothing, and that what it tells is what is built."""
    from spectral_bench.bench.features.backbones import timm_names

    monkeypatch.setattr(timm_names, "_built_stages", None)
    every = {name: backbone_info(name, RANDOM) for name in backbone_names() if is_staged(name)}
    assert len(every) > 350
    assert all(info.stride <= 32 and 1 <= len(info.channels) <= 3 for info in every.values())
    monkeypatch.undo()
    for name in ("test_resnet", "convnext_atto", "hrnet_w18_small"):
        assert tuple(map(tuple, timm_names._built_stages(name))) == stages(name)


def test_weights_from_a_file(tmp_path):
    network = load_backbone("test_resnet", RANDOM, "cpu")
    shaken(network.network)
    state = {f"module.{key}": value for key, value in network.network.state_dict().items()}
    state["module.fc.weight"] = torch.zeros(10, 64)
    torch.save({"state_dict": state}, tmp_path / "mine.pth")
    options = {"weights": str(tmp_path / "mine.pth")}
    images = torch.rand(1, 3, *SIZE)
    for one, other in zip(
        load_backbone("test_resnet", options, "cpu").features(images), network.features(images), strict=True
    ):
        assert torch.equal(one, other)
    assert len(backbone("test_resnet", options).digest()) == 16
    with pytest.raises(DataError, match=r"is it of this architecture|is of shape"):
        load_backbone("test_convnext", options, "cpu")


def test_a_timm_that_gives_no_maps_says_so(monkeypatch):
    monkeypatch.delattr(timm.models.ResNet, "forward_intermediates")
    with pytest.raises(ConfigError, match="the installed timm gives no maps of its stages; a newer one may"):
        load_backbone("test_resnet", RANDOM, "cpu")
