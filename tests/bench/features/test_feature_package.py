import subprocess
import sys

import pytest

import spectral_bench.bench.features


def test_planning_with_features_imports_no_torch():
    code = (
        "import sys; from spectral_bench.bench.features import planned_bytes\n"
        "from spectral_bench.bench.features.backbones import backbone_info\n"
        "assert planned_bytes(2, 1, 32, 32, backbone_info('efficientnet_lite0'), 'float16') == 2 * 4 * 579 * 2\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", spectral_bench.bench.features.__all__)
def test_every_public_name_is_there(name):
    assert getattr(spectral_bench.bench.features, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'open_labels'"):
        spectral_bench.bench.features.open_labels  # noqa: B018


def test_keys_of_caches_can_be_planned_without_torch():
    code = (
        "import sys; from spectral_bench.bench.features.cache.meta import cache_key, cache_material\n"
        "from spectral_bench.bench.features.recipes import WholeRecipe\n"
        "from spectral_bench.results.specification import BackboneSpec, Resize\n"
        "backbone = BackboneSpec(name='efficientnet_lite0')\n"
        "material = cache_material({'dataset': 'd'}, WholeRecipe(Resize()), backbone, 'w', 'float16')\n"
        "print(len(cache_key(material)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["16", "False"]
