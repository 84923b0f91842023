from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.datasets.camvid import CamVid
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.verify import SplitReport, splits_on_disk, verify


def _report(root: Path, split: str, **options: object) -> SplitReport:
    reports = verify(CamVid(DataRoots((root,))), **options)  # type: ignore[arg-type]
    return next(report for report in reports if report.split == split)


def test_a_sound_split_is_counted_and_read(camvid_root: Path) -> None:
    report = _report(camvid_root, "train")
    assert report == SplitReport("train", found=3, official=367, read=3, problems=())
    assert report.sound
    assert not report.complete


def test_a_split_that_is_absent_is_told_and_not_sound(camvid_root: Path) -> None:
    report = _report(camvid_root, "test")
    assert (report.found, report.official, report.read) == (0, 233, 0)
    assert not report.sound
    assert all("no such folder" in line for line in report.problems)
    assert splits_on_disk(CamVid(DataRoots((camvid_root,)))) == ("train", "val")


def test_generated_data_is_complete() -> None:
    data = open_data("synthetic", DataRoots())
    assert splits_on_disk(data) == ("train", "val")
    reports = verify(data, sample=2)
    assert [(report.found, report.read, report.complete, report.sound) for report in reports] == [
        (64, 2, True, True),
        (32, 2, True, True),
    ]


def test_reading_finds_what_headers_do_not_tell(camvid_root: Path, label_png: Callable[..., Path]) -> None:
    bad = label_png(camvid_root / "camvid" / "valannot" / "e.png", np.full((12, 16), 40, np.uint8))
    assert CamVid(DataRoots((camvid_root,))).problems("val") == []
    report = _report(camvid_root, "val")
    assert report.problems == (f"{bad}: label value 40 at row 0, column 0; expected 0 to 11",)
    assert not report.sound


def test_everything_is_listed_at_once_and_each_file_once(
    camvid_root: Path, photo: Callable[..., Path], label_png: Callable[..., Path]
) -> None:
    base = camvid_root / "camvid"
    truncated, lonely = base / "train" / "a.jpg", base / "train" / "b.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-20])
    (base / "trainannot" / "b.png").unlink()
    label_png(base / "trainannot" / "c.png", np.full((12, 16), 99, np.uint8))
    duplicate = photo(base / "train" / "c.png")
    problems = _report(camvid_root, "train").problems
    starts = [f"{duplicate}: has the same stem", f"{truncated}: cannot be read", f"{lonely}: has no label"]
    starts.append(f"{base / 'trainannot' / 'c.png'}: label value 99")
    assert len(problems) == 4
    for start in starts:
        assert sum(line.startswith(start) for line in problems) == 1


@pytest.mark.parametrize(("sample", "expected"), [(0, 0), (1, 1), (3, 3), (10, 3), (None, 3)])
def test_the_sample_is_no_larger_than_the_split(camvid_root: Path, sample: int | None, expected: int) -> None:
    assert _report(camvid_root, "train", sample=sample).read == expected


def test_progress_counts_all_images_of_all_splits(camvid_root: Path) -> None:
    calls: list[tuple[int, int]] = []
    verify(CamVid(DataRoots((camvid_root,))), jobs=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 5) for i in range(1, 6)]


@pytest.mark.camvid
def test_the_real_images_are_sound(camvid_data: DataRoots) -> None:
    reports = {report.split: report for report in verify(open_data("camvid", camvid_data), sample=10, jobs=2)}
    for split in ("train", "val"):
        assert reports[split].sound
        assert reports[split].complete
        assert reports[split].read == 10
