import subprocess
import sys

import pytest

from spectral_bench.bench.features.backbones import backbone_names
from spectral_bench.bench.features.backbones.names import check_name, is_clip, is_dino, pretrained_tags, split_name
from spectral_bench.common.errors import ConfigError


def test_names_match_timms_own_registry():
    import timm

    expected = {name for module in ("vision_transformer", "deit", "eva") for name in timm.list_models(module=module)}
    assert set(backbone_names()) == expected | {"efficientnet_lite0"}
    assert backbone_names()[0] == "efficientnet_lite0"


@pytest.mark.parametrize(
    "architecture", ["vit_small_patch16_224", "vit_base_patch16_clip_quickgelu_224", "deit3_base_patch16_224"]
)
def test_tags_match_timms_own_registry(architecture):
    import timm

    expected = {full.split(".")[1] for full in timm.list_pretrained(architecture + ".*")}
    assert expected
    assert expected <= set(pretrained_tags(architecture))


def test_listing_names_and_facts_imports_no_torch():
    code = """
import sys
from spectral_bench.bench.features.backbones import backbone_info, backbone_names, complete_options, weights_digest
backbone_names()
backbone_info("efficientnet_lite0"), backbone_info("vit_small_patch16_384"), backbone_info("vit_base_patch14_dinov2")
assert weights_digest("efficientnet_lite0")
complete_options("vit_base_patch16_clip_quickgelu_224", {})
print([name for name in ("torch", "timm") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_split_name_takes_the_tag_off():
    assert split_name("vit_small_patch16_224.dino") == ("vit_small_patch16_224", "dino")
    assert split_name("vit_small_patch16_224") == ("vit_small_patch16_224", "")


def test_clip_with_quick_gelu_stands_for_the_weights_of_openai():
    assert split_name("vit_base_patch16_clip_quickgelu_224") == ("vit_base_patch16_clip_quickgelu_224", "openai")
    assert split_name("vit_base_patch16_clip_quickgelu_224.metaclip_400m")[1] == "metaclip_400m"
    assert split_name("vit_huge_patch14_clip_quickgelu_378")[1] == ""  # OpenAI trained no such network


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r'unknown backbone "efficientnet_lit0"; did you mean "efficientnet_lite0"'):
        check_name("efficientnet_lit0")
    with pytest.raises(ConfigError, match='did you mean "vit_small_patch16_384"'):
        check_name("vit_smal_patch16_384")


def test_an_unknown_tag_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r'pretrained tag "dinno"; did you mean "dino"\? valid: augreg_in1k'):
        check_name("vit_small_patch16_224.dinno")


def test_openai_weights_want_quick_gelu():
    with pytest.raises(ConfigError, match=r"use vit_base_patch16_clip_quickgelu_224\.openai"):
        check_name("vit_base_patch16_clip_224.openai")
    check_name("vit_base_patch16_clip_quickgelu_224.openai")


@pytest.mark.parametrize(
    ("name", "dino", "clip"),
    [
        ("vit_small_patch16_224.dino", True, False),
        ("vit_small_patch14_dinov2", True, False),
        ("vit_base_patch32_clip_quickgelu_224", False, True),
        ("vit_small_patch16_384", False, False),
    ],
)
def test_families_are_read_off_the_name(name, dino, clip):
    assert is_dino(name) is dino
    assert is_clip(name) is clip
