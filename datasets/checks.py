"""What can be wrong with the files of a split, found from names and headers without decoding a pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.listing import Listing

_THREADS = 4
_EXPLAINED = 3  # lines that say what lies there instead: to look for it takes longer than all else

Size = tuple[int, int]
"""(height, width) in pixels."""


def sizes(listing: Listing, read: Callable[[Path], Size]) -> tuple[dict[str, Size], list[str]]:
    """The sizes of all files whose header can be read, by id, and a line for each file whose header cannot.

    Headers are read by several threads: what takes time is waiting for the disk.

    Args:
        listing: the files.
        read: (height, width) of a file from its header.
    """

    def size(path: Path) -> Size | str:
        try:
            return read(path)
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        results = dict(zip(listing.files, pool.map(size, listing.files.values()), strict=True))
    found = {file_id: result for file_id, result in results.items() if not isinstance(result, str)}
    return found, [result for result in results.values() if isinstance(result, str)]


def pairing_problems(images: Listing, labels: Listing) -> list[str]:
    """Images without a label and labels without an image, one line each.

    Where one side is empty its listing says so already, and there are no lines.
    """
    if not images.files or not labels.files:
        return []
    spare = [file_id for file_id in labels.files if file_id not in images.files]
    lonely: list[str] = []
    for file_id, path in images.files.items():
        if file_id not in labels.files:
            there = labels.instead_of(file_id, spare) if len(lonely) < _EXPLAINED else ""
            lonely.append(f"{path}: has no label in {labels.folder}{there}")
    orphans = [f"{p}: has no image in {images.folder}" for i, p in labels.files.items() if i not in images.files]
    return lonely + orphans


def size_problems(
    images: Listing, image_sizes: Mapping[str, Size], labels: Listing, label_sizes: Mapping[str, Size]
) -> list[str]:
    """Labels that differ from their image in size, one line each."""
    both = [file_id for file_id in labels.files if file_id in image_sizes and file_id in label_sizes]
    found = (size_problem(labels.files[i], label_sizes[i], images.files[i], image_sizes[i]) for i in both)
    return [problem for problem in found if problem]


def size_problem(label: Path, label_size: Size, image: Path, image_size: Size) -> str | None:
    """A line that names both files if a label differs from its image in size, else None."""
    if label_size == image_size:
        return None
    return (
        f"{label}: label of {label_size[0]} x {label_size[1]} pixels (height x width), "
        f"but its image {image} has {image_size[0]} x {image_size[1]}"
    )
