"""Which images and labels belong together, and into which splits they fall."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from spectral_bench.datasets.listing import Listing
from spectral_bench.datasets.patterns import LABEL_SUFFIXES, list_files, only_listed, pattern_problem
from spectral_bench.datasets.reading import IMAGE_SUFFIXES
from spectral_bench.datasets.survey.series import SPLIT_WORDS, Series, Tree, in_series, with_roles

_ORDER = ("train", "val", "test")
_SEPARATORS = "_-. "
_PREFERRED = ("labelids", "trainids", "semantic", "class")
_LAST = ("instance", "object", "colo", "overlay", "vis")


@dataclass(frozen=True)
class Files:
    """Files as a description names them.

    Attributes:
        text: the folder or pattern, relative to the root.
        listing: what it finds.
    """

    text: str
    listing: Listing


@dataclass(frozen=True)
class Split:
    """One split: its images, and their labels.

    Attributes:
        name: ``train``, ``val``, ``test``.
        images: all images of the split.
        labels: its labels; None where there are none, or none of them has the id of an image.
        listed: a text file with the ids of the split, relative to the root, if there is one.
    """

    name: str
    images: Files
    labels: Files | None
    listed: PurePath | None = None

    @property
    def lonely(self) -> list[Path]:
        """Images without a label, where there are labels."""
        labels = self.labels.listing.files if self.labels is not None else self.images.listing.files
        return [path for file_id, path in self.images.listing.files.items() if file_id not in labels]

    @property
    def orphans(self) -> list[Path]:
        """Labels without an image."""
        if self.labels is None or self.listed is not None:
            return []
        return [path for file_id, path in self.labels.listing.files.items() if file_id not in self.images.listing.files]

    @property
    def pairs(self) -> dict[str, Path]:
        """Id -> label of those images that have one."""
        labels = self.labels.listing.files if self.labels is not None else {}
        return {file_id: labels[file_id] for file_id in self.images.listing.files if file_id in labels}


@dataclass(frozen=True)
class Sorted:
    """The files of a tree, sorted into splits.

    Attributes:
        splits: in the usual order.
        parted: what parts them: ``folders``, ``lists``, or nothing, so that there is one, ``all``.
        notes: what was left out or could not be told, one line each.
    """

    splits: tuple[Split, ...]
    parted: str
    notes: tuple[str, ...]


def sort_files(tree: Tree) -> Sorted:
    """Sort the files of a tree into images, labels and splits."""
    found = with_roles(in_series(tree))
    images = [one for one, role in found if role == "images"]
    labels = [one for one, role in found if role == "labels"]
    notes: list[str] = []
    if not images:  # whoever names this folder means images
        images, labels = labels, []
    if all(one.looks == "numbers" for one in images):
        notes.append("nothing but what looks like labels was found: it is described as images")
    named = {one.split for one in images} - {None}
    splits = []
    for name in sorted(named, key=_ORDER.index) if named else [None]:
        split = _split(tree, name, [one for one in images if one.split == name], labels, notes)
        splits += [split] if split is not None else []
    if named and (outside := [one for one in images if one.split is None]):
        count = sum(len(one.files) for one in outside)
        notes.append(f"{count} images outside of the folders of splits are left out: {_places(tree, outside)}")
    if named:
        return Sorted(tuple(splits), "folders", tuple(notes))
    listed = [part for split in splits for part in _by_lists(tree, split, notes)]
    return Sorted(tuple(listed or splits), "lists" if listed else "", tuple(notes))


def _split(
    tree: Tree, name: str | None, images: Sequence[Series], labels: Sequence[Series], notes: list[str]
) -> Split | None:
    taken = list(_spellings(tree, [path for one in images for path in one.files], IMAGE_SUFFIXES))
    if not taken:
        largest = max(images, key=lambda one: len(one.files))
        taken = list(_spellings(tree, largest.files, IMAGE_SUFFIXES))
        left = [one for one in images if one is not largest]
        notes.append(f"no one pattern names all images; left out: {_places(tree, left or images)}")
    if not taken:
        return None
    own = [one for one in labels if one.split == name] or [one for one in labels if one.split is None]
    best, others = _best_labels(tree, taken, own)
    if others:
        taken_labels = best[1].text if best else "none"
        notes.append(f"labels were found more than once; taken: {taken_labels}, left out: {others}")
    if best is None and own:
        image, label = taken[0].listing.files, own[0].files
        notes.append(
            f"no label in {_places(tree, own)} has the name of an image (image {next(iter(image.values())).name}, "
            f"label {label[0].name}), so labels are left out"
        )
    return Split(name or "all", best[0], best[1]) if best else Split(name or "all", taken[0], None)


def _best_labels(
    tree: Tree, images: Sequence[Files], labels: Sequence[Series]
) -> tuple[tuple[Files, Files] | None, str]:
    """The spelling of images and the labels that fit each other best, and other labels that would fit as many."""
    kinds: dict[tuple[object, ...], list[PurePath]] = defaultdict(list)
    numbers: set[tuple[object, ...]] = set()
    for one in labels:
        whole: tuple[object, ...] = (one.label_root,)
        for kind in (whole, (*whole, one.ending.lower())):
            kinds[kind] += one.files
            numbers |= {kind} if one.looks == "numbers" else set()
    fits = []
    for kind, files in kinds.items():
        pairs = [(image, label) for label in _spellings(tree, files, LABEL_SUFFIXES, (".png",)) for image in images]
        matches, pair = max(((_matches(*pair), pair) for pair in pairs), key=lambda one: one[0], default=(0, None))
        if pair is not None and matches:
            fits.append(((matches, int(kind in numbers), _preference(pair[1].text)), pair))
    if not fits:
        return None, ""
    fits.sort(key=lambda fit: fit[0], reverse=True)
    (most, _, _), best = fits[0]
    taken = set(best[1].listing.files.values())
    further = [pair[1] for (matches, _, _), pair in fits[1:] if 2 * matches >= most]
    named = replace(best[1], listing=best[1].listing.named_like(best[0].listing))
    return (best[0], named), ", ".join(one.text for one in further if taken.isdisjoint(one.listing.files.values()))


def _matches(images: Files, labels: Files) -> int:
    return len(labels.listing.named_like(images.listing).files.keys() & images.listing.files.keys())


def _preference(text: str) -> int:
    lowered = text.lower()
    return any(word in lowered for word in _PREFERRED) - any(word in lowered for word in _LAST)


def _spellings(
    tree: Tree, files: Iterable[PurePath], suffixes: tuple[str, ...], alone: tuple[str, ...] | None = None
) -> Iterator[Files]:
    """The folders and patterns that name just these files, simplest first."""
    paths = sorted(files)
    wanted = {tree.root / path for path in paths}
    folder = PurePath(os.path.commonpath([str(path.parent) for path in paths]))
    depths = {len(path.parent.parts) - len(folder.parts) for path in paths}
    between = "*/" * next(iter(depths)) if len(depths) == 1 else "**/"
    kinds = {path.suffix.lower() for path in paths}
    start, end = _affixes([path.stem for path in paths])
    suffix = kinds.pop() if len(kinds) == 1 else ""
    names = [f"{first}*{last}{kind}" for kind in dict.fromkeys((suffix, "")) for first, last in _around(start, end)]
    alone_there = depths == {0} and sum(path.parent == folder for path in tree.files) == len(paths)
    texts = [str(folder)] if alone_there else []
    for text in dict.fromkeys([*texts, *(str(folder / f"{between}{name}") for name in names)]):
        if pattern_problem(text) is not None:
            continue
        listing = list_files(tree.root / text, suffixes, alone)
        if not listing.problems and set(listing.files.values()) == wanted:
            yield Files(text, listing)


def _around(start: str, end: str) -> Iterator[tuple[str, str]]:
    yield from dict.fromkeys((("", ""), ("", end), (start, ""), (start, end)))


def _affixes(stems: Sequence[str]) -> tuple[str, str]:
    """What all stems begin with and end with, cut at signs between words; nothing of a single stem's own."""
    start, end = _common(stems), _common([stem[::-1] for stem in stems])[::-1]
    cut = max(start.rfind(sign) for sign in _SEPARATORS) + 1
    first = min((place for sign in _SEPARATORS if (place := end.find(sign)) >= 0), default=len(end))
    return start[:cut], end[first:]


def _common(stems: Sequence[str]) -> str:
    """What all of them begin with: as much as the first and the last in alphabetical order do."""
    first, last = min(stems), max(stems)
    length = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[: min(length, len(last))]


def _by_lists(tree: Tree, split: Split, notes: list[str]) -> list[Split]:
    """A split of all images in parts, by the text files that are named like splits and list ids of images."""
    found: dict[str, tuple[int, Split]] = {}
    for text in tree.texts:
        name = SPLIT_WORDS.get(text.stem.lower())
        if name is None:
            continue
        listed = only_listed(split.images.listing, tree.root / text)
        if listed.problems:
            some = f", and {len(listed.problems) - 1} more" if len(listed.problems) > 1 else ""
            notes.append(f"{text} is no list of ids that can be used ({listed.problems[0]}{some})")
            continue
        part = replace(split, name=name, images=replace(split.images, listing=listed), listed=text)
        rank = len(part.pairs) - len(part.lonely)
        if name not in found or rank > found[name][0]:
            found[name] = rank, part
    return [found[name][1] for name in _ORDER if name in found]


def _places(tree: Tree, series: Iterable[Series]) -> str:
    folders = list(dict.fromkeys(str(tree.root / one.folder) for one in series))
    return ", ".join(folders[:3]) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")
