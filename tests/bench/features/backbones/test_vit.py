import pytest
import torch
from torch.nn import functional

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.backbones.network import FrozenNetwork, load_network
from spectral_bench.bench.features.backbones.timm_vit import TimmTransformer, last_keys
from spectral_bench.common.errors import ConfigError

RANDOM = {"weights": "random", "seed": 1}


def image(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def tokens(network, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of all blocks, written out without timm's helper; the prefix is kept."""
    x = network.patch_embed(inputs)
    x = network.norm_pre(network._pos_embed(x))
    outputs = []
    for block in network.blocks:
        x = block(x)
        outputs.append(x)
    return outputs


def test_levels_are_block_0_the_middle_block_and_the_normed_last():
    backbone = load_backbone("vit_tiny_patch16_224", RANDOM, "cpu")
    picture = image(48, 80)
    with torch.no_grad():
        outputs = tokens(backbone.network, (picture - 0.5) / 0.5)
        expected = outputs[0], outputs[6], backbone.network.norm(outputs[11])
    for level, target in zip(backbone.features(picture), expected, strict=True):
        assert level.shape == (1, 3, 5, 192)
        torch.testing.assert_close(level, target[:, 1:].reshape(1, 3, 5, 192))


@pytest.mark.parametrize(
    ("name", "prefix", "depth"),
    [("vit_small_patch16_224.dino", 1, 12), ("vit_tiny_patch16_dinov3_qkvb", 5, 12)],
)
def test_dino_ends_in_the_keys_of_the_last_attention(name, prefix, depth):
    backbone = load_backbone(name, RANDOM, "cpu")
    seen = {}
    attention = backbone.network.blocks[-1].attn
    attention.k_norm.register_forward_hook(lambda module, args, output: seen.update(keys=args[0]))  # (B, heads, N, d)
    picture = image(48, 64)
    levels = backbone.features(picture)
    assert len(backbone.network.blocks) == depth
    assert not seen  # the last block is not run
    with torch.no_grad():
        backbone.network((picture - backbone.mean) / backbone.std)
    width = backbone.info.channels[-1]
    keys = seen["keys"].transpose(1, 2).flatten(2)[:, prefix:]
    torch.testing.assert_close(levels[-1], keys.reshape(1, 3, 4, width))


def test_keys_of_separate_projections():
    class Attention:
        qkv = None
        k_proj = torch.nn.Linear(4, 4)

    x = torch.rand(2, 3, 4)
    assert torch.equal(last_keys(Attention, x), Attention.k_proj(x))


def test_keys_of_a_joint_projection_with_bias():
    class Attention:
        qkv = torch.nn.Linear(4, 12)

    x = torch.rand(2, 3, 4)
    torch.testing.assert_close(last_keys(Attention, x), Attention.qkv(x)[..., 4:8])


def test_networks_that_pool_before_their_norm_get_it_on_each_token():
    backbone = load_backbone("vit_wee_patch16_reg1_gap_256", RANDOM, "cpu")
    high = backbone.features(image(32, 32))[-1]
    assert isinstance(backbone.network.norm, torch.nn.Identity)
    torch.testing.assert_close(high.mean(-1), torch.zeros(1, 2, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(high.std(-1), torch.ones(1, 2, 2), atol=1e-2, rtol=0)


def test_inputs_are_padded_with_zeros_after_normalisation():
    backbone = load_backbone("test_vit", RANDOM, "cpu")
    picture = image(33, 50)
    padded = backbone.mean.expand(1, 3, 48, 64).clone()
    padded[..., :33, :50] = picture
    for level, target in zip(backbone.features(picture), backbone.features(padded), strict=True):
        assert level.shape == (1, 3, 4, 64)
        torch.testing.assert_close(level, target, rtol=1e-4, atol=1e-5)


def test_position_embeddings_follow_the_input():
    """At the pretrained size they are used as they are; at another one they are interpolated, so results differ."""
    backbone = load_backbone("test_vit", RANDOM, "cpu")
    grid = backbone.network.patch_embed.grid_size
    flat = torch.full((1, 3, 160, 160), 0.3)
    low = backbone.features(flat)[0]
    assert low.shape[1:3] == grid == (10, 10)
    assert not torch.allclose(low[0, 0, 0], low[0, 5, 5])  # positions are seen on a flat image
    wide = backbone.features(torch.full((1, 3, 160, 320), 0.3))[0]
    assert wide.shape[1:3] == (10, 20)
    assert torch.isfinite(wide).all()


def native_backbone() -> FrozenNetwork:
    described = TimmTransformer("test_vit", {"weights": "random", "seed": 0})
    described.native = 160, 160
    return load_network(described, "cpu")


def test_a_native_network_sees_the_resized_image():
    backbone = native_backbone()
    picture = image(75, 210)
    resized = functional.interpolate(picture, (160, 160), mode="bicubic", antialias=True).clamp(0, 1)
    levels = backbone.features(picture)
    assert levels[0].shape == (1, *backbone.info.grid(75, 210), 64) == (1, 10, 10, 64)
    for level, target in zip(levels, backbone.features(resized), strict=True):
        torch.testing.assert_close(level, target, rtol=1e-4, atol=1e-5)


def test_clip_options_choose_between_resizing_and_interpolation():
    name = "vit_xsmall_patch16_clip_224"
    native = load_backbone(name, RANDOM, "cpu")
    interpolated = load_backbone(name, RANDOM | {"clip_resize": "interpolate"}, "cpu")
    picture = image(224, 224)
    for one, other in zip(native.features(picture), interpolated.features(picture), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # at the native size both are the same
    assert native.features(image(64, 96))[0].shape[1:3] == (14, 14)
    assert interpolated.features(image(64, 96))[0].shape[1:3] == (4, 6)


def test_images_do_not_depend_on_their_batch():
    backbone = load_backbone("test_vit", RANDOM, "cpu")
    pictures = torch.rand(3, 3, 48, 48)
    together = backbone.features(pictures)
    for level, target in zip(backbone.features(pictures[1:2]), together, strict=True):
        assert torch.equal(level[0], target[1])


def test_random_weights_differ_by_seed():
    first, again, other = (
        load_backbone("test_vit", {"weights": "random", "seed": seed}, "cpu").features(image(32, 32))[2]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_what_timm_cannot_build_is_refused(monkeypatch):
    def broken(*args, **kwargs):
        raise TypeError("no such argument")

    monkeypatch.setattr("timm.create_model", broken)
    with pytest.raises(ConfigError, match="test_vit: timm cannot build it"):
        load_backbone("test_vit", RANDOM, "cpu")
