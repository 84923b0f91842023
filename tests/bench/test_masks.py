"""Where predictions are written: never over an image, and no mask over another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spectral_bench.bench.predict.files import (
    all_or_none,
    folds_names,
    require_empty,
    require_stems,
    require_targets,
    targets_of,
)
from spectral_bench.common.errors import ConfigError, DataError, StoreError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())
    return path


def test_the_folder_of_an_image_is_refused_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = touch(tmp_path / "photos" / "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "photos", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "photos")
    for out in (tmp_path / "photos", tmp_path / "photos" / ".." / "photos", tmp_path / "link", Path()):
        with pytest.raises(ConfigError, match=r"masks would lie among the images; give a folder of their own, such as"):
            require_targets([image], out, overlays=True)
    with pytest.raises(ConfigError, match=r"a\.jpg lies there"):
        require_targets([touch(tmp_path / "other" / "z.png"), image], tmp_path / "link", overlays=False)
    require_targets([image], tmp_path / "photos" / "masks", overlays=True)


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "linked image"])
def test_a_target_that_is_an_image_by_another_name_is_refused(tmp_path: Path, kind: str) -> None:
    image, target = touch(tmp_path / "photos" / "a.png"), tmp_path / "out" / "a.png"
    target.parent.mkdir()
    if kind == "symbolic link":
        target.symlink_to(image)
    elif kind == "hard link":
        os.link(image, target)
    else:  # the photo itself lies where the mask would, and is given by a link to it
        image.replace(target)
        image.symlink_to(target)
    with pytest.raises(ConfigError, match=r"a\.png: is the image .*photos/a\.png, and would be written over"):
        require_targets([image], tmp_path / "out", overlays=False)


def test_an_overlay_that_is_another_image_is_refused_where_overlays_are_written(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "in" / "a.png"), touch(tmp_path / "in" / "b.jpg")
    out = tmp_path / "out"
    out.mkdir()
    os.link(second, out / "a_overlay.jpg")
    require_targets([first, second], out, overlays=False)
    with pytest.raises(ConfigError, match=r"a_overlay\.jpg: is the image .*b\.jpg"):
        require_targets([first, second], out, overlays=True)


def test_older_masks_may_be_written_anew(tmp_path: Path) -> None:
    image = touch(tmp_path / "in" / "a.png")
    for target in targets_of(tmp_path / "out", "a", overlays=True):
        touch(target)
    require_targets([image], tmp_path / "out", overlays=True)


def test_two_images_of_one_stem_are_refused_by_both_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b/a\.png: has the same stem as .*a/a\.jpg, so both would have one mask"):
        require_stems([tmp_path / "a" / "a.jpg", tmp_path / "b" / "a.png"])


def test_names_that_differ_in_case_or_composition_are_one_where_the_file_system_says_so(tmp_path: Path) -> None:
    composed, decomposed = tmp_path / "caf\u00e9.png", tmp_path / "cafe\u0301.jpg"
    for pair in ([tmp_path / "A.png", tmp_path / "a.jpg"], [composed, decomposed]):
        require_stems(pair)
        with pytest.raises(DataError, match="has the same stem as"):
            require_stems(pair, folded=True)


def test_whether_a_file_system_folds_names_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Masks"
    folder.mkdir()
    assert folds_names(folder) is (tmp_path / "mASKS").exists()
    assert folds_names(folder / "not" / "yet") is folds_names(folder)
    # As on a file system that does: the other spelling is the same folder.
    if not (tmp_path / "mASKS").exists():
        (tmp_path / "mASKS").symlink_to(folder, target_is_directory=True)
        assert folds_names(folder)
        with pytest.raises(DataError, match="has the same stem as"):
            require_targets([touch(tmp_path / "x" / "A.png"), touch(tmp_path / "x" / "a.jpg")], folder, overlays=False)


def test_a_name_too_long_for_its_mask_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    image = touch(tmp_path / "in" / ("\u00e9" * 115 + ".jpg"))
    require_targets([touch(tmp_path / "in" / "short.jpg")], tmp_path / "out", overlays=True)
    with pytest.raises(DataError, match=r"would be a name of 242 bytes; expected at most"):
        require_targets([image], tmp_path / "out", overlays=True)


@pytest.mark.parametrize("end", [ValueError, KeyboardInterrupt])
def test_what_was_written_goes_where_not_all_can_be(tmp_path: Path, end: type[BaseException]) -> None:
    photos = [tmp_path / f"{name}.jpg" for name in "abc"]
    out = tmp_path / "out"
    touch(out / "a.png")

    def write() -> None:
        for name in ("a_overlay.jpg", "b.png", "b_scores.npy"):
            touch(out / name)
        raise end

    with pytest.raises(end), all_or_none(photos, out, frozenset({"a.png"})):
        write()
    assert [path.name for path in out.iterdir()] == ["a.png"]
    with all_or_none(photos, out, frozenset({"a.png"})):
        touch(out / "b.png")
    assert (out / "b.png").exists()


def test_below_a_link_to_nothing_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for out in (tmp_path / "dangling", tmp_path / "dangling" / "masks"):
        with pytest.raises(StoreError, match="cannot be written"):
            require_empty(out, overwrite=False)
