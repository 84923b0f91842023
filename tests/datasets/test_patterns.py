"""Files by patterns, and lists of ids, in the description of a user's own data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.patterns import list_files, only_listed, pattern_problem
from spectral_bench.datasets.registry import open_data


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ids(root: Path, pattern: str, suffixes: tuple[str, ...] = (".jpg", ".png")) -> list[str]:
    found = list_files(root / pattern, suffixes)
    assert found.problems == ()
    return list(found.files)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["1_mask", "1_rgb", "2_rgb", "_rgb"]),
        ("a/*", ["1_mask", "1_rgb", "2_rgb", "_rgb"]),
        ("a/*.jpg", ["1_rgb", "2_rgb", "_rgb"]),
        ("a/*_rgb.jpg", ["1", "2"]),
        ("a/*_rgb", ["1", "2"]),
        ("a/1_*.jpg", ["rgb"]),
        ("s/*/*.jpg", ["x/1", "y/1"]),
        ("s/x/*.jpg", ["1"]),
        ("s/x/**/*.jpg", ["1", "deep/er/1"]),
        ("s/**", ["x/1", "x/deep/er/1", "y/1"]),
        ("s/**/*.jpg", ["x/1", "x/deep/er/1", "y/1"]),
        ("*/*_mask.png", ["a/1"]),
        ("s/*/deep/*/*.jpg", ["x/er/1"]),
        ("s/*x/*.jpg", []),
    ],
)
def test_a_pattern_finds_files_and_gives_them_ids(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touched(tmp_path, "a/1_rgb.jpg", "a/2_rgb.JPG", "a/_rgb.jpg", "a/1_mask.png", "a/.3_rgb.jpg", "a/notes.txt")
    touched(tmp_path, "s/x/1.jpg", "s/y/1.jpg", "s/x/deep/er/1.jpg", "s/.hidden/1.jpg")
    if expected:
        assert ids(tmp_path, pattern) == expected
    else:
        assert "no file has such a name" in list_files(tmp_path / pattern, (".jpg",)).problems[0]


def test_a_folder_whose_name_has_a_star_is_a_folder(tmp_path: Path) -> None:
    assert ids(touched(tmp_path, "a*/1.jpg", "ab/2.jpg"), "a*") == ["1"]


def test_what_fits_no_pattern_is_counted(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.gif", "a/2.gif", "a/3.txt")
    (problem,) = list_files(tmp_path / "a/*_rgb.jpg", ()).problems
    assert problem == f"{tmp_path}/a/*_rgb.jpg: no file has such a name; there: 2 *.gif, 1 *.txt"
    (problem,) = list_files(tmp_path / "b/*.gif", ()).problems
    assert problem.startswith(f"{tmp_path}/b: no such folder")


def test_two_files_of_one_id_and_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg", "a/1.png")
    (tmp_path / "a/2.jpg").symlink_to("gone.jpg")
    (tmp_path / "b").symlink_to("nowhere")
    first, second, third = list_files(tmp_path / "**", (".jpg", ".png")).problems
    assert "1.png: has the same stem as" in first
    assert "2.jpg: no such file: it is a link to gone.jpg" in second
    assert "b: no such folder: it is a link to nowhere" in third


def test_a_link_to_a_folder_above_ends_the_search(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/other").symlink_to(touched(tmp_path / "far", "2.jpg"))
    assert ids(tmp_path / "a", "**") == ["1", "other/2"]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a/b", None),
        ("a/*/**/*_x.png", None),
        ("a*b*/*.png", '"a*b*": expected at most one *'),
        ("**/a/**/*.png", "expected ** (folders of any depth) once"),
        ("*/a.png", '"a.png": expected a * in the name of the files, too'),
    ],
)
def test_patterns_that_mean_nothing_are_told(pattern: str, problem: str | None) -> None:
    found = pattern_problem(pattern)
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_a_list_takes_ids_and_names_of_files(tmp_path: Path) -> None:
    images = list_files(touched(tmp_path, "p/a.jpg", "p/b.jpg", "p/c d.jpg", "p/é.jpg"), ())
    images = list_files(tmp_path / "p", (".jpg",))
    listed = tmp_path / "train.txt"
    listed.write_text("\ufeffb.jpg a\n\nc d\ne\u0301\n", encoding="utf-8")
    found = only_listed(images, listed)
    assert (list(found.files), found.problems) == (["a", "b", "c d", "é"], ())


def test_a_list_takes_paths_from_its_own_folder(tmp_path: Path) -> None:
    images = list_files(touched(tmp_path, "set/p/a.jpg", "set/p/x/b.jpg") / "set/p/**/*.jpg", ())
    listed = tmp_path / "set/lists/train.txt"
    listed.parent.mkdir()
    listed.write_text(f"../p/a.jpg\n{tmp_path}/set/p/x/b.jpg\n")
    assert list(only_listed(images, listed).files) == ["a", "x/b"]
    listed.write_text("p/a.jpg\n")
    assert f"{listed}:1: no image p/a.jpg in " in only_listed(images, listed).problems[0]


def test_faults_of_a_list_are_told_with_their_lines(tmp_path: Path) -> None:
    images = list_files(touched(tmp_path, "p/frame1.jpg", "p/frame2.jpg") / "p", (".jpg",))
    listed = tmp_path / "train.txt"
    listed.write_text("frame1\nframe_2\nframe1.jpg\n")
    assert only_listed(images, listed).problems == (
        f'{listed}:2: no image frame_2 in {tmp_path}/p; did you mean "frame2"?',
        f"{listed}:3: names frame1.jpg again, first on line 1",
    )
    listed.write_text("\n")
    assert only_listed(images, listed).problems == (f"{listed}: names no file",)
    assert "no such file" in only_listed(images, tmp_path / "tain.txt").problems[0]


@pytest.fixture
def split_by_lists(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> FileDataSet:
    """Images and labels in one folder by city, splits by lists."""
    for city in ("bonn", "ulm"):
        for number in range(2):
            photo(tmp_path / "data" / city / f"{number}_rgb.png", seed=number)
            label_png(tmp_path / "data" / city / f"{number}_ids.tif", np.full((12, 16), number, np.uint8))
    files = {"images": "data/**/*_rgb.png", "labels": "data/*/*_ids.tif"}
    splits = {split: {**files, "ids": f"{split}.txt"} for split in ("train", "val")}
    described = {"title": "Cities", "splits": splits, "classes": {0: "no", 1: "yes"}}
    (tmp_path / "cities.yaml").write_text(yaml.safe_dump(described))
    (tmp_path / "train.txt").write_text("bonn/0\nbonn/1\nulm/0\n")
    (tmp_path / "val.txt").write_text("ulm/1_rgb.png\n")
    data = open_data(f"folder:{tmp_path / 'cities.yaml'}", DataRoots())
    assert isinstance(data, FileDataSet)
    return data


def test_splits_by_lists_over_one_tree(split_by_lists: FileDataSet) -> None:
    data = split_by_lists
    assert [data.problems(split) for split in ("train", "val")] == [[], []]
    assert data.images("train").ids == data.labels("train").ids == ("bonn/0", "bonn/1", "ulm/0")
    assert data.labels("val").ids == ("ulm/1",)
    assert data.labels("val").label("ulm/1").max() == 1


def test_a_fault_of_a_path_names_the_line_of_its_key(split_by_lists: FileDataSet) -> None:
    folder = split_by_lists.folder
    (folder / "val.txt").unlink()
    (line,) = split_by_lists.problems("val", labels=False)
    assert line.startswith(f"{folder}/cities.yaml:")
    assert ": splits.val.ids: " in line
    assert "val.txt: no such file" in line
    with pytest.raises(DataError, match=r"cities\.yaml:\d+: splits\.val\.ids: "):
        split_by_lists.images("val")
    (folder / "data/ulm/1_ids.tif").unlink()
    (folder / "val.txt").write_text("ulm/1\n")
    (line,) = split_by_lists.problems("val")
    assert ": splits.val.labels: " in line
    assert "holds no label of the images that val.txt names" in line
    (folder / "val.txt").write_text("ulm/0\nulm/1\n")
    (line,) = split_by_lists.problems("val")
    assert line.startswith(f"{folder}/data/ulm/1_rgb.png: has no label in {folder}/data")
