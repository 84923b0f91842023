"""The files of a folder in series: files whose names are made alike, all of them images or all of them labels."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.listing import name_problem, unreachable
from spectral_bench.datasets.patterns import LABEL_SUFFIXES
from spectral_bench.datasets.reading import IMAGE_SUFFIXES, LABEL_MODES

Role = Literal["images", "labels"]
SUFFIXES = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *LABEL_SUFFIXES)))

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_WORD = "|".join(sorted(SPLIT_WORDS, key=len, reverse=True))
_SPLIT = re.compile(rf"(?:^|[_\-. ])({_WORD})(?=$|[_\-. ]|annot|label|mask|im(?:g|age)|gt)", re.IGNORECASE)
_LABEL_PARTS = re.compile(r"label|mask|annot|ground[_\- ]?truth|segment|^gt|(?:^|[_\-. ])(?:gt|seg|anno?)(?:$|[_\-. ])")
_IMAGE_PARTS = re.compile(r"image|img|photo|picture|jpe?g|rgb|frame")
_FEW = 64  # values or colours of a label; photographs have thousands
_SERIES = 8  # at most that a folder holds; words of fewer files are parts of names
_PROBED = 3  # files of a series that are opened to see what they are


@dataclass(frozen=True)
class Tree:
    """What lies below a folder.

    Attributes:
        root: the folder.
        files: image and label files, relative to it, in order.
        texts: text files, which may be lists of ids.
        others: suffixes of all other files, and how often each occurs.
        problems: what could not be followed or named, one line each.
    """

    root: Path
    files: tuple[PurePath, ...]
    texts: tuple[PurePath, ...]
    others: Mapping[str, int]
    problems: tuple[str, ...]


def look_through(root: Path) -> Tree:
    """All files below a folder, without hidden ones; links to folders are followed unless they lead back."""
    files: list[PurePath] = []
    texts: list[PurePath] = []
    problems: list[str] = []
    others: Counter[str] = Counter()
    for path in _walk(root, problems):
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            others[suffix or path.name] += 1
            texts += [path.relative_to(root)] if suffix == ".txt" else []
        elif (problem := name_problem(path)) is not None:
            problems.append(problem)
        else:
            files.append(path.relative_to(root))
    return Tree(root, tuple(files), tuple(texts), others, tuple(problems))


def _walk(folder: Path, problems: list[str]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        problems.append(str(unreachable(error)))
        return
    for name, is_folder in found:
        path = folder / name
        if not is_folder:
            yield path
        elif not (path.is_symlink() and folder.resolve().is_relative_to(path.resolve())):
            yield from _walk(path, problems)


@dataclass(frozen=True)
class Series:
    """Files of one folder whose names are made alike.

    Attributes:
        folder: relative to the root.
        ending: what their stems end with where other files of the folder differ in it, such as ``_mask``.
        files: relative to the root.
        shared: how many folders on the way all files of the tree share, whose names tell nothing apart.
        root: the root.
    """

    folder: PurePath
    ending: str
    files: tuple[PurePath, ...]
    shared: int
    root: Path = field(compare=False)

    @cached_property
    def label_root(self) -> tuple[str, ...]:
        """What label series of one kind have in common: the folders down to the last that says labels."""
        parts = self.folder.parts
        told = parts[self.shared :]
        said = [depth for depth, part in enumerate(told, start=self.shared + 1) if _LABEL_PARTS.search(part.lower())]
        return parts[: said[-1]] if said else tuple(part for part in told if not _SPLIT.search(part))[:1]

    @property
    def split(self) -> str | None:
        """The split that a folder on the way names, by its usual name; None where none does."""
        found = [SPLIT_WORDS[match[1].lower()] for part in self.folder.parts if (match := _SPLIT.search(part))]
        return found[-1] if found else None

    @cached_property
    def named(self) -> Role | None:
        """What the names of its folders and files say that it is; None where they say nothing."""
        parts = [part.lower() for part in (*self.folder.parts[self.shared :], self.ending)]
        if any(_LABEL_PARTS.search(part) for part in parts):
            return "labels"
        return "images" if any(_IMAGE_PARTS.search(part) for part in parts) else None

    @cached_property
    def looks(self) -> str:
        """``numbers`` (one channel of few values), ``colours`` (few of them), ``photographs`` or ``unreadable``."""
        step = max(1, len(self.files) // _PROBED)
        kinds = {_look(self.root / path) for path in self.files[::step][:_PROBED]} - {"unreadable"}
        if not kinds:
            return "unreadable"
        return kinds.pop() if len(kinds) == 1 else "photographs"


def _look(path: Path) -> str:
    try:
        with Image.open(path) as image:
            if image.format == "JPEG":
                return "photographs"
            if image.mode in LABEL_MODES:
                few = len(np.unique(np.asarray(image))) <= _FEW or image.mode == "P"
                return "numbers" if few or image.mode.startswith("I") else "photographs"
            colours = image.convert("RGB").getcolors(_FEW)
            return "photographs" if colours is None else "colours"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "unreadable"


def in_series(tree: Tree) -> list[Series]:
    """All files of a tree in series.

    Within a folder, files of one stem and two suffixes are two series (``a.jpg`` and ``a.png``), and so are files
    whose stems differ in their last word alone (``a_rgb.png`` and ``a_mask.png``, or ``a.png`` and ``a_mask.png``).
    """
    by_folder: dict[PurePath, list[PurePath]] = defaultdict(list)
    for path in tree.files:
        by_folder[path.parent].append(path)
    shared = len(PurePath(os.path.commonpath([str(folder) for folder in by_folder])).parts)
    found = []
    for folder, files in by_folder.items():
        found += [Series(folder, ending, tuple(some), shared, tree.root) for ending, some in _parted(files)]
    return found


def _parted(files: list[PurePath]) -> Iterator[tuple[str, list[PurePath]]]:
    words = _endings({path.stem for path in files})
    by_ending: dict[str, list[PurePath]] = defaultdict(list)
    for path in files:
        ending = _last_word(path.stem)[1]
        by_ending[ending if ending in words else ""].append(path)
    for ending, some in by_ending.items():
        stems = Counter(path.stem for path in some)
        if max(stems.values()) == 1:
            yield ending, some
            continue
        for suffix in sorted({path.suffix.lower() for path in some}):
            yield ending, [path for path in some if path.suffix.lower() == suffix]


def _endings(stems: set[str]) -> set[str]:
    """The last words of stems that tell series apart: common ones, beside which most stems have another word, too."""
    cores: dict[str, set[str]] = defaultdict(set)
    for stem in stems:
        core, word = _last_word(stem)
        cores[core].add(word)
        cores[stem].add("")
    count: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for words in cores.values():
        for word in words - {""}:
            count[word] += 1
            shared[word] += len(words) > 1
    return {word for word in count if 2 * shared[word] > count[word] and _SERIES * count[word] >= len(stems)}


def _last_word(stem: str) -> tuple[str, str]:
    """A stem without its last word, and that word with the sign before it; empty where it has digits alone."""
    match = re.fullmatch(r"(.+?)([_\-.][^_\-.\d]*[^_\-.\d][^_\-.]*)", stem)
    return (match[1], match[2]) if match else (stem, "")


def with_roles(series: Iterable[Series]) -> list[tuple[Series, Role]]:
    """Series, and what each is: as its names say, else as its pixels look.

    Few values or colours look like labels only beside something that looks like photographs.
    """
    found = list(series)
    photographs = any(one.named == "images" or (one.named is None and one.looks == "photographs") for one in found)
    return [
        (one, one.named or ("labels" if photographs and one.looks in ("numbers", "colours") else "images"))
        for one in found
    ]


def require_images(tree: Tree) -> None:
    """Refuse a folder without any image.

    Raises:
        DataError: says what was looked for and what lies there.
    """
    if tree.files:
        return
    there = ", ".join(f"{count} {kind}" for kind, count in Counter(tree.others).most_common(4))
    raise DataError(
        f"{tree.root}: holds no image; looked for {', '.join(SUFFIXES)}, there: {there or 'nothing'}"
        + "".join(f"; {problem}" for problem in tree.problems)
    )
