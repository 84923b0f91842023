from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.cache.meta import gigabytes, planned_bytes, require_room
from spectral_bench.common.errors import StoreError

INFO = backbone_info("efficientnet_lite0")


def test_planned_bytes_of_camvid():
    # 468 images of 22 x 30 patches, 64 + 192 + 320 channels and 3 colours, 2 bytes each
    assert planned_bytes(468, 1, 352, 480, INFO, "float16") == 468 * 22 * 30 * 579 * 2


@given(
    n=st.integers(1, 1000),
    views=st.integers(1, 8),
    height=st.integers(16, 600),
    width=st.integers(16, 600),
)
def test_planned_bytes_grow_in_proportion(n, views, height, width):
    one = planned_bytes(1, 1, height, width, INFO, "float16")
    assert planned_bytes(n, views, height, width, INFO, "float16") == n * views * one
    assert planned_bytes(n, views, height, width, INFO, "float32") == 2 * n * views * one


def test_native_networks_need_the_same_whatever_the_image():
    info = backbone_info("vit_base_patch16_clip_quickgelu_224")
    assert planned_bytes(1, 1, 500, 900, info, "float16") == 14 * 14 * (3 * 768 + 3) * 2


def test_the_limit_is_kept(tmp_path):
    require_room(tmp_path, 1000, 1000)
    with pytest.raises(StoreError, match=r"would take 1 kB, more than the limit of 999 bytes; raise --cache-limit"):
        require_room(tmp_path, 1000, 999)


def test_the_disk_is_not_overrun(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 9 * 10**8, 10**8))
    require_room(tmp_path, 10**8, 10**12)
    with pytest.raises(StoreError, match=r"would take 123 MB and 100 MB are free on its disk.*features\.mode: online"):
        require_room(tmp_path, 123 * 10**6, 10**12)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (50 * 10**9, "50 GB")],
)
def test_bytes_in_words(count, words):
    assert gigabytes(count) == words
