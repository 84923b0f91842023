import pytest

from spectral_bench.bench.features.backbones import complete_options
from spectral_bench.common.errors import ConfigError

CLIP = "vit_base_patch16_clip_quickgelu_224"
DINO = "vit_small_patch16_224.dino"


@pytest.mark.parametrize(
    ("name", "given", "complete"),
    [
        ("efficientnet_lite0", {}, {"weights": "package"}),
        ("vit_small_patch16_384", {}, {"weights": "hub"}),
        ("vit_small_patch16_384", {"weights": "random"}, {"weights": "random", "seed": 0}),
        ("efficientnet_lite0", {"weights": "random", "seed": 3}, {"weights": "random", "seed": 3}),
        (CLIP, {}, {"weights": "hub", "clip_resize": "native"}),
        (DINO, {"facet": "last_keys", "layers": "thirds", "norm": True}, {"weights": "hub"}),
        (DINO, {"facet": "keys"}, {"weights": "hub", "facet": "keys"}),
        (DINO, {"layers": [0, 6, -1]}, {"weights": "hub"}),
        (DINO, {"layers": [-2, -1]}, {"weights": "hub", "layers": [10, 11]}),
        (DINO, {"layers": -1}, {"weights": "hub", "layers": [11]}),
        (DINO, {"facet": "tokens", "norm": "all"}, {"weights": "hub", "facet": "tokens", "norm": "all"}),
        ("vit_small_patch16_384", {"facet": "tokens", "norm": False}, {"weights": "hub", "norm": False}),
        # What the weights are counts, not what the name says: these two have other features than before, and say so.
        ("vit_small_patch8_224", {}, {"weights": "hub", "facet": "last_keys"}),
        ("vit_tiny_patch16_dinov3_qkvb", {}, {"weights": "hub", "facet": "tokens"}),
        ("vit_small_patch8_224.dino", {}, {"weights": "hub"}),
        ("vit_small_patch8_224", {"weights": "random"}, {"weights": "random", "seed": 0}),
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
        ("efficientnet_lite0", {"facet": "keys"}, 'unknown option "facet"'),
        (DINO, {"facet": "key"}, r'option facet: unknown value "key"; did you mean "keys"'),
        (DINO, {"facets": "keys"}, r'unknown option "facets"; did you mean "facet"'),
        (DINO, {"layers": [40]}, r"expected thirds, or ascending numbers of its 12 blocks, -12 to 11; got \[40\]"),
        (DINO, {"layers": [3, 1]}, r"from low to high and each once; got \[3, 1\]"),
        (DINO, {"layers": [-1, 11]}, r"from low to high and each once; got \[-1, 11\]"),
        (DINO, {"layers": []}, r"expected thirds, or .* got \[\]"),
        (DINO, {"layers": [True]}, r"got \[True\]"),
        (DINO, {"layers": "last"}, r"got 'last'"),
        (DINO, {"norm": "none"}, "option norm: expected true, false or all, got 'none'"),
        (DINO, {"norm": False}, "norm is for tokens, and the facet here is last_keys"),
        ("vit_small_patch16_18x2_224", {"facet": "keys"}, "its blocks have 2 attentions side by side"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        complete_options(name, options)
