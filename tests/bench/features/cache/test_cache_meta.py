import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spectral_bench.bench.features.cache import meta
from spectral_bench.bench.features.cache.meta import CachedImage, CacheMeta, Costs, array_files, file_check, packed
from spectral_bench.common.geometry import Crop

side = st.integers(1, 5000)


@given(
    rows=side, columns=side, top=st.integers(-50, 5000), left=st.integers(-50, 5000), height=side, width=side,
    flip=st.booleans(),
)  # fmt: skip
def test_crops_survive_packing(rows, columns, top, left, height, width, flip):
    crop = Crop((rows, columns), top, left, height, width, flip)
    image = CachedImage(id="a", size=(rows, columns), grid=(2, 3), crops=(packed(crop), packed(crop)))
    assert image.crop(0) == image.crop(1) == crop
    assert image.n_patches == 12


def example() -> CacheMeta:
    images = tuple(
        CachedImage(id=name, size=(32, 48), grid=(2, 3), crops=(packed(Crop.whole(32, 48)),)) for name in "ab"
    )
    return CacheMeta(
        format_version=1,
        material={"backbone": "any", "options": {"seed": 1}},
        data_digest="d",
        dtype="float16",
        channels=(4, 5),
        images=images,
        files={},
        costs=Costs(wall_s=1.0, cpu_s=2.0),
    )


def test_a_description_survives_json():
    assert CacheMeta.model_validate_json(example().model_dump_json()) == example()
    assert example().n_patches == 12


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format_version":1', '"format_version":2'),
        ('"format_version":1,', ""),
        ('"dtype":"float16"', '"dtype":"int8"'),
        ('"data_digest"', '"digest"'),
        ('"grid":[2,3]', '"grid":["2",3]'),
    ],
)
def test_another_format_is_not_understood(old, new):
    text = example().model_dump_json()
    assert old in text
    with pytest.raises(ValidationError):
        CacheMeta.model_validate_json(text.replace(old, new))


def test_files_are_the_levels_and_the_pixels():
    assert array_files((64, 192, 320)) == {"level0.bin": 64, "level1.bin": 192, "level2.bin": 320, "pixels.bin": 3}


@given(data=st.binary(max_size=300))
def test_small_files_are_checked_whole(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("check") / "file"
    file.write_bytes(data)
    check = file_check(file)
    assert (check.size, check.crc32) == (len(data), zlib.crc32(data))


@given(place=st.integers(0, 199), value=st.integers(1, 255))
def test_any_changed_byte_of_a_small_file_is_seen(tmp_path_factory, place, value):
    file = tmp_path_factory.mktemp("check") / "file"
    data = bytearray(range(200))
    file.write_bytes(data)
    before = file_check(file)
    data[place] ^= value
    file.write_bytes(data)
    assert file_check(file) != before


def test_of_large_files_blocks_are_sampled_the_first_and_the_last_among_them(tmp_path, monkeypatch):
    monkeypatch.setattr(meta, "BLOCK", 10)
    monkeypatch.setattr(meta, "FULL_CHECK", 40)
    data = bytes(range(1, 256)) * 4  # 102 blocks of which 4 are read
    file = tmp_path / "file"

    def check(changed: int | None = None):
        altered = bytearray(data)
        if changed is not None:
            altered[changed] ^= 1
        file.write_bytes(altered)
        return file_check(file)

    seen = [place for place in range(0, len(data), 5) if check(place) != check()]
    assert sorted({place // 10 for place in seen}) == [0, 33, 67, 101]
    file.write_bytes(data[:-1])
    assert file_check(file) != check()
