"""Which image files are looked at, which files are written of them, and that none of these lies over an image."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError, DataError, StoreError
from spectral_bench.common.missing import no_such
from spectral_bench.common.names import few
from spectral_bench.datasets.listing import list_folder
from spectral_bench.datasets.reading import IMAGE_SUFFIXES, image_header, read_image

_TEMPORARY = 16  # bytes by which the name of a file that is being written is longer


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The image files among ``paths``, those in folders included as a data set's are, in order.

    In a folder, hidden files, sub-folders and files of other kinds are passed over. A file that is named is taken for
    an image whatever its name, and is an error later if it is none.

    Raises:
        DataError: a path does not exist or is no file, a folder holds no image, or two images have one stem and would
            share a mask.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise DataError(no_such(path, "image"))
            if not path.is_file():
                raise DataError(f"{path}: no regular file, so no image")
            found.append(path)
            continue
        listing = list_folder(path, IMAGE_SUFFIXES)
        problems = listing.problems
        if not listing.files:
            none = f"{path}: holds no image ({', '.join(IMAGE_SUFFIXES)}){_below(path)}"
            problems = (*problems[1:], none)  # the first says that there is no file; others why one is not taken
        for problem in problems:
            raise DataError(f"{problem}, so both would have one mask" if "same stem" in problem else problem)
        for file in listing.files.values():
            if not file.is_file():  # a pipe would be waited for
                raise DataError(f"{file}: no regular file, so no image")
            found.append(file)
    once: dict[str, Path] = {}
    for path in found:  # an image that is named beside its folder is one
        once.setdefault(os.path.abspath(path), path)  # noqa: PTH100  # links keep their own names
    require_stems(list(once.values()))
    return list(once.values())


def passed_over(paths: Sequence[Path], to: Path) -> list[Path]:
    """The folders with images that lie in the folders among ``paths``, and are not looked into.

    Args:
        paths: images and folders of them.
        to: folder of masks, which is none of these.
    """
    named = {path.resolve() for path in (*paths, to)}
    below = [entry for path in paths if path.is_dir() for entry in _folders(path) if entry.resolve() not in named]
    return [folder for folder in below if _holds_image(folder)]


def _holds_image(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK) and any(
        entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") for entry in folder.iterdir()
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _below(folder: Path) -> str:
    """Where images may be instead, to go behind a message: the folders in a folder."""
    below = _folders(folder)
    return f"; folders in it are not looked into, give them by name: {few(list(map(str, below)))}" if below else ""


def require_stems(images: Sequence[Path], *, folded: bool = False) -> None:
    """Refuse images whose masks would have one name.

    Args:
        images: image files.
        folded: where they are written, names that differ in case or composition alone are one name.

    Raises:
        DataError: two have one stem; both are named.
    """
    seen: dict[str, Path] = {}
    for path in images:
        stem = unicodedata.normalize("NFC", path.stem).casefold() if folded else path.stem
        if stem in seen:
            raise DataError(
                f"{path}: has the same stem as {seen[stem]}, so both would have one mask; rename one, or give each a"
                " command and a folder of its own"
            )
        seen[stem] = path


def require_targets(images: Sequence[Path], out: Path, *, overlays: bool, scores: bool = False) -> None:
    """Refuse to write among the images: over one of them, or where a later command takes a mask for an image.

    Files are compared by what they are, not by how they are spelt: links and names that differ in case alone count.

    Args:
        images: image files that exist.
        out: the folder of masks and overlays, which need not exist yet.
        overlays: whether overlays are written too.
        scores: whether scores are.

    Raises:
        ConfigError: ``out`` is the folder of an image, or a file that would be written there is one of the images.
        DataError: masks of two images would be one file, or an image's name is too long for that of a mask.
    """
    advice = f"give a folder of their own, such as --to {out / 'masks'}"
    require_stems(images, folded=folds_names(out))
    # A file is written under a longer name first, and renamed when it is whole.
    longest = os.pathconf(nearest_folder(out), "PC_NAME_MAX") - _TEMPORARY
    known = {_identity(path): path for path in images}
    for path in images:
        if out.exists() and out.samefile(path.parent):
            raise ConfigError(f"{out}: the image {path} lies there, and masks would lie among the images; {advice}")
        for target in (*targets_of(out, path.stem, overlays), *([scores_file(out, path.stem)] if scores else [])):
            size = len(os.fsencode(target.name))
            if size > longest:
                raise DataError(f"{path}: {target.name} would be a name of {size} bytes; expected at most {longest}")
            if target.exists() and _identity(target) in known:
                image = known[_identity(target)]
                raise ConfigError(f"{target}: is the image {image}, and would be written over; {advice}")


def _identity(path: Path) -> tuple[int, int]:
    # By device and inode: two paths may lead to one file, and one path be spelt in two ways.
    found = path.stat()
    return found.st_dev, found.st_ino


def require_empty(folder: Path, *, overwrite: bool, by: str = "--overwrite") -> frozenset[str]:
    """Refuse a folder that holds files, which would lie among those to be written, or in which none can be made.

    Args:
        folder: it need not exist yet, and is not made.
        overwrite: whether it may hold files.
        by: how the caller is told to allow that.

    Returns:
        The names of what it holds.

    Raises:
        StoreError: it is one of them.
    """
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if there and not overwrite:
        raise StoreError(
            f"{folder}: holds files already ({few(there)}); give a folder of its own, or {by} to write over those of "
            "the same names"
        )
    place = nearest_folder(folder)
    try:  # by making one: permissions tell nothing to root, nor of what is read only
        with tempfile.TemporaryDirectory(dir=place, prefix=".bench-"):
            pass
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {place} takes no new file ({error.strerror})") from error
    return frozenset(there)


@contextmanager
def all_or_none(images: Sequence[Path], out: Path, there: frozenset[str]) -> Iterator[None]:
    """Where writing the files of images ends with an error or a stop, what it had written is removed again.

    Args:
        images: whose masks, overlays and scores are written.
        out: the folder for them.
        there: names of what it held before, which stays.
    """
    try:
        yield
    except BaseException:
        for path in images:
            for target in (*targets_of(out, path.stem, overlays=True), scores_file(out, path.stem)):
                if target.name not in there:
                    target.unlink(missing_ok=True)
        raise


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists; of a link to nothing the link, in which none can be made."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))


def folds_names(folder: Path) -> bool:
    """Whether the file system of a folder, which need not exist yet, takes names that differ in case alone for one."""
    # Asked of a folder that exists: whether it is also there under its name in the other case.
    there = nearest_folder(folder)
    for place in (there, *there.parents):
        other = place.parent / place.name.swapcase()
        if other.name != place.name:
            return other.exists() and place.samefile(other)
    return False


def targets_of(out: Path, stem: str, overlays: bool) -> list[Path]:
    """The mask of an image, and its overlay."""
    return [out / f"{stem}.png", *([out / f"{stem}_overlay.jpg"] if overlays else [])]


def scores_file(out: Path, stem: str) -> Path:
    """Where the scores of an image go."""
    return out / f"{stem}_scores.npy"


class FileImages:
    """Image files of any place, each under its stem, upright: as people see them, not as a camera stored them.

    Attributes:
        paths: the files by their stems, in the given order.

    Raises:
        DataError: a header cannot be read, or two files have one stem.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        require_stems(paths)
        for path in paths:
            image_header(path)
        self.paths = {path.stem: path for path in paths}

    @property
    def ids(self) -> tuple[str, ...]:
        """The stems, in the given order."""
        return tuple(self.paths)

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises ``DataError`` naming the file if it is missing or corrupt."""
        return read_image(self.paths[image_id], upright=True)

    def digest(self) -> str:
        """Nothing is kept of these images, so they need no digest."""
        return ""
