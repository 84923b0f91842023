"""NaFlex vision transformers, held to readings of timm's own modules, and RADIO at sizes that are not its own."""

import pytest
import timm
import torch
from torch.nn import functional

from spectral_bench.bench.features.backbones import backbone_info, load_backbone
from spectral_bench.bench.features.backbones.facets import projections
from spectral_bench.bench.features.backbones.facets import tokens as tokens_of
from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.bench.features.backbones.registry import backbone
from spectral_bench.bench.features.backbones.testing import WITHOUT_NETWORK, Subject
from spectral_bench.common.errors import DataError

KINDS = (
    "naflexvit_base_patch16_gap",
    "naflexvit_base_patch16_parfac_gap",
    "naflexvit_base_patch16_siglip",
    "naflexvit_base_patch16_radio_v3",
    "naflexvit_so150m2_patch16_reg1_gap",
)
HAS_RADIO = timm.is_model("naflexvit_base_patch16_radio_v3")  # not in timm 1.0.20
KINDS = tuple(name for name in KINDS if timm.is_model(name))
ROWS, COLUMNS, PATCH = 3, 5, 16
FACETS = ("queries", "keys", "values")


def build(name, **settings):
    """Four blocks of 64 channels, with noise on all parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=0, depth=4, embed_dim=64, num_heads=4, **settings)
        for parameter in network.eval().requires_grad_(False).parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.02)
    return network


@pytest.fixture(scope="module", params=KINDS)
def built(request):
    network = build(request.param)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        inputs = torch.randn(2, 3, ROWS * PATCH, COLUMNS * PATCH)
    return network, inputs, reading(network, inputs)


def patches_of(inputs):
    """(B, N, 16 * 16 * 3), as timm's data loader for NaFlex cuts images, row by row."""
    cut = inputs.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (B, C, rows, columns, 16, 16)
    return cut.permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2)


def embedded(network, inputs):
    """Patches with positions, prefix tokens before them: the modules of ``embeds``, one after the other."""
    embeds = network.embeds
    x = embeds.norm(embeds.proj(patches_of(inputs)))
    if embeds.pos_embed_type == "learned":
        table = embeds.pos_embed.permute(0, 3, 1, 2)
        side = max(ROWS, COLUMNS)
        size = (side, side) if embeds.pos_embed_ar_preserving else (ROWS, COLUMNS)
        corners = getattr(embeds, "pos_embed_align_corners", False)  # since RADIO's networks are there
        settings = {"mode": embeds.pos_embed_interp_mode, "align_corners": corners}
        grown = functional.interpolate(table, size, antialias=getattr(embeds, "pos_embed_antialias", True), **settings)
        x = x + grown[:, :, :ROWS, :COLUMNS].flatten(2).transpose(1, 2)
    else:
        down, across = (
            functional.interpolate(one.transpose(1, 2), n, mode="linear").transpose(1, 2)
            for one, n in ((embeds.pos_embed_y, max(ROWS, COLUMNS)), (embeds.pos_embed_x, max(ROWS, COLUMNS)))
        )
        if not embeds.pos_embed_ar_preserving:
            down = functional.interpolate(embeds.pos_embed_y.transpose(1, 2), ROWS, mode="linear").transpose(1, 2)
            across = functional.interpolate(embeds.pos_embed_x.transpose(1, 2), COLUMNS, mode="linear").transpose(1, 2)
        x = x + (down[:, :ROWS, None] + across[:, None, :COLUMNS]).flatten(1, 2)
    prefix = [one.expand(len(x), -1, -1) for one in (embeds.cls_token, embeds.reg_token) if one is not None]
    return torch.cat([*prefix, x], 1)


def reading(network, inputs):
    """Tokens and projections of each block, without prefix tokens."""
    seen = {facet: [] for facet in ("tokens", *FACETS)}
    x = network.norm_pre(embedded(network, inputs))
    for block in network.blocks:
        joint = block.attn.qkv(block.norm1(x))
        for facet, part in zip(FACETS, joint.split(64, -1), strict=True):
            seen[facet].append(part)
        x = block(x)
        seen["tokens"].append(x)
    return {facet: [one[:, network.num_prefix_tokens :] for one in found] for facet, found in seen.items()}


def test_tokens_are_those_of_the_modules_to_the_bit(built):
    network, inputs, seen = built
    for level, layer in zip(tokens_of(network, inputs, (0, 1, 3), norm=False), (0, 1, 3), strict=True):
        assert torch.equal(level, seen["tokens"][layer])
    (final,) = tokens_of(network, inputs, (3,), norm=True)
    assert torch.equal(final, network.fc_norm(network.norm(seen["tokens"][3])))


@pytest.mark.parametrize("facet", FACETS)
def test_projections_are_those_of_the_modules_to_the_bit(built, facet):
    network, inputs, seen = built
    for level, layer in zip(projections(network, inputs, (0, 2, 3), facet), (0, 2, 3), strict=True):
        assert torch.equal(level, seen[facet][layer])


@pytest.mark.skipif(not HAS_RADIO, reason="timm 1.0.20 makes other tokens of patches with coordinates")
def test_tokens_are_those_of_patches_with_coordinates(built):
    """What timm makes of the same image in its NaFlex form, where each patch tells its place."""
    network, inputs, seen = built
    rows, columns = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    places = torch.stack([rows, columns], -1).reshape(1, -1, 2).expand(len(inputs), -1, -1)
    given = {"patches": patches_of(inputs), "patch_coord": places, "patch_valid": torch.ones(places.shape[:2]).bool()}
    found = network.forward_intermediates(given, [3], output_fmt="NLC", intermediates_only=True)
    assert torch.allclose(found[0], seen["tokens"][3], atol=1e-4)


def test_a_backbone_by_name(monkeypatch):
    """Of an image that is no multiple of the patch."""
    monkeypatch.setattr("spectral_bench.bench.features.backbones.timm_hub.build_network", lambda name, **_: build(name))
    made = backbone("naflexvit_base_patch16_gap", {"weights": "random"})
    assert (made.info.stride, made.info.channels, made.info.family) == (16, (768,) * 3, "vit")
    made.channels = (64,) * 3
    made.layers = (0, 2, 3)
    network = FrozenNetwork(made, made.load())
    found = network.features(torch.rand(2, 3, ROWS * PATCH - 5, COLUMNS * PATCH - 1))
    assert [tuple(level.shape) for level in found] == [(2, ROWS, COLUMNS, 64)] * 3
    for check in WITHOUT_NETWORK:
        check(Subject("naflexvit_base_patch16_gap", {"weights": "random", "seed": 0}))


# RADIO.


@pytest.mark.skipif(not HAS_RADIO, reason="this timm has no networks of RADIO")
def test_radio_is_exact_at_512_and_at_no_other_size_but_as_naflex():
    """Both networks with the same weights: timm's plain one has the positions of 512 x 512 pixels alone."""
    naflex, plain = build("naflexvit_base_patch16_radio_v3"), build("vit_base_patch16_radio_v3", dynamic_img_size=True)
    state, table = naflex.state_dict(), naflex.embeds.pos_embed
    shrunk = functional.interpolate(
        table.permute(0, 3, 1, 2),
        (32, 32),
        mode="bilinear",
        align_corners=naflex.embeds.pos_embed_align_corners,
    )
    own = {key.removeprefix("embeds."): value for key, value in state.items()}
    weight = own["proj.weight"].reshape(64, PATCH, PATCH, 3).permute(0, 3, 1, 2)
    own |= {"patch_embed.proj.weight": weight, "patch_embed.proj.bias": own.get("proj.bias", torch.zeros(64))}
    own["pos_embed"] = shrunk.flatten(2).transpose(1, 2)
    plain.load_state_dict({key: own[key] for key in plain.state_dict()})
    for size, exact in (((512, 512), True), ((256, 384), False)):
        images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
        (one,), (other,) = (tokens_of(network, images, (3,), norm=True) for network in (naflex, plain))
        assert torch.allclose(one, other, atol=1e-3) is exact


@pytest.mark.skipif(not HAS_RADIO, reason="this timm has no networks of RADIO")
def test_radio_off_its_size_is_refused_with_the_alternative_named(monkeypatch):
    made = backbone("vit_base_patch16_radio_v3", {})
    assert made.refused(512, 512) == ""
    assert "of 368 x 480; use naflexvit_base_patch16_radio_v3, which is exact at every size" in made.refused(368, 480)
    assert backbone("naflexvit_base_patch16_radio_v3", {}).refused(368, 480) == ""
    assert backbone("vit_base_patch16_radio_v3", {"weights": "random"}).refused(368, 480) == ""
    assert backbone("vit_base_patch16_224", {}).refused(368, 480) == ""
    assert backbone_info("naflexvit_base_patch16_radio_v3").channels == (768,) * 3
    tiny = load_backbone("test_vit", {"weights": "random"}, "cpu")
    monkeypatch.setattr(tiny.backbone, "refused", lambda height, width: f"{height} x {width} is too small")
    with pytest.raises(DataError, match="backbone test_vit: 48 x 64 is too small"):
        tiny.features(torch.rand(1, 3, 41, 60))
