"""Digests follow what is in the files, and read each file once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import spectral_bench.datasets.contents as module
from spectral_bench.common.digests import apart, tells_contents
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.camvid import CamVid
from spectral_bench.datasets.contents import contents_digest, times_digest
from spectral_bench.datasets.imagenet import ImageNet
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.pascal_context import PascalContext

LONG_AGO = 1_600_000_000
_DAY_NS = 86_400 * 10**9


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three files that changed a day ago, as far as the clock of the digests knows, and a memory of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    now = time.time_ns
    monkeypatch.setattr(module.time, "time_ns", lambda: now() + _DAY_NS)
    (tmp_path / "data").mkdir()
    found = {stem: tmp_path / "data" / f"{stem}.bin" for stem in "abc"}
    for stem, path in found.items():
        path.write_text(stem * 9)
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, in no order."""
    names: list[str] = []
    real = module._hash
    monkeypatch.setattr(module, "_hash", lambda name: names.append(Path(name).stem) or real(name))
    return names


def _digest(files: dict[str, Path]) -> str:
    return contents_digest(files, next(iter(files.values())).parent)


def _forget() -> None:
    """What another process would know: the file of the memory alone."""
    module._Memory._loaded.clear()


def test_a_file_is_read_once(files: dict[str, Path], read: list[str]) -> None:
    first = _digest(files)
    assert sorted(read) == ["a", "b", "c"]
    _forget()
    assert _digest(files) == first
    assert len(read) == 3


def test_an_edit_of_the_same_size_is_seen_even_where_its_time_is_put_back(
    files: dict[str, Path], read: list[str]
) -> None:
    first, before = _digest(files), files["b"].stat()
    files["b"].write_text("x" * 9)
    os.utime(files["b"], ns=(before.st_atime_ns, before.st_mtime_ns))
    _forget()
    assert _digest(files) != first
    assert read[3:] == ["b"]
    files["b"].write_text("b" * 9)
    assert _digest(files) == first


def test_a_touched_or_moved_file_is_read_again_and_has_the_same_digest(files: dict[str, Path], read: list[str]) -> None:
    first = _digest(files)
    files["a"].touch()
    assert _digest(files) == first
    assert read[3:] == ["a"]
    moved = files["a"].parent.rename(files["a"].parents[1] / "moved")
    assert _digest({stem: moved / path.name for stem, path in files.items()}) == first


def test_a_file_that_has_just_changed_is_not_remembered(
    files: dict[str, Path], read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = max(path.stat().st_ctime_ns for path in files.values())
    monkeypatch.setattr(module.time, "time_ns", lambda: changed + 10**9)
    _digest(files)
    _digest(files)
    assert len(read) == 6


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 1, "files": {"x": [1]}}', '{"version": 9, "files": {}}']
)
def test_a_memory_that_cannot_be_read_is_made_anew(files: dict[str, Path], read: list[str], content: str) -> None:
    first = _digest(files)
    (memory,) = (files["a"].parents[1] / "cache" / "spectral-bench" / "contents").iterdir()
    memory.write_text(content)
    _forget()
    assert _digest(files) == first
    assert len(read) == 6
    assert len(json.loads(memory.read_text())["files"]) == 3


def test_a_memory_that_cannot_be_written_costs_nothing_but_time(files: dict[str, Path]) -> None:
    first = _digest(files)
    cache = files["a"].parents[1] / "cache"
    for path in sorted(cache.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    cache.rmdir()
    cache.write_text("no folder")
    _forget()
    assert _digest(files) == first


def test_a_file_that_is_gone_is_a_data_error(files: dict[str, Path]) -> None:
    files["b"].unlink()
    for digest in (_digest, times_digest):
        with pytest.raises(DataError, match=r"b\.bin: no such file"):
            digest(files)


def test_images_and_labels_of_a_split_are_told_by_contents(camvid_root: Path) -> None:
    data = CamVid(DataRoots((camvid_root,)))
    images, labels = data.images("val").digest(), data.labels("val").digest()
    assert tells_contents(images)
    for path in (data.images("val").path("d"), data.labels("val").path("d")):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert apart(data.images("val").digest(), images)
    assert apart(data.labels("val").digest(), labels)
    assert not apart(data.images("val").digest(), images.partition("+")[0])  # as an earlier release wrote it


def test_images_of_imagenet_are_told_by_sizes_and_times(tmp_path: Path, photo: Callable[..., Path]) -> None:
    path = photo(tmp_path / "imagenet" / "val" / "v.JPEG")
    os.utime(path, (LONG_AGO, LONG_AGO))
    images = ImageNet(DataRoots((tmp_path,))).images("val")
    first = images.digest()
    path.write_bytes(bytes(path.stat().st_size))
    assert apart(images.digest(), first)
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert images.digest() == first  # nothing is read


def test_forms_of_the_labels_of_pascal_context_are_not_held_against_each_other(tmp_path: Path) -> None:
    voc = tmp_path / "VOCdevkit" / "VOC2010"
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    for folder, suffix in (("JPEGImages", "jpg"), ("trainval", "mat"), ("SegmentationClassContext", "png")):
        (voc / folder).mkdir()
        (voc / folder / f"a.{suffix}").write_text(folder)
    data = PascalContext(DataRoots((tmp_path,)))
    png = data.labels("val").digest()
    label = voc / "SegmentationClassContext" / "a.png"
    label.write_text("segmentationclasscontext")
    assert apart(data.labels("val").digest(), png)
    label.unlink()
    assert not apart(data.labels("val").digest(), png)
