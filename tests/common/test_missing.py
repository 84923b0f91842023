"""A message about a missing path says what lies in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.common.missing import instead, no_such, shown

COMPOSED, APART = "caf\u00e9.png", "cafe\u0301.png"


def test_a_link_that_leads_nowhere_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("moved/a.png")
    assert no_such(tmp_path / "a.png") == (
        f"{tmp_path / 'a.png'}: no such file: it is a link to moved/a.png, which is not there"
    )


@pytest.mark.parametrize(
    ("there", "hint"),
    [
        ((), ""),
        (("images", "notes.txt"), '; did you mean "images"?'),
        (("IMAGE", "notes.txt"), '; did you mean "IMAGE"?'),
        (("x", "y"), "; there: x, y"),
        (("5", "4", "3", "2", "1", ".hidden"), "; there: 1, 2, 3, 4 and 1 more"),
    ],
)
def test_the_nearest_name_or_the_first_few_are_told(tmp_path: Path, there: tuple[str, ...], hint: str) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert no_such(tmp_path / "image", "folder") == f"{tmp_path / 'image'}: no such folder{hint}"


def test_the_first_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "dat" / "masks" / "a.png"
    assert no_such(path) == f'{path}: no such file: {tmp_path} holds no dat; did you mean "data"?'


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    assert no_such(tmp_path) == f"{tmp_path}: no such file, but a folder"
    (tmp_path / "file").touch()
    assert (
        no_such(tmp_path / "file" / "a") == f"{tmp_path / 'file' / 'a'}: no such file: {tmp_path / 'file'} is no folder"
    )


def test_a_name_that_differs_by_nothing_that_shows_is_explained() -> None:
    assert instead(COMPOSED, [APART]) == f'; there is "{APART}", whose accents are composed in another way'


def test_what_does_not_print_is_escaped() -> None:
    assert shown("caf\u00e9 \ufeffa\nb\udcff") == "caf\u00e9 \\ufeffa\\nb\\udcff"
