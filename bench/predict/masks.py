"""Which files a prediction writes, and that none of them lies over an image."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from spectral_bench.common.errors import ConfigError, DataError

_TEMPORARY = 16  # bytes by which the name of a file that is being written is longer


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


def require_targets(images: Sequence[Path], out: Path, *, overlays: bool) -> None:
    """Refuse to write among the images: over one of them, or where a later command takes a mask for an image.

    Files are compared by what they are, not by how they are spelt: links and names that differ in case alone count.

    Args:
        images: image files that exist.
        out: the folder of masks and overlays, which need not exist yet.
        overlays: whether overlays are written too.

    Raises:
        ConfigError: ``out`` is the folder of an image, or a file that would be written there is one of the images.
        DataError: masks of two images would be one file, or an image's name is too long for that of a mask.
    """
    advice = f"give a folder of their own, such as --to {out / 'masks'}"
    require_stems(images, folded=folds_names(out))
    longest = os.pathconf(_nearest(out), "PC_NAME_MAX") - _TEMPORARY
    known = {_identity(path): path for path in images}
    for path in images:
        if out.exists() and out.samefile(path.parent):
            raise ConfigError(f"{out}: the image {path} lies there, and masks would lie among the images; {advice}")
        for target in targets_of(out, path.stem, overlays):
            size = len(os.fsencode(target.name))
            if size > longest:
                raise DataError(f"{path}: {target.name} would be a name of {size} bytes; expected at most {longest}")
            if target.exists() and _identity(target) in known:
                image = known[_identity(target)]
                raise ConfigError(f"{target}: is the image {image}, and would be written over; {advice}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def folds_names(folder: Path) -> bool:
    """Whether the file system of a folder, which need not exist yet, takes names that differ in case alone for one."""
    there = _nearest(folder)
    for place in (there, *there.parents):
        other = place.parent / place.name.swapcase()
        if other.name != place.name:
            return other.exists() and place.samefile(other)
    return False


def targets_of(out: Path, stem: str, overlays: bool) -> list[Path]:
    """The mask of an image, and its overlay."""
    return [out / f"{stem}.png", *([out / f"{stem}_overlay.jpg"] if overlays else [])]
