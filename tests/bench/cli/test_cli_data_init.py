"""``data init``, and the page about data: what it says one can type works, and prints what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli_lab import Bench
from PIL import Image

from spectral_bench.datasets.description import Description, read_description

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
SETTINGS = ("--executor", "inline", "--device", "cpu", "--threads", 1)


def blocks(heading: str, language: str) -> list[str]:
    """The blocks of a language below a heading of the page."""
    section = re.split(r"^#+ ", PAGE.partition(f"### {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def photo(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(sum(map(ord, path.name))).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)


def mask(path: Path, size: tuple[int, int], values: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.sort(np.resize(np.array(values, np.uint8), size), axis=1)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The folders of the page's examples."""
    for number in range(6):
        photo(tmp_path / f"photos/day{number % 2}/{number}.jpg", (480, 640) if number else (640, 480))
    for image, label in (line.split() for line in blocks("Images and labels", "text")[0].splitlines()):
        photo(tmp_path / image, (64, 96))
        mask(tmp_path / label, (64, 96), (0, 1, 2, 255))
    return tmp_path


def call(bench: Bench, line: str) -> list[str]:
    """Type a line of the page; returns what it prints."""
    words = line.split()
    assert words[0] == "bench"
    result = bench(*words[1:], *(SETTINGS if words[1] == "run" else ()))
    assert (result.code, result.errors) == (0, [])
    return result.out.replace("python -m bench ", "bench ").splitlines()  # as the page calls it


def test_the_example_of_images_alone(bench: Bench, folders: Path) -> None:
    init, verify = blocks("Images alone", "bash")[0].splitlines()
    assert call(bench, init) == blocks("Images alone", "text")[0].splitlines()
    described, _ = blocks("Images alone", "yaml")
    written = (folders / "photos.yaml").read_text()
    assert set(described.splitlines()) <= set(written.splitlines())
    assert yaml.safe_load(written) == yaml.safe_load(described)
    assert call(bench, verify)[0] == "folder:photos.yaml:"


def test_init_finds_the_pairs_of_the_example_of_labels(bench: Bench, folders: Path) -> None:
    call(bench, "bench data init leaves")
    found, told = (read_description(folders / name).content for name in ("leaves.yaml", write_leaves(folders)))
    assert found.splits == told.splits
    assert found.ignore == told.ignore == (255,)
    assert [entry.ids for entry in found.classes] == [(0,), (1,), (2,)]
    assert [(entry.name, entry.ids) for entry in told.classes] == [("ground", (0,)), ("leaf", (1, 2))]


def write_leaves(folder: Path, name: str = "told.yaml") -> str:
    (folder / name).write_text(blocks("Images and labels", "yaml")[0])
    return name


@pytest.mark.slow
def test_the_grids_of_both_examples_run(bench: Bench, folders: Path) -> None:
    write_leaves(folders, "leaves.yaml")
    (folders / "photos.yaml").write_text(blocks("Images alone", "yaml")[0])
    (folders / "transfer.yaml").write_text(blocks("Images alone", "yaml")[1])
    (folders / "methods.yaml").write_text(blocks("Images and labels", "yaml")[1])
    verify, run = blocks("Images and labels", "bash")[0].splitlines()
    call(bench, verify)
    (transfer,) = blocks("Images alone", "bash")[1].splitlines()
    for line in (run, transfer):
        assert any("kmeans" in one and "failed" not in one for one in call(bench, line))
    runs = json.loads(bench("status", "--json").out)
    fit = next(iter(runs if isinstance(runs, list) else runs["runs"]))
    assert bench("predict", fit["run_id"], "photos/day0", "--to", "masks").code == 0
    assert len(list((folders / "masks").glob("*.png"))) == 3


def test_the_two_ways_to_write_classes_say_the_same(tmp_path: Path) -> None:
    head = "title: T\nsplits: {val: {images: i, labels: l}}\n"
    found = []
    for number, text in enumerate(blocks("Classes and ignored values", "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(head + text)
        found.append(read_description(path).content)
    assert found[0].ignore == found[1].ignore
    assert [(e.name, e.ids) for e in found[0].classes] == [(e.name, e.ids) for e in found[1].classes]


def test_every_key_of_a_description_is_in_the_table() -> None:
    table = PAGE.partition("## All keys\n")[2].partition("\n\nAs in grids")[0]
    told = set(re.findall(r"`(\w+)`", table))
    splits = Description.model_fields["splits"].annotation
    assert told >= set(Description.model_fields) | set(splits.__args__[1].model_fields)  # type: ignore[union-attr]


def test_what_init_prints_is_short_and_ends_with_what_to_type(bench: Bench, folders: Path) -> None:
    for number in range(12):
        (folders / f"photos/{number}.jpg").write_bytes(b"no image")
    result = bench("data", "init", "photos", "--to", "my photos.yaml")
    lines = result.out.splitlines()
    assert (result.code, lines[-1]) == (0, "next: python -m bench data verify 'folder:my photos.yaml'")
    assert "wrong: 2 more" in lines
    assert len(lines) < 20
    assert bench("data", "verify", "folder:my photos.yaml").code == 1


def test_init_as_json(bench: Bench, folders: Path) -> None:
    mask(folders / "leaves/val/masks/009_mask.png", (64, 96), (0,))
    told = json.loads(bench("data", "init", "leaves", "--json").out)
    assert told["description"] == "leaves.yaml"
    assert told["lists"] == ["leaves_val.txt"]
    assert "val: 1 label has no image: 009_mask.png" in told["undecided"]
    assert told["next"] == "python -m bench data verify folder:leaves.yaml"
    assert bench(*told["next"].split()[3:]).code == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["leafs"], 'leafs: no such folder; did you mean "leaves"?'),
        (["leaves/val/photos/000.jpg"], "000.jpg: no such folder, but a file"),
        (["empty"], "empty: holds no image; looked for .jpg, "),
        (["leaves", "--to", "there.yaml"], "there.yaml: is there already and is not written over; remove it, or"),
        (["leaves", "--to", "leaves"], "--to leaves: expected the name of a YAML file, such as leaves.yaml"),
        (["leaves", "--numbers-to", "photos"], "--numbers-to photos: expected a folder that is new or empty"),
        (["leaves", "--numbers-to", "new"], "--numbers-to new: there are no colour-coded labels in leaves"),
        ([], "Missing argument 'FOLDER'."),
    ],
)
def test_bad_input_of_init_is_one_line_and_writes_nothing(
    bench: Bench, folders: Path, words: list[str], error: str
) -> None:
    (folders / "empty").mkdir()
    (folders / "there.yaml").write_text("mine")
    before = sorted(folders.rglob("*"))
    result = bench("data", "init", *words)
    (line,) = result.errors
    assert (result.code, result.out) == (2, "")
    assert error in line
    assert sorted(folders.rglob("*")) == before
    assert (folders / "there.yaml").read_text() == "mine"
