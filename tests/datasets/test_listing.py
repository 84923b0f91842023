from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.listing import collect, from_list, labels_of, list_folder, require_none


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_are_sorted_by_id_whatever_their_suffix(tmp_path: Path) -> None:
    _touch(tmp_path / "b.jpg", tmp_path / "a.PNG", tmp_path / "notes.txt", tmp_path / "sub" / "c.jpg")
    listing = list_folder(tmp_path, (".jpg", ".png"))
    assert list(listing.files) == ["a", "b"]
    assert listing.files["a"] == tmp_path / "a.PNG"
    assert listing.require_no_problems() is listing


def test_an_ending_is_no_part_of_the_id_and_filters(tmp_path: Path) -> None:
    _touch(tmp_path / "ulm" / "ulm_1_labelIds.png", tmp_path / "ulm" / "ulm_1_color.png", tmp_path / "top_labelIds.png")
    listing = list_folder(tmp_path, (".png",), ending="_labelIds", depth=1)
    assert dict(listing.files) == {"ulm_1": tmp_path / "ulm" / "ulm_1_labelIds.png"}


def test_two_files_with_one_stem_are_both_named(tmp_path: Path) -> None:
    _touch(tmp_path / "a.jpg", tmp_path / "a.png", tmp_path / "b.png")
    listing = list_folder(tmp_path, (".jpg", ".png"))
    assert listing.problems == (f"{tmp_path / 'a.png'}: has the same stem as {tmp_path / 'a.jpg'}",)
    assert list(listing.files) == ["a", "b"]
    with pytest.raises(DataError, match="has the same stem"):
        listing.require_no_problems()


def test_a_missing_folder_is_a_problem_that_names_it(tmp_path: Path) -> None:
    listing = list_folder(tmp_path / "none", (".png",))
    assert listing.files == {}
    assert listing.problems == (f"{tmp_path / 'none'}: no such folder",)


def test_an_empty_folder_is_a_problem(tmp_path: Path) -> None:
    assert collect(tmp_path, []).problems == (f"{tmp_path}: holds no file of this data set",)


def test_the_digest_follows_ids_and_sizes_but_not_the_place(tmp_path: Path) -> None:
    _touch(tmp_path / "one" / "a.png", tmp_path / "two" / "a.png", tmp_path / "three" / "b.png")
    digests = {name: list_folder(tmp_path / name, (".png",)).digest() for name in ("one", "two", "three")}
    assert digests["one"] == digests["two"] != digests["three"]
    assert len(digests["one"]) == 16
    (tmp_path / "two" / "a.png").write_bytes(b"xx")
    assert list_folder(tmp_path / "two", (".png",)).digest() != digests["one"]


def test_the_first_problem_is_raised_with_the_number_of_others() -> None:
    require_none([])
    with pytest.raises(DataError, match=r"^first$"):
        require_none(["first"])
    with pytest.raises(DataError, match=r"^first \(and 2 more"):
        require_none(iter(["first", "second", "third"]))


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    _touch(tmp_path / "._a.jpg", tmp_path / "a.jpg")
    assert list(list_folder(tmp_path, (".jpg",)).files) == ["a"]


def test_a_list_names_the_files(tmp_path: Path) -> None:
    _touch(*(tmp_path / "images" / f"{stem}.jpg" for stem in "abc"))
    (tmp_path / "list.txt").write_text("c\n\na\n")
    listing = from_list(tmp_path / "list.txt", tmp_path / "images", ".jpg")
    assert listing.files == {stem: tmp_path / "images" / f"{stem}.jpg" for stem in ("a", "c")}
    assert listing.problems == ()


def test_a_list_with_missing_and_repeated_names_lists_all_of_them(tmp_path: Path) -> None:
    _touch(tmp_path / "a.jpg")
    listed = tmp_path / "list.txt"
    listed.write_text("a\nx\na\ny\n")
    listing = from_list(listed, tmp_path, ".jpg")
    assert list(listing.files) == ["a"]
    assert listing.problems == (
        f"{listed}: names a twice",
        f"{tmp_path / 'x.jpg'}: no such file, but {listed} names x",
        f"{tmp_path / 'y.jpg'}: no such file, but {listed} names y",
    )


def test_a_missing_list_is_a_problem(tmp_path: Path) -> None:
    listing = from_list(tmp_path / "none.txt", tmp_path, ".jpg")
    assert listing.problems == (f"{tmp_path / 'none.txt'}: no such file",)


def test_a_list_that_is_no_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"a\nb\xff\xfe")
    with pytest.raises(DataError, match=r"train\.txt: is no UTF-8 text \(byte 3\)"):
        from_list(tmp_path / "train.txt", tmp_path, ".jpg")


def test_a_listed_label_that_is_missing_is_left_to_the_pairing(tmp_path: Path) -> None:
    listed, folder = tmp_path / "val.txt", tmp_path / "labels"
    ids = ["b", "a", "c"]
    assert labels_of([], listed, folder, ".png").problems == (f"{listed}: no such file",)
    listed.write_text("b\na\nc\n")
    assert labels_of(ids, listed, folder, ".png").problems[0].startswith(f"{folder}: no such folder")
    folder.mkdir()
    (folder / "other.png").touch()
    assert labels_of(ids, listed, folder, ".png").problems == (
        f"{folder}: holds no label of {listed}; looked for *.png",
    )
    (folder / "b.PNG").touch()
    (folder / "a.png").touch()
    found = labels_of(ids, listed, folder, ".png")
    assert list(found.files) == ["a", "b"]
    assert found.problems == ()
