import importlib.metadata
import json
import re
import subprocess
import sys

import pytest

from spectral_bench.bench.features.backbones import backbone_names, complete_options, timm_names
from spectral_bench.bench.features.backbones.timm_hub import pretrained_config
from spectral_bench.bench.features.backbones.timm_names import (
    KEPT,
    ask_timm,
    check_name,
    default_tag,
    is_clip,
    is_dino,
    is_quick,
    pretrained_tags,
    split_name,
    width_and_patch,
)
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import is_path

SOME = ("test_vit", "vit_small_patch16_224", "vit_base_patch16_clip_quickgelu_224", "vit_base_patch14_dinov2")


def test_names_match_timms_own_registry():
    import timm

    expected = {name for module in timm_names._MODULES for name in timm.list_models(module=module)}
    expected |= {name for module in timm_names._STAGED for name in timm.list_models(module=module)}
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
        complete_options("efficientnet_lit0", {})
    with pytest.raises(ConfigError, match='did you mean "vit_small_patch16_384"'):
        complete_options("vit_smal_patch16_384", {})


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
        ("vit_small_patch16_dinov3.lvd1689m", True, False),
        ("vit_small_patch8_224", True, False),  # timm's default weights are DINO's
        ("vit_small_patch16_224", False, False),
        ("vit_small_patch16_dinov3_qkvb.eupe_lvd1689m", False, False),  # built like DINOv3, trained otherwise
        ("vit_tiny_patch16_dinov3_qkvb", False, False),  # whose default weights are EUPE's
        ("vit_base_patch32_clip_quickgelu_224", False, True),
        ("vit_small_patch16_384", False, False),
    ],
)
def test_families_are_those_of_the_weights(name, dino, clip):
    assert is_dino(name) is dino
    assert is_clip(name) is clip


def clip_names():
    """Every CLIP transformer of timm's registry: architecture, tag, and what timm says of its weights."""
    import timm
    from timm.models import get_pretrained_cfg

    for module in ("vision_transformer", "deit", "eva"):
        for architecture in timm.list_models("*_clip_*", module=module):
            for full in timm.list_pretrained(f"{architecture}.*"):
                yield full, get_pretrained_cfg(full)


def wants_quick(full, config, all_names):
    """Timm's own registry says it in two ways: by a note, and by a quick-GELU name for the very same file."""
    noted = any("quickgelu" in note.lower() for note in config.notes or ())
    twin = full.replace("_clip_", "_clip_quickgelu_") in all_names
    return noted or twin


def activation(architecture):
    import timm
    import torch

    with torch.device("meta"):
        return type(timm.create_model(architecture, num_classes=0, depth=1).blocks[0].mlp.act).__name__


@pytest.mark.slow
def test_no_clip_name_of_timm_gets_weights_of_another_activation():
    names = dict(clip_names())
    assert len(names) > 80
    refused, architectures = [], {full.partition(".")[0] for full in names}
    quick = {name for name in architectures if activation(name) == "QuickGELU"}
    assert quick == {name for name in architectures if is_quick(name)}
    files = {config.hf_hub_id for full, config in names.items() if is_quick(full.partition(".")[0])}
    for full, config in names.items():
        architecture, _, tag = full.partition(".")
        if architecture in quick:
            check_name(full)
            assert pretrained_config(full).tag == tag
        elif wants_quick(full, config, names) or config.hf_hub_id in files:
            right = f"{architecture.replace('_clip_', '_clip_quickgelu_')}.{tag}"
            for check in (check_name, pretrained_config):
                with pytest.raises(ConfigError, match=re.escape(f"trained with quick-GELU; use {right}")):
                    check(full)
            check_name(right)
            refused.append(full)
        else:
            check_name(full)
            assert pretrained_config(full).tag == tag
    assert len(refused) >= 17
    assert sum("openai" in name for name in refused) >= 4


def test_tags_of_quick_gelu_variants_are_those_that_timm_has():
    names = dict(clip_names())
    for architecture in {full.partition(".")[0] for full in names}:
        if not is_quick(architecture):
            continue
        expected = {full.partition(".")[2] for full in names if full.startswith(f"{architecture}.")}
        assert set(pretrained_tags(architecture)) == expected
        plain = architecture.replace("_clip_quickgelu_", "_clip_")
        for tag in {full.partition(".")[2] for full in names if full.startswith(f"{plain}.")} - expected:
            with pytest.raises(ConfigError, match=re.escape(f"go with plain GELU; use {plain}.{tag}")):
                complete_options(f"{architecture}.{tag}", {})
            with pytest.raises(ConfigError, match="timm has no pretrained weights of this name"):
                pretrained_config(f"{architecture}.{tag}")


def test_a_default_is_timms_own_and_refused_where_its_activation_is_another():
    from timm.models import get_pretrained_cfg

    names = dict(clip_names())
    architectures = {full.partition(".")[0] for full in names}
    for architecture in architectures - {name for name in architectures if is_quick(name)}:
        default = get_pretrained_cfg(architecture)
        assert default_tag(architecture) == default.tag
        if wants_quick(f"{architecture}.{default.tag}", default, names):
            right = f"{architecture.replace('_clip_', '_clip_quickgelu_')}.{default.tag}"
            with pytest.raises(ConfigError, match=re.escape(f"use {right}")):
                complete_options(architecture, {})
            complete_options(architecture, {"weights": "random"})
        else:
            complete_options(architecture, {})


def test_default_weights_of_another_activation_name_those_that_will_do():
    with pytest.raises(ConfigError, match=r"use vit_huge_patch14_clip_quickgelu_378\.dfn5b, or one of its weights for"):
        complete_options("vit_huge_patch14_clip_378", {})


@pytest.mark.parametrize("name", ["vit_base_patch16_clip_224.metaclip_400m", "vit_huge_patch14_clip_378"])
def test_timms_registry_has_the_last_word(name, monkeypatch):
    """Whatever the table says that names were checked by."""
    monkeypatch.setattr("spectral_bench.bench.features.backbones.timm_names._models", dict)
    with pytest.raises(ConfigError, match="trained with quick-GELU; use"):
        pretrained_config(name)


def test_the_kept_table_is_what_the_installed_timm_says():
    kept = json.loads(KEPT.read_text())
    if kept["timm"] != importlib.metadata.version("timm"):
        pytest.skip(f"the table is of timm {kept['timm']}, so it is not used: see the next test")
    told = {name: {key: model[key] for key in ("tags", "default")} for name, model in kept["models"].items()}
    asked = ask_timm()
    assert told == {name: {key: model[key] for key in ("tags", "default")} for name, model in asked.items()}
    staged = {name for name, model in kept["models"].items() if "stages" in model}
    assert staged == {name for name, model in asked.items() if "stages" in model}
    assert (len(told) - len(staged) > 200, len(staged) > 350) == (True, True)


def test_another_timm_is_asked_itself(monkeypatch):
    expected = [(name, pretrained_tags(name), default_tag(name), width_and_patch(name)) for name in SOME]
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0.99")
    monkeypatch.setattr(timm_names, "_models", timm_names._models.__wrapped__)
    table = timm_names._models()
    assert "width" not in table["test_vit"]  # it was not the kept table
    monkeypatch.setattr(timm_names, "_models", lambda: table)
    monkeypatch.setattr(timm_names, "_kept", lambda: {"models": {}})  # none of whose networks is known there
    assert [(name, pretrained_tags(name), default_tag(name), width_and_patch(name)) for name in SOME] == expected
    with pytest.raises(ConfigError, match="unknown backbone"):
        complete_options("vit_smal_patch16_384", {})


def test_a_machine_without_timm_says_so(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ConfigError, match="timm is not installed; it provides the vision transformers"):
        timm_names._models.__wrapped__()


def test_no_name_of_timm_looks_like_a_path():
    names = [f"{name}.{tag}" for name in backbone_names() for tag in pretrained_tags(name)]
    assert len(names) > 200
    assert not list(filter(is_path, names))
