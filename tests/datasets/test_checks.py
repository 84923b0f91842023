from __future__ import annotations

from pathlib import Path

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.checks import pairing_problems, size_problem, size_problems, sizes
from spectral_bench.datasets.listing import Listing

IMAGES = Listing(Path("i"), {"a": Path("i/a.jpg"), "b": Path("i/b.jpg"), "c": Path("i/c.jpg")})
LABELS = Listing(Path("l"), {"b": Path("l/b.png"), "c": Path("l/c.png"), "d": Path("l/d.png")})
NOTHING = Listing(Path("n"), {}, ("n: no such folder",))


def test_lonely_images_and_orphaned_labels_are_told() -> None:
    assert pairing_problems(IMAGES, LABELS) == ["i/a.jpg: has no label in l", "l/d.png: has no image in i"]


def test_a_side_that_is_missing_altogether_gives_no_line_a_file() -> None:
    assert pairing_problems(IMAGES, NOTHING) == pairing_problems(NOTHING, LABELS) == []


def test_sizes_are_read_and_unreadable_files_told() -> None:
    def read(path: Path) -> tuple[int, int]:
        if path.stem == "b":
            raise DataError(f"{path}: broken")
        return (3, len(path.stem))

    assert sizes(IMAGES, read) == ({"a": (3, 1), "c": (3, 1)}, ["i/b.jpg: broken"])


def test_only_pairs_with_two_known_sizes_are_compared() -> None:
    found = size_problems(IMAGES, {"a": (1, 2), "b": (1, 2), "c": (1, 2)}, LABELS, {"b": (2, 1), "d": (5, 5)})
    assert found == ["l/b.png: label of 2 x 1 pixels (height x width), but its image i/b.jpg has 1 x 2"]


def test_equal_sizes_are_no_problem() -> None:
    assert size_problem(Path("l"), (4, 5), Path("i"), (4, 5)) is None
