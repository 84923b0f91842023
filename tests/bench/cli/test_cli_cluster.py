"""``bench cluster``: from photographs to masks, and what is refused before any work."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli_lab import Bench
from PIL import Image

import spectral_bench as sb
from spectral_bench.bench.predict.files import passed_over
from spectral_bench.common.errors import ConfigError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, size in enumerate(((70, 96), (96, 70), (64, 64))):
        blocks = rng.integers(0, 255, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]).save(folder / f"p{index}.png")
    return folder


def test_photographs_become_the_masks_of_the_python_door_with_all_that_lies_beside(bench: Bench, photos: Path) -> None:
    out = photos.parent / "masks"
    options = ["--method", "kmeans", "--k", 4, "--size", 64, "--seed", 2, "--device", "cpu", "--set", "scores=distance"]
    result = bench("cluster", photos, photos / "p1.png", "--to", out, *options, "--contours")
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        "3 images seen by efficientnet_lite0 at 64 x 64 pixels, 4 x 4 patches each",
        "kmeans: 4 clusters, 4 in use, shared by all images; seed 2, cpu",
        f"written to {out}: 3 masks (PNG), overlays, contact_sheet.jpg, legend.csv, settings.json",
    ]
    masks = sb.cluster_images(photos, "kmeans", 4, size=64, seed=2, device="cpu", scores="distance")
    for name, mask in masks.items():
        with Image.open(out / f"{name}.png") as stored:
            np.testing.assert_array_equal(np.array(stored), mask)
        assert (out / f"{name}_overlay.jpg").is_file()
    with (out / "legend.csv").open(newline="") as file:
        shares = {int(row["cluster"]): float(row["share"]) for row in csv.DictReader(file)}
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks.values()]), minlength=4)
    np.testing.assert_allclose([shares[index] for index in range(4)], counts / counts.sum(), atol=1e-6)
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["method"], settings["params"]["k"], settings["seed"], settings["size"]) == (
        "kmeans",
        4,
        2,
        [64, 64],
    )
    assert settings["images"]["p2"] == str(photos / "p2.png")


def test_a_folder_with_files_is_left_alone_unless_told_otherwise(bench: Bench, photos: Path) -> None:
    out = photos.parent / "masks"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    options = ["--method", "kmeans", "--k", 2, "--size", 64, "--no-overlays"]
    result = bench("cluster", photos, "--to", out, *options)
    assert (result.code, result.errors[0].startswith(f"error: {out}: holds files already (notes.txt); give a")) == (
        2,
        True,
    )
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    found = json.loads(bench("cluster", photos, "--to", out, *options, "--overwrite", "--json").out)
    assert [Path(path).name for path in found["files"]] == [
        "p0.png",
        "p1.png",
        "p2.png",
        "contact_sheet.jpg",
        "legend.csv",
        "settings.json",
    ]
    assert found["settings"]["params"]["k"] == 2
    told = bench("cluster", photos, "--to", out, *options, "--overwrite").errors
    assert told == [f"warning: {out}: not of this command, and left as they were: notes.txt"]
    assert (out / "notes.txt").read_text() == "mine"


def test_folders_in_folders_with_images_are_named(photos: Path) -> None:
    for name in ("trip", "masks", "named", "texts", ".hidden"):
        (photos / name).mkdir()
        (photos / name / ("p.txt" if name == "texts" else "p.JPG")).touch()
    given = [photos, photos / "named", photos / "p0.png"]
    assert passed_over(given, photos / "masks") == [photos / "trip"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--method", "kmean"],
            'unknown method "kmean"; did you mean "kmeans"? valid: deep_spectral, kmeans, maskclip, neuralef',
        ),
        (["--method", "oracle"], "is fitted with labels"),
        (["--method", "maskclip"], "maskclip: text: required, file of text vectors, as bench data text writes it"),
        (["--set", "segmnts"], "--set segmnts: expected KEY=VALUE, such as --set segments=24"),
        (["--set", "=3", "--method", "kmeans"], "--set =3: expected KEY=VALUE, such as --set scores=one_hot"),
        (["--backbone", "efficientnet_lite"], 'did you mean "efficientnet_lite0"?'),
        (["--k", "99999"], "k = 99999: expected at most 72, 24 segments in each of 3 training images"),
        (["--k", "73"], "k = 73: expected at most 72, 24 segments in each of 3 training images"),
        (["--k", "9999", "--set", "segments=900"], "k = 9999: expected at most 1200, the number of training patches"),
        (["--k", "3", "--set", "k=4"], "--k 3 and --set k=4: give one of them"),
        (["--set", "segmets=3"], 'did you mean "segments"?'),
        (["--set", "backbone_options.weigths=random"], 'did you mean "weights"?'),
        (["--size", "12"], '--size: "12"; expected a short side'),
        (["--size", "64x"], '--size: "64x"; expected a short side'),
        (["--device", "gpu"], 'unknown device "gpu"'),
        (["--contours", "--no-overlays"], "borders are drawn on overlays"),
        (["gone"], "gone: no such image"),
        (["empty"], "empty: holds no image"),
        (["above"], "folders in it are not looked into, give them by name: above/inner"),
        (["torn.png"], "torn.png: cannot be read as an image"),
        (["twin/p0.png"], "has the same stem as"),
        (["--to", "photos"], "masks would lie among the images"),
        (["--to", "torn.png"], "torn.png: expected a folder, found a file"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    bench: Bench, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setattr("spectral_bench.bench.predict.cluster.fresh_features", None)
    for name in ("empty", "above/inner", "twin"):
        (photos.parent / name).mkdir(parents=True)
    (photos.parent / "torn.png").write_bytes((photos / "p0.png").read_bytes()[:-40])
    (photos.parent / "twin" / "p0.png").write_bytes((photos / "p0.png").read_bytes())
    result = bench("cluster", "photos", "--to", "masks", *arguments)
    assert (result.code, result.out, len(result.errors)) == (2, "", 1), result.err
    assert says in result.err
    assert not (photos.parent / "masks").exists()


def test_a_method_of_ones_own_without_k_needs_none(bench: Bench, photos: Path) -> None:
    own = f"{Path(__file__).parents[3] / 'examples' / 'random_directions.py'}:RandomDirections"
    result = bench("cluster", photos, "--to", "masks", "--method", own, "--size", 64)
    assert result.code == 0, result.err
    assert "random_directions.py:RandomDirections: 8 clusters, " in result.out


def test_names_that_are_no_utf8(bench: Bench, photos: Path) -> None:
    folder = photos.parent / "foreign"
    folder.mkdir()
    odd = folder / os.fsdecode(b"\xff.png")
    odd.write_bytes((photos / "p0.png").read_bytes())
    refused = bench("cluster", folder, "--to", "masks")
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "this name is no UTF-8; rename the file" in refused.err
    named = bench("cluster", odd, "--to", "masks", "--k", 2, "--size", 64)
    assert named.code == 0, named.err
    settings = json.loads((photos.parent / "masks" / "settings.json").read_text())
    assert list(settings["images"]) == ["\\udcff"]


def test_a_pipe_in_a_folder_is_not_waited_for(bench: Bench, photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    refused = bench("cluster", photos, "--to", "masks")
    assert refused.code == 2
    assert "pipe.png: no regular file, so no image" in refused.err


def test_a_folder_that_cannot_be_written_is_told_before_the_fit(
    bench: Bench, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_bench.bench.predict.cluster.fresh_features", None)

    def read_only(*args: object, **kwargs: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("spectral_bench.bench.predict.files.tempfile.mkdtemp", read_only)
    refused = bench("cluster", photos, "--to", photos.parent / "masks")
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert f"masks: cannot be written: {photos.parent} takes no new file (Read-only file system)" in refused.err
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_a_batch_holds_no_more_images_than_there_are() -> None:
    from spectral_bench.bench.predict.choices import clustering_params

    assert clustering_params("spin", {}, 7)["batch_size"] == 7
    assert clustering_params("spin", {}, 700)["batch_size"] == 16
    assert clustering_params("spin", {"batch_size": 9}, 7)["batch_size"] == 9  # as stated: refused by the method
    assert "batch_size" not in clustering_params("kmeans", {}, 7)


def test_features_that_were_computed_elsewhere(bench: Bench, photos: Path) -> None:
    """Both doors give the masks of the files, and say what is wrong with them."""
    folder = photos.parent / "mine"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for stem in ("p0", "p1", "p2"):
        np.save(folder / f"{stem}.npy", rng.normal(size=(7, 5, 6)).astype("f2"))
    options = ["--method", "kmeans", "--k", 3, "--size", 64, "--device", "cpu", "--features", folder]
    turned = ["--set", "features.order=chw"]
    result = bench("cluster", photos, "--to", "masks", *options, *turned)
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "3 images seen by mine at 64 x 64 pixels, 5 x 6 patches each"
    settings = json.loads(Path("masks/settings.json").read_text())
    assert settings["features"]["order"] == "chw"
    masks = sb.cluster_images(
        photos, "kmeans", 3, size=64, device="cpu", features={"root": folder, "order": "chw"}, backbone="title"
    )
    for name, mask in masks.items():
        with Image.open(f"masks/{name}.png") as stored:
            np.testing.assert_array_equal(np.array(stored), mask)
    for wrong, message in (
        (["--set", "features.order=cwh"], "chw"),
        (["--backbone", ""], "expected a title of 1 to 100 printable characters, got ''"),
        (["--set", "features.stride=16"], "7 x 5 patches; expected 4 x 4 patches of 16 pixels (stride)"),
        (["--set", "backbone_options.weights=random"], "no network has options"),
    ):
        refused = bench("cluster", photos, "--to", "other", *options, *wrong)
        assert refused.code == 2
        assert message in refused.err
        assert len(refused.errors) == 1
    (folder / "p1.npy").unlink()
    refused = bench("cluster", photos, "--to", "other", *options)
    assert "no features of p1: 1 of the 3 images of this command have none" in refused.err
    assert not Path("other").exists()
    alone = bench("cluster", photos, "--to", "other", "--set", "features.order=chw")
    assert (alone.code, "is for --features, which is not given" in alone.err) == (2, True)
    with pytest.raises(ConfigError, match=r'^features: unknown key .*"rot"; did you mean "root"\?[^\n]*$'):
        sb.cluster_images(photos, features={"rot": 1})
