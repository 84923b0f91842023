"""Dense features in the space of images and texts, against computations that share no code with them."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional

from spectral_bench.bench.features.backbones import backbone_info, complete_options, load_backbone
from spectral_bench.bench.features.backbones.checkpoint import load_checkpoint
from spectral_bench.bench.features.backbones.language import sequences
from spectral_bench.common.errors import ConfigError, DataError

CLIP, SIGLIP = "vit_xsmall_patch16_clip_224", "vit_base_patch16_siglip_224"
QUICK = "vit_base_patch16_clip_quickgelu_224"
SIDE, WIDTH, HEADS, JOINT, DEPTH = 8, 32, 4, 24, 3
ROWS, COLUMNS = 5, 7


def small(**settings):
    """A small CLIP transformer of timm in which no number stands at the value that it starts from."""
    from timm.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(
            patch_size=SIDE,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            **{
                "img_size": (ROWS * SIDE, COLUMNS * SIDE),
                "num_classes": JOINT,
                "global_pool": "token",
                "pre_norm": True,
                **settings,
            },
        )
        network.requires_grad_(False).eval()
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
        return network, torch.randn(2, 3, ROWS * SIDE, COLUMNS * SIDE)


def last_input(network, inputs):
    """What the first norm of the last block gives, class token first."""
    seen = []
    hook = network.blocks[-1].norm1.register_forward_hook(lambda *given: seen.append(given[2]))
    network(inputs)
    hook.remove()
    return seen[0].double()


def neighbours(keys, values, deviation):
    """One head of one image, a pair of patches at a time: (1 + n, d) of either, class token first."""
    n, width = keys.shape
    found = torch.zeros_like(values)
    for i in range(n):
        logits = torch.zeros(n, dtype=torch.float64)
        for j in range(n):
            logits[j] = keys[i] @ keys[j] / math.sqrt(width)
            if i and j:
                (a, b), (c, d) = divmod(i - 1, COLUMNS), divmod(j - 1, COLUMNS)
                logits[j] += math.exp(-((a - c) ** 2 + (b - d) ** 2) / (2 * deviation**2))
        found[i] = logits.softmax(0) @ values
    return found


@pytest.mark.parametrize("options", [{}, {"attention": "neighbour"}, {"attention": "neighbour", "deviation": 2.0}])
def test_clip_is_what_the_formulas_say(options):
    network, inputs = small()
    entering = last_input(network, inputs)
    keys, told = sequences(network, inputs, options)
    network = network.double()
    weight, bias = network.blocks[-1].attn.qkv.weight, network.blocks[-1].attn.qkv.bias
    own = [entering @ weight[part * WIDTH : (part + 1) * WIDTH].T + bias[part * WIDTH :][:WIDTH] for part in (1, 2)]
    torch.testing.assert_close(keys.double(), own[0][:, 1:], rtol=0, atol=1e-5)
    values = own[1]
    if options:
        parts = [torch.split(part, WIDTH // HEADS, -1) for part in own]
        heads = [
            torch.stack([neighbours(k, v, options.get("deviation", 5.0)) for k, v in zip(key, value, strict=True)])
            for key, value in zip(*parts, strict=True)
        ]
        values = torch.cat(heads, -1)
    out = network.blocks[-1].attn.proj(values)
    expected = network.head(network.norm(out))[:, 1:]
    assert float((out - values).abs().max()) > 0.1
    torch.testing.assert_close(told.double(), expected, rtol=0, atol=1e-5)


def test_siglip_is_the_pooling_attention_on_one_patch_alone():
    network, inputs = small(num_classes=0, global_pool="map", pre_norm=False, class_token=False)
    keys, told = sequences(network, inputs, {})
    tokens = network.forward_features(inputs)
    alone = torch.stack([network.attn_pool(tokens[:, i : i + 1]) for i in range(ROWS * COLUMNS)], 1)
    torch.testing.assert_close(told, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(keys, network.attn_pool.kv(tokens)[..., :WIDTH], rtol=0, atol=1e-5)


def open_clip_pair(tmp_path, quick):
    """A CLIP with random weights of open_clip, and timm's transformer with the weights of its image network."""
    pytest.importorskip("open_clip", reason="the extra text is not installed")
    from open_clip.model import CLIP as OpenClip
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg
    from timm.layers import LayerNorm, QuickGELU

    torch.manual_seed(1)
    vision = CLIPVisionCfg(layers=DEPTH, width=WIDTH, head_width=WIDTH // HEADS, patch_size=SIDE, image_size=40)
    text = CLIPTextCfg(context_length=8, vocab_size=50, width=16, heads=2, layers=1)
    model = OpenClip(JOINT, vision, text, quick_gelu=quick).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    extra = {"act_layer": QuickGELU} if quick else {}
    network, _ = small(img_size=40, norm_layer=partial(LayerNorm, eps=1e-5), **extra)  # as timm's CLIPs have it
    load_checkpoint(network, tmp_path / "clip.pt", "small")
    return model, network, torch.randn(2, 3, 40, 40)


@pytest.mark.parametrize("quick", [False, True])
def test_open_clip_with_its_own_weights_says_the_same(tmp_path, quick):
    model, network, inputs = open_clip_pair(tmp_path, quick)
    torch.testing.assert_close(network(inputs), model.encode_image(inputs), rtol=0, atol=1e-5)  # the whole network
    visual, seen = model.visual, []
    hook = visual.transformer.resblocks[-1].ln_1.register_forward_hook(lambda *given: seen.append(given[2]))
    model.encode_image(inputs)
    hook.remove()
    attention = visual.transformer.resblocks[-1].attn
    _, keys, values = functional.linear(seen[0], attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
    expected = visual.ln_post(attention.out_proj(values))[:, 1:] @ visual.proj
    found = sequences(network, inputs, {})
    torch.testing.assert_close(found[0], keys[:, 1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-5)
    texts = functional.normalize(model.encode_text(torch.randint(1, 50, (6, 8))), dim=-1)
    logits = functional.conv2d(functional.normalize(expected, dim=-1).mT.unflatten(-1, (5, 5)), texts[:, :, None, None])
    own = functional.normalize(found[1], dim=-1) @ texts.T
    torch.testing.assert_close(own.mT.unflatten(-1, (5, 5)), logits, rtol=0, atol=1e-5)


def test_siglip_of_open_clip_with_its_own_weights_says_the_same(tmp_path):
    pytest.importorskip("open_clip", reason="the extra text is not installed")
    from open_clip.model import CLIPTextCfg, CustomTextCLIP
    from timm import create_model

    # As open_clip builds SigLIP: timm's transformer, which pools by attention and needs no further projection.
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    text = CLIPTextCfg(context_length=8, vocab_size=50, width=16, heads=2, layers=1)
    model = CustomTextCLIP(64, vision, text, init_logit_bias=-10).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    torch.save(model.state_dict(), tmp_path / "siglip.pt")
    network = create_model("test_vit", num_classes=0, global_pool="map").eval()
    load_checkpoint(network, tmp_path / "siglip.pt", "small")
    inputs = torch.randn(2, 3, 160, 160)
    torch.testing.assert_close(network(inputs), model.encode_image(inputs), rtol=0, atol=1e-5)
    trunk = model.visual.trunk
    tokens = trunk.forward_features(inputs)[:, trunk.num_prefix_tokens :]
    alone = torch.stack([trunk.attn_pool(tokens[:, i : i + 1]) for i in range(tokens.shape[1])], 1)
    found = sequences(network, inputs, {})
    torch.testing.assert_close(found[1], alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0], trunk.attn_pool.kv(tokens)[..., :64], rtol=0, atol=1e-5)
    lacking = {key: value for key, value in model.state_dict().items() if "attn_pool.kv" not in key}
    torch.save(lacking, tmp_path / "lacking.pt")
    with pytest.raises(DataError, match=r"lacks attn_pool\.kv\.bias, attn_pool\.kv\.weight"):
        load_checkpoint(network, tmp_path / "lacking.pt", "small")


def test_levels_are_keys_and_features_of_the_joint_space():
    options = {"weights": "random", "facet": "language", "clip_resize": "interpolate"}
    assert backbone_info(CLIP, options).channels == (256, 512)
    found = load_backbone(CLIP, options, "cpu").features(torch.rand(1, 3, 48, 40))
    assert [tuple(level.shape) for level in found] == [(1, 3, 3, 256), (1, 3, 3, 512)]
    near = load_backbone(CLIP, {**options, "attention": "neighbour"}, "cpu").features(torch.rand(1, 3, 48, 40))
    assert not torch.equal(found[1], near[1])


def test_defaults_are_left_out_of_identities():
    random = {"weights": "random", "seed": 0, "clip_resize": "native"}
    assert complete_options(CLIP, {**random, "facet": "language", "attention": "values"}) == {
        **random,
        "facet": "language",
    }
    named = complete_options(CLIP, {**random, "facet": "language", "attention": "neighbour", "deviation": 5})
    assert named == {**random, "facet": "language", "attention": "neighbour"}
    assert complete_options(CLIP, random) == random


BAD = [
    ("vit_small_patch16_224", {}, "facet language is for CLIP"),
    ("vit_base_patch16_siglip_gap_224", {}, "facet language is for CLIP"),
    ("eva02_base_patch16_clip_224", {}, "facet language is for CLIP"),
    ("vit_base_patch16_clip_224.openai_ft_in1k", {"weights": "hub"}, "fine-tuned to classify"),
    (
        "vit_base_patch16_clip_224",
        {"weights": "hub"},
        "laion2b_ft_in12k_in1k were fine-tuned .* choose one of .*openai",
    ),
    (QUICK, {"attention": "near"}, '"near".*neighbour'),
    (QUICK, {"deviation": 3}, "deviation is for attention neighbour only"),
    (QUICK, {"attention": "neighbour", "deviation": 0}, "expected a positive number"),
    (QUICK, {"attention": "neighbour", "deviation": True}, "expected a positive number"),
    (QUICK, {"layers": [1, 2]}, "option layers is not for facet language"),
    (QUICK, {"norm": "all"}, "option norm is not for facet language"),
    (SIGLIP, {"attention": "neighbour"}, "SigLIP has values only"),
    (QUICK, {"facet": "keys", "attention": "neighbour"}, "attention is for facet language"),
]


@pytest.mark.parametrize(("name", "options", "words"), BAD, ids=[words for *_, words in BAD])
def test_what_has_no_such_space_or_option_is_refused(name, options, words):
    with pytest.raises(ConfigError, match=words):
        complete_options(name, {"weights": "random", "facet": "language", **options})


def test_a_file_without_the_projection_is_refused(tmp_path):
    network, _ = small()
    lacking = {key: value for key, value in network.state_dict().items() if not key.startswith("head")}
    torch.save(lacking, tmp_path / "lacking.pt")
    with pytest.raises(DataError, match=r"lacks head\.bias, head\.weight"):
        load_checkpoint(network, tmp_path / "lacking.pt", "small")
