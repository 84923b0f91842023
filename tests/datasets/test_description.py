"""Short forms of a description, and what is refused in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.description import InvalidDescription, read_description
from spectral_bench.datasets.registry import absolute_data, data_info

HEAD = "title: T\nsplits: {val: {images: i, labels: l}}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text)
    return path


def faults(folder: Path, text: str) -> list[str]:
    """The problems of a description, each without the path of its file."""
    path = written(folder, text)
    with pytest.raises(InvalidDescription) as caught:
        read_description(path)
    return [line.removeprefix(f"{path}:") for line in caught.value.problems]


def test_the_short_forms_are_the_long_ones(tmp_path: Path) -> None:
    short = written(tmp_path, HEAD + "classes: {10: sky, 4: road, 011: sky}\nignore: 255\n")
    info = data_info(f"folder:{short}")
    long = written(tmp_path, HEAD + "classes: [{name: sky, ids: [10, 11]}, {name: road, ids: [4]}]\nignore: [255]\n")
    assert info == data_info(f"folder:{long}")
    assert info.class_sets["2"].classes == ("sky", "road")
    assert info.class_sets["2"].raw_ids == ((10, 11), (4,))
    assert info.n_raw_labels == 256


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "classes: [sky, road]",
            "3: classes: expected label values and their names, such as {0: sky, 1: road}; got a list with the text",
        ),
        (
            "classes: {sky: 10}",
            "3: classes.sky: expected a label value, then its name, such as 10: sky; got sky: 10",
        ),
        (
            "classes: {sky: [10, 11]}",
            "3: classes.sky: expected a label value, then its name, such as 10: sky; got sky: a list",
        ),
        ("classes: {10: 7}", '3: classes.10: expected the name of label value 10, as a text: 10: "7"; got 7'),
        ("classes: {10: }", "3: classes.10: expected the name of label value 10; got nothing"),
        ("classes: {-1: sky}", "3: classes.-1: expected a label value, then its name, such as 10: sky; got -1: "),
        ("classes: {65536: sky}", "3: classes.65536: expected less than or equal to 65535, got 65536"),
        (
            "classes: {10: {name: sky}}",
            "3: classes.10: expected the name of label value 10, got a mapping; with ids and colours, write classes as",
        ),
        (
            "classes:\n  10: sky\n  010: sky",
            "5: classes.010: label value 10 is given twice, first as classes.10 on ",
        ),
        ("classes: {1: a}\nignore: 1", "4: ignore: label value 1 is given twice, first as classes.1 on "),
        ("classes: {1: a}\nignore: none", '4: ignore: expected a whole number, got the text "none"'),
        ("classes: {1: a}\nignore: 2.5", "4: ignore: expected a whole number, got 2.5"),
        ("classes: sky", '3: classes: expected a list, got the text "sky"'),
        ("ignore: 0", '2: splits.val.labels: labels need the key "classes", which says what their values mean'),
        (
            "classes: {1: a}\nevaluation_size: 480",
            "4: evaluation_size: expected [height, width] in pixels, such as [480, 640], got 480",
        ),
        ("classes: {1: a}\nevaluation_size: [480, 8]", "4: evaluation_size[1]: expected greater than or equal to 16"),
        ("classes: {1: a}\ntransform: paper", '4: transform: the key "transform" belongs into a grid; here are sizes'),
        ("classes: {1: a}\ntest: {images: x}", '4: test: the key "test" belongs below "splits"'),
        ("classes: {1: a}\nimages: x", '4: images: the key "images" belongs below a split, such as splits: {val: {ima'),
        ("classes: {1: a}\nstride: 32", '4: stride: a stride is one of windows: the key "window" is missing'),
        (
            "classes: {1: a}\nwindow: 32\nstride: 64",
            "5: stride: a stride of 64 leaves gaps between windows of 32",
        ),
    ],
)
def test_one_fault_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    (line,) = faults(tmp_path, HEAD + text + "\n")
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ("train: photos", 'splits.train: expected a mapping such as {images: photos}, got the text "photos"'),
        ("train: {images: 'a*b*.png'}", 'splits.train.images: "a*b*.png": expected at most one * in a name'),
        ("train: {images: a, ids: [1, 2]}", "splits.train.ids: expected a text, got a list"),
        ("train: {images: a, label: b}", 'splits.train.label: unknown key "label"; did you mean "labels"? valid: ids'),
    ],
)
def test_a_fault_of_a_split_names_its_key(tmp_path: Path, splits: str, problem: str) -> None:
    (line,) = faults(tmp_path, f"title: T\nsplits:\n  {splits}\n")
    assert line.startswith(f"3: {problem}")


def test_faults_of_short_forms_are_told_with_all_others(tmp_path: Path) -> None:
    text = "titel: T\nsplits: {val: photos}\nclasses: {sky: 1, 2: 3}\nignore: x\nevaluation_size: 5\n"
    found = [line.split(": ")[:2] for line in faults(tmp_path, text)]
    keys = [["2", "splits.val"], ["3", "classes.sky"], ["3", "classes.2"], ["4", "ignore"], ["5", "evaluation_size"]]
    assert sorted(found) == sorted([["1", "titel"], ["1", 'the key "title" is missing'], *keys])


def test_home_is_where_a_tilde_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_bench.datasets.interface import DataRoots
    from spectral_bench.datasets.registry import open_data

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = written(tmp_path, "title: T\nsplits: {train: {images: ~/photos}}\n")
    (line,) = open_data(f"folder:{path}", DataRoots()).problems("train")
    assert f"{tmp_path}/home/photos: no such folder" in line


def test_a_folder_is_pointed_to_the_command_that_describes_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidDescription, match=r"is a folder; expected the YAML file .* bench data init "):
        read_description(tmp_path)
    with pytest.raises(ConfigError, match=r"your own is named by .* folder:FILE\.yaml, which bench data init"):
        data_info(str(tmp_path))
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match=r"^folder:photos: is a folder; expected .* data init .*/photos writes$"):
        absolute_data("folder:photos", tmp_path)  # as grids name them
