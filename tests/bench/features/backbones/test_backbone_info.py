import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.features.backbones import BackboneInfo, backbone_info, backbone_names, timm_names
from spectral_bench.bench.features.backbones.timm_names import _built, width_and_patch
from spectral_bench.common.errors import ConfigError

CLIP = "vit_base_patch16_clip_quickgelu_224"


def test_facts_of_the_embedded_default():
    info = backbone_info("efficientnet_lite0")
    assert info == BackboneInfo("efficientnet_lite0", 16, (64, 192, 320), "efficientnet", None)


@pytest.mark.parametrize(
    ("name", "stride", "width", "family"),
    [
        ("vit_tiny_patch16_224", 16, 192, "vit"),
        ("vit_small_patch16_384", 16, 384, "vit"),
        ("vit_large_patch16_384.augreg_in21k_ft_in1k", 16, 1024, "vit"),
        ("vit_small_patch8_224.dino", 8, 384, "dino"),
        ("vit_base_patch14_reg4_dinov2", 14, 768, "dino"),
        ("test_vit", 16, 64, "vit"),
    ],
)
def test_facts_of_transformers(name, stride, width, family):
    assert backbone_info(name) == BackboneInfo(name, stride, (width,) * 3, family, None)


def test_clip_is_native_unless_told_otherwise():
    assert backbone_info(CLIP).native == (224, 224)
    assert backbone_info(CLIP, {"clip_resize": "interpolate"}).native is None
    assert backbone_info(CLIP).family == "clip"


def assert_as_built(name):
    known = timm_names._kept()["models"][name]
    built = _built(name)
    assert {key: known.get(key) for key in SHAPE} == {key: built.get(key) for key in SHAPE}, name
    assert width_and_patch(name) == (built["width"], built["patch"][0])


SHAPE = ("width", "patch", "depth", "queries", "keys", "values", "attentions")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_384", "vit_small_patch16_18x2_224", "test_vit"])
def test_the_kept_shape_is_that_of_the_network(name):
    assert_as_built(name)


@pytest.mark.nightly
def test_the_kept_shapes_are_those_of_every_network():
    names = timm_names.transformer_names()
    assert len(names) > 200
    for name in names:
        assert_as_built(name)
    staged = timm_names.staged_names()
    assert len(staged) > 350
    for name in staged:
        assert timm_names.stages(name) == tuple(map(tuple, timm_names._built_stages(name))), name


def test_patches_that_are_not_square_are_refused(monkeypatch):
    odd = {"odd_vit": {"width": 8, "patch": [16, 8], "tags": [], "default": ""}}
    monkeypatch.setattr(timm_names, "_models", lambda: odd)
    monkeypatch.setattr(timm_names, "_kept", lambda: {"models": odd})
    with pytest.raises(ConfigError, match="odd_vit: its patches are 16 x 8 pixels; only square ones will do"):
        backbone_info("odd_vit", {"weights": "random"})


@pytest.mark.slow
def test_native_sizes_read_off_names_are_those_of_the_networks():
    import timm

    names = [name for name in backbone_names() if "_clip_" in name]
    assert len(names) > 20
    for name in names:
        with torch.device("meta"):
            network = timm.create_model(name, num_classes=0, depth=1)  # of as many blocks as will do
        info = backbone_info(name, {"weights": "random"})  # weights of another activation are refused
        assert info.native == network.patch_embed.img_size, name


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    stride=st.sampled_from([8, 14, 16, 32]),
)
def test_grid_covers_the_input_with_less_than_a_patch_to_spare(height, width, stride):
    info = BackboneInfo("any", stride, (1, 1, 1), "vit")
    rows, columns = info.grid(height, width)
    assert info.cover(height, width) == (rows * stride, columns * stride)
    assert 0 <= rows * stride - height < stride
    assert 0 <= columns * stride - width < stride


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_a_native_grid_spans_the_input_whatever_its_size(height, width):
    info = BackboneInfo("any", 14, (1, 1, 1), "clip", (336, 336))
    assert info.grid(height, width) == (24, 24)
    assert info.cover(height, width) == (height, width)


def test_bad_names_and_options_are_refused():
    with pytest.raises(ConfigError, match="unknown backbone"):
        backbone_info("swin_tiny_patch4_window7_224")
    with pytest.raises(ConfigError, match="unknown option"):
        backbone_info("efficientnet_lite0", {"size": 3})
