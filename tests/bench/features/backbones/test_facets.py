"""Facets of one architecture of each kind that timm has, against readings of timm's own modules while they compute."""

import contextlib

import pytest
import torch
from torch.nn import functional

from spectral_bench.bench.features.backbones import backbone_info, load_backbone
from spectral_bench.bench.features.backbones.facets import projections
from spectral_bench.bench.features.backbones.facets import tokens as tokens_of

RANDOM = {"weights": "random", "seed": 1}
LAYERS = (0, 2, 3)

# What is particular of each, as far as its attention goes. All are built with four blocks of their own width.
GROUPED = "grouped"
KINDS = {
    "vit_tiny_patch16_224": "fused qkv with bias",
    "vit_small_patch8_224.dino": "the same, of small patches",
    "deit_tiny_patch16_224": "DeiT",
    "deit_tiny_distilled_patch16_224": "two prefix tokens",
    "deit3_small_patch16_224": "layer scale",
    "vit_small_patch14_dinov2": "patches of 14, layer scale",
    "vit_small_patch14_reg4_dinov2": "registers",
    "vit_small_patch16_dinov3": "rotation, no bias",
    "vit_small_patch16_dinov3_qkvb": "rotation, biases but for keys",
    "vit_xsmall_patch16_clip_224": "CLIP",
    "vit_base_patch16_clip_quickgelu_224": "a norm before the blocks",
    "vit_base_patch16_siglip_224": "SigLIP: no class token",
    "vit_wee_patch16_reg1_gap_256": "a pooled network, norm after the pool",
    "vit_base_patch16_rpn_224": "norm behind the attention",
    "vit_base_patch16_xp_224": "attention and MLP side by side, queries and keys normed",
    "vit_dwee_patch16_reg1_gap_256": "differential attention",
    "vit_dpwee_patch16_reg1_gap_256": "differential attention and MLP side by side",
    "eva02_tiny_patch14_224": "EVA: biases of queries and values",
    "eva02_base_patch14_224": "EVA: three projections",
    "vit_pe_core_tiny_patch16_384": "perception encoder",
    "vit_base_patch16_rope_224": "rotation",
    "vit_base_patch16_rope_mixed_224": "rotation that is learnt, a block at a time",
    "aimv2_large_patch14_224": "AIMv2: no bias, RMS norms",
    "flexivit_small": "flexible patches",
    "vit_base_patch16_sapiens2": "RMS norms, eight registers",
    GROUPED: "grouped queries: keys and values are narrower",
    "eva02_enormous_patch14_clip_224": "EVA: norm behind the attention",
}
FACETS = ("queries", "keys", "values")
ROWS, COLUMNS = 5, 7  # no network has as many heads as it then has tokens


def build(name):
    import timm
    from timm.models.eva import Eva

    if name == GROUPED:
        settings = {"use_rot_pos_emb": True, "attn_type": "rope", "qkv_fused": False, "num_kv_heads": 2}
        return Eva(num_classes=0, embed_dim=64, depth=4, num_heads=8, dynamic_img_size=True, **settings)
    settings = {"embed_dim": 64, "num_heads": 4} if "enormous" in name else {}
    if "sapiens2" in name:
        settings["num_kv_heads"] = 12  # timm states them for each of twelve blocks
    return timm.create_model(name.partition(".")[0], num_classes=0, dynamic_img_size=True, depth=4, **settings)


QUICK = ("vit_tiny_patch16_224", "vit_small_patch16_dinov3_qkvb", GROUPED)
PARAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]


@pytest.fixture(scope="module", params=PARAMS)
def built(request):
    """A network of four blocks, inputs of which no side is the network's own, and what it computes of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(request.param).eval().requires_grad_(False)
        for parameter in network.parameters():  # biases and scales that start at 0 or 1 would hide a mistake
            parameter.add_(torch.randn(parameter.shape) * 0.02)
        side = network.patch_embed.patch_size[0]
        inputs = torch.randn(2, 3, ROWS * side, COLUMNS * side)
    return network, inputs, reading(network, inputs)


def reading(network, inputs):
    """Of each block: tokens, queries and keys as their norms get them, values as the attention gets them."""
    seen = {facet: [] for facet in ("tokens", *FACETS)}
    plain = functional.scaled_dot_product_attention

    def attend(query, key, value, **settings):
        seen["values"].append(value)
        return plain(query, key, value, **settings)

    def note(facet):
        return lambda _, given: seen[facet].append(given[0])

    with contextlib.ExitStack() as stack:
        for block in network.blocks:
            holder = block if hasattr(block, "in_proj") else block.attn
            for hook in (
                holder.q_norm.register_forward_pre_hook(note("queries")),
                holder.k_norm.register_forward_pre_hook(note("keys")),
                block.register_forward_hook(lambda *given: seen["tokens"].append(given[2])),
            ):
                stack.callback(hook.remove)
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(functional, "scaled_dot_product_attention", attend)
        network(inputs)
    count, blocks = seen["tokens"][0].shape[1], len(network.blocks)
    assert count == network.num_prefix_tokens + ROWS * COLUMNS
    calls = len(seen["values"]) // blocks  # differential attention asks twice, with the same values
    groups = getattr(getattr(network.blocks[0], "attn", None), "num_kv_groups", 1)
    seen["values"] = [value[:, ::groups] for value in seen["values"][::calls]]
    sequences = {
        facet: [x if x.ndim == 3 else (x if x.shape[1] == count else x.transpose(1, 2)).flatten(2) for x in found]
        for facet, found in seen.items()
    }
    return {facet: [x[:, network.num_prefix_tokens :] for x in found] for facet, found in sequences.items()}


@pytest.mark.parametrize("facet", FACETS)
def test_projections_are_those_of_the_network_to_the_bit(built, facet):
    network, inputs, seen = built
    found = projections(network, inputs, LAYERS, facet)
    assert len(found) == len(LAYERS)
    for level, layer in zip(found, LAYERS, strict=True):
        assert torch.equal(level, seen[facet][layer])


def test_tokens_are_those_of_the_network_to_the_bit(built):
    network, inputs, seen = built
    for level, layer in zip(tokens_of(network, inputs, LAYERS, norm=False), LAYERS, strict=True):
        assert torch.equal(level, seen["tokens"][layer])
    plain, normed = tokens_of(network, inputs, (0, 3), norm=True), tokens_of(network, inputs, (0, 3), norm="all")
    final = [network.fc_norm(network.norm(seen["tokens"][layer])) for layer in (0, 3)]
    assert torch.equal(plain[0], seen["tokens"][0])
    assert torch.equal(plain[1], final[1])
    assert all(torch.equal(one, other) for one, other in zip(normed, final, strict=True))


def test_watching_leaves_the_network_as_it_was(built):
    network, inputs, _ = built
    projections(network, inputs, (1,), "keys")
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()]
    assert not any(hooks)


def image(height, width):
    return torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "options", "channels"),
    [
        ("vit_tiny_patch16_224", {"facet": "keys", "layers": [1, -2]}, (192, 192)),
        ("vit_tiny_patch16_224", {"layers": [3], "norm": "all"}, (192,)),
        ("vit_small_patch16_224.dino", {"facet": "last_keys", "layers": [2, 5]}, (384, 384)),
        ("vit_small_patch16_224.dino", {"facet": "tokens"}, (384, 384, 384)),
    ],
)
def test_levels_of_images_in_threads_are_those_of_each_alone(name, options, channels):
    assert backbone_info(name, RANDOM | options).channels == channels
    backbone = load_backbone(name, RANDOM | options, "cpu")
    pictures = image(40, 60)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = backbone.features(pictures)
    finally:
        torch.set_num_threads(threads)
    for index in range(3):
        alone = backbone.features(pictures[index : index + 1])
        assert all(torch.equal(level[0], target[index]) for level, target in zip(alone, together, strict=True))


def test_keys_of_all_thirds_end_in_those_that_dino_ends_in():
    name = "vit_small_patch16_224.dino"
    keys = load_backbone(name, RANDOM | {"facet": "keys"}, "cpu").features(image(32, 48)[:1])
    usual = load_backbone(name, RANDOM, "cpu").features(image(32, 48)[:1])
    torch.testing.assert_close(keys[2], usual[2])
    assert not torch.allclose(keys[0], usual[0])


def test_heads_that_share_keys_make_them_narrower():
    layers = {"weights": "random", "layers": [0, 8, 23]}
    name = "vit_large_patch16_sapiens2"
    assert backbone_info(name, layers | {"facet": "keys"}).channels == (1024, 512, 1024)
    assert backbone_info(name, layers | {"facet": "queries"}).channels == (1024, 1024, 1024)
