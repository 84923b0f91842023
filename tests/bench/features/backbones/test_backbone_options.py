import pytest

from spectral_bench.bench.features.backbones import complete_options
from spectral_bench.common.errors import ConfigError

CLIP = "vit_base_patch16_clip_quickgelu_224"


@pytest.mark.parametrize(
    ("name", "given", "complete"),
    [
        ("efficientnet_lite0", {}, {"weights": "package"}),
        ("vit_small_patch16_384", {}, {"weights": "hub"}),
        ("vit_small_patch16_384", {"weights": "random"}, {"weights": "random", "seed": 0}),
        ("efficientnet_lite0", {"weights": "random", "seed": 3}, {"weights": "random", "seed": 3}),
        (CLIP, {}, {"weights": "hub", "clip_resize": "native"}),
        (CLIP, {"clip_resize": "interpolate"}, {"weights": "hub", "clip_resize": "interpolate"}),
    ],
)
def test_defaults_are_filled_in(name, given, complete):
    assert complete_options(name, given) == complete
    assert complete_options(name, complete) == complete


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("efficientnet_lite0", {"wieghts": "random"}, r'unknown option "wieghts"; did you mean "weights"\?'),
        ("efficientnet_lite0", {"weights": "hub"}, r'option weights: unknown value "hub"; valid: package, random'),
        ("efficientnet_lite0", {"weights": None}, r'option weights: unknown value "None"'),
        ("efficientnet_lite0", {"weights": ["random"]}, "option weights: unknown value"),
        ("vit_small_patch16_384", {"clip_resize": "native"}, 'unknown option "clip_resize"'),
        (CLIP, {"clip_resize": "nativ"}, 'did you mean "native"'),
        ("vit_small_patch16_384", {"seed": 1}, "seed is for random weights only"),
        ("vit_small_patch16_384", {"weights": "random", "seed": -1}, "expected a whole number from 0, got -1"),
        ("vit_small_patch16_384", {"weights": "random", "seed": True}, "expected a whole number"),
        ("vit_small_patch16_384", {"weights": "random", "seed": "1"}, "expected a whole number"),
        ("no_such_backbone", {}, "unknown backbone"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        complete_options(name, options)
