"""From what lies in a folder to a description of it: the text of its YAML file, and what it takes to decide more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from spectral_bench.common.documents.reading import parse_value
from spectral_bench.common.errors import DataError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.missing import no_such, shown
from spectral_bench.common.names import few, how_many
from spectral_bench.datasets.checks import Size
from spectral_bench.datasets.listing import Listing
from spectral_bench.datasets.survey.pixels import (
    MOST_VALUES,
    Colour,
    LabelFacts,
    Progress,
    as_numbers,
    index_of_colours,
    look_at_images,
    look_at_labels,
    write_numbers,
)
from spectral_bench.datasets.survey.series import look_through, require_images
from spectral_bench.datasets.survey.splits import Files, Sorted, Split, sort_files

_VOID = (255, 65535)
_LONG_SIDE, _STEP = 640, 32  # of a proposed evaluation size, in pixels
_NAMED = 4  # files that a message names
_EXAMPLE_LINES = """\
# short_side: 512                 # pixels, for transform: paper (with window) and protocol sliding
# window: 512                     # (with both others)
# stride: 320
"""


@dataclass
class Proposal:
    """A description that is not written yet.

    Attributes:
        path: of the YAML file.
        text: its content.
        lists: lists of ids to write beside it, by name of the file.
        labels: labels to write as numbers -> colour-coded labels.
        numbers: the number of each colour of these.
        found: what was found, one line each.
        undecided: what could not be decided, and what was taken instead, one line each.
        problems: what is wrong with files and will be told by ``bench data verify``, one line each.
    """

    path: Path
    text: str = ""
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[Path, Path] = field(default_factory=dict)
    numbers: dict[Colour, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Write labels and lists, then the YAML file. Raises ``StoreError`` where that cannot be."""
        for target, source in self.labels.items():
            write_numbers(source, target, self.numbers)
        for name, ids in self.lists.items():
            write_bytes(self.path.parent / name, "".join(f"{file_id}\n" for file_id in ids).encode())
        write_bytes(self.path, self.text.encode())


def propose(
    root: Path, path: Path, *, numbers_to: Path | None = None, jobs: int = 4, progress: Progress | None = None
) -> Proposal:
    """A description of what lies in a folder. Nothing is written yet.

    Args:
        root: the folder.
        path: of the YAML file to be, which names files relative to its own folder where they lie below or beside that.
        numbers_to: where to write colour-coded labels as PNGs of numbers; None: they are left out.
        jobs: threads that read.
        progress: called with (labels read, labels to read).

    Raises:
        DataError: the folder is missing or holds no image, or a file to be written is there already.
    """
    if not root.is_dir():
        raise DataError(no_such(root, "folder"))
    _require_free(root, path, numbers_to)
    tree = look_through(root)
    require_images(tree)
    files = sort_files(tree)
    if not files.splits:
        raise DataError(f"{root}: no folder or pattern names its images; {'; '.join(files.notes)}")
    made = Proposal(path, undecided=list(dict.fromkeys(files.notes)), problems=list(tree.problems))
    images = look_at_images((one for split in files.splits for one in split.images.listing.files.values()), jobs)
    pairs = _pairs(files.splits)
    labels = look_at_labels(pairs, images.sizes, jobs=jobs, progress=progress)
    if numbers_to is not None:
        _require_colours(root, labels, numbers_to)
        files, labels = _numbered(files, labels, numbers_to, made)
    made.problems += [*images.problems, *labels.problems]
    usable = bool(pairs) and _usable(labels, made)
    planned = list(_planned(root, files, made, labelled=usable))
    seen = labels if usable else None
    _say_found(planned, seen, sorted(set(images.sizes.values())), made)
    made.text = _text(root, planned, seen, sorted(images.sizes.values()), made)
    _require_lists_free(made)
    return made


def _require_colours(root: Path, labels: LabelFacts, folder: Path) -> None:
    if labels.kind != "colours":
        raise DataError(f"--numbers-to {folder}: there are no colour-coded labels in {root}")
    if labels.kinds.get("unreadable"):
        raise DataError(f"--numbers-to {folder}: some labels cannot be read: {few(labels.problems, _NAMED)}")


def _require_lists_free(made: Proposal) -> None:
    for name in made.lists:
        if (made.path.parent / name).exists():
            raise DataError(f"{made.path.parent / name}: is there already and is not written over; remove it")


def _require_free(root: Path, path: Path, numbers_to: Path | None) -> None:
    for place in filter(None, (root, path, numbers_to)):
        if any("\ud800" <= sign <= "\udfff" for sign in str(place.absolute())):
            raise DataError(f"{shown(place)}: this path is no UTF-8, as descriptions are; give it another name")
    if path.suffix.lower() not in (".yaml", ".yml") or path.is_dir():
        raise DataError(f"--to {path}: expected the name of a YAML file, such as {path.with_suffix('.yaml')}")
    if path.exists() or path.is_symlink():
        raise DataError(f"{path}: is there already and is not written over; remove it, or give another name with --to")
    if numbers_to is not None and numbers_to.exists() and (not numbers_to.is_dir() or any(numbers_to.iterdir())):
        raise DataError(f"--numbers-to {numbers_to}: expected a folder that is new or empty")


def _numbered(files: Sorted, labels: LabelFacts, folder: Path, made: Proposal) -> tuple[Sorted, LabelFacts]:
    """Files and facts as they are once colour-coded labels are written as numbers."""
    made.numbers = index_of_colours(labels.values)
    splits = []
    for split in files.splits:
        place = folder.absolute() / split.name if files.parted == "folders" else folder.absolute()
        targets = {file_id: place / f"{file_id}.png" for file_id in split.pairs}
        made.labels |= {target: split.pairs[file_id] for file_id, target in targets.items()}
        text = str(place / "**" / "*.png") if any("/" in file_id for file_id in targets) else str(place)
        written = Files(text, Listing(place, targets)) if targets else None
        splits.append(replace(split, labels=written))
    made.found.append(f"colour-coded labels: {len(made.numbers)} colours, written as numbers to {folder}")
    return replace(files, splits=tuple(splits)), as_numbers(labels, made.numbers)


def _pairs(splits: Iterable[Split]) -> list[tuple[Path, Path]]:
    """Each image that has a label, and that, once."""
    pairs = ((split.images.listing.files[one], label) for split in splits for one, label in split.pairs.items())
    return list(dict.fromkeys(pairs))


def _usable(labels: LabelFacts, made: Proposal) -> bool:
    """Whether labels can be described by what was seen; notes why not."""
    why = ""
    if labels.kind is None:
        why = "of several kinds: " + ", ".join(f"{count} {kind}" for kind, count in labels.kinds.items())
    elif labels.kind == "lossy":
        why = "of a format that does not keep numbers"
    elif labels.kind == "colours":
        why = (
            f"colour-coded ({how_many(len(labels.values), 'colour')}), and labels are read as numbers of one channel; "
            "to write them as such, and describe those, add --numbers-to FOLDER"
        )
    elif len(labels.values) > MOST_VALUES:
        why = f"of {len(labels.values)} values, as those of instances are; expected at most {MOST_VALUES} classes"
    if why:
        made.undecided.append(f"labels are left out: they are {why}")
    return not why


@dataclass(frozen=True)
class _Planned:
    """A split as it will be described."""

    name: str
    images: str
    labels: str | None
    ids: str | None
    note: str


def _planned(root: Path, files: Sorted, made: Proposal, *, labelled: bool) -> Iterator[_Planned]:
    """Splits as they will be described, so that each of their images has a label or none needs one."""

    def located(text: str) -> str:
        return _located(root, text, made.path)

    for split in files.splits:
        count = how_many(len(split.images.listing.files), "image")
        listed = located(str(split.listed)) if split.listed is not None else None
        whole = _Planned(split.name, located(split.images.text), None, listed, count)
        if split.labels is None or not split.pairs or not labelled:
            yield whole if files.parted else replace(whole, name="train")
            continue
        complete = not split.lonely and not split.orphans
        name = split.name if files.parted else "val"
        _note_unpaired(name, split, files, made)
        ids = listed if complete else _list_of(name, split, made)
        pairs = replace(
            whole, name=name, labels=located(split.labels.text), ids=ids, note=f"{len(split.pairs)} images with labels"
        )
        if not files.parted:
            yield replace(pairs if complete else whole, name="train")
            yield pairs
        else:
            yield whole if name == "train" and 2 * len(split.pairs) < len(split.images.listing.files) else pairs


def _list_of(name: str, split: Split, made: Proposal) -> str:
    """A list of the ids that have image and label, to be written beside the description."""
    file = f"{made.path.stem}_{name}.txt"
    made.lists[file] = tuple(split.pairs)
    return file


def _note_unpaired(name: str, split: Split, files: Sorted, made: Proposal) -> None:
    used = {label for other in files.splits for label in other.pairs.values()}
    orphans = [path for path in split.orphans if path not in used]
    for what, lack, paths in (("image", "label", split.lonely), ("label", "image", orphans)):
        if paths:
            names = few([shown(path.name) for path in paths], _NAMED)
            has = "has" if len(paths) == 1 else "have"
            made.undecided.append(f"{name}: {how_many(len(paths), what)} {has} no {lack}: {names}")


def _located(root: Path, text: str, path: Path) -> str:
    """A path below the root as a description in ``path`` has it.

    Relative, so that both can be moved together, where it lies below that file's folder or beside it; else absolute.
    """
    whole, folder = root.absolute() / text, path.absolute().parent
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    around = folder.parent
    # A folder that is a link leads up to another one than that it is named in, and all there is lies below the topmost.
    beside = whole.is_relative_to(around) and around != around.parent and folder.resolve().parent == around.resolve()
    return f"../{whole.relative_to(around).as_posix()}" if beside else whole.as_posix()


def _say_found(planned: list[_Planned], labels: LabelFacts | None, sizes: list[Size], made: Proposal) -> None:
    for one in planned:
        parts = [one.images, *([one.labels] if one.labels else []), *([f"ids of {one.ids}"] if one.ids else [])]
        made.found.append(f"{one.name}: {one.note} ({', '.join(parts)})")
    if sizes:
        low, high = (f"{height} x {width}" for height, width in (sizes[0], sizes[-1]))
        made.found.append(
            f"images: {low} pixels" if low == high else f"images: {low} to {high} pixels (height x width)"
        )
    if labels is not None:
        values = _ranges(sorted(value for value in labels.values if isinstance(value, int)))
        colours = ", a palette of colours" if labels.palette else ""
        made.found.append(f"labels: values {values}{colours}")
    _say_splits(planned, made)


def _say_splits(planned: list[_Planned], made: Proposal) -> None:
    names, labelled = [one.name for one in planned], [one.name for one in planned if one.labels]
    if not labelled:
        made.undecided.append("without labels nothing can be scored: say protocols: [] in grids, which then fit only")
    elif len(planned) == 2 and planned[0].images == planned[1].images and not any(one.ids for one in planned):
        made.undecided.append(
            "no splits found: train and val are both all images. Fits see no labels, but scores are of images that"
            " were trained on; part them by lists of ids"
        )
    wanted = {"train_split": ("train", names[0]), **({"split": ("val", labelled[-1])} if labelled else {})}
    if missing := [f"{key}: {there}" for key, (usual, there) in wanted.items() if usual not in names]:
        made.undecided.append(f"grids look for train and val: say {', '.join(missing)} there")


def _ranges(values: list[int]) -> str:
    """Numbers in words: ``0 to 11, 255``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return few([f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs], 8)


def _text(root: Path, planned: list[_Planned], labels: LabelFacts | None, sizes: list[Size], made: Proposal) -> str:
    splits = []
    for one in planned:
        keys = (("images", one.images), ("labels", one.labels), ("ids", one.ids))
        stated = ", ".join(f"{key}: {_quoted(value)}" for key, value in keys if value is not None)
        splits.append(f"  {_quoted(one.name)}: {{{stated}}}".ljust(33) + f" # {one.note}")
    below = [*(_class_lines(labels, made) if labels is not None else ()), *_size_lines(sizes, made)]
    above = [
        f"# What `bench data init` saw in {shown(root)}. All keys: docs/data.md",
        *(f"# Not decided: {line}" for line in made.undecided),
        f"title: {_quoted(root.resolve().name or made.path.stem)}".ljust(34) + "# as tables and figures have it",
        "splits:                           # paths start from the folder of this file",
    ]
    return "\n".join((*above, *splits, *below)) + "\n" + _EXAMPLE_LINES


def _class_lines(labels: LabelFacts, made: Proposal) -> Iterator[str]:
    values = sorted(value for value in labels.values if isinstance(value, int))
    void = next((value for value in _VOID if value in values and len(values) > 2), None)
    total, files = sum(labels.values.values()), sum(labels.kinds.values())

    def seen(value: int) -> str:
        return f"{100 * labels.values[value] / total:.2g} % of the pixels, in {labels.images[value]} of {files} labels"

    if labels.palette:
        yield "classes:                          # label values and names; two values: ids: [1, 2]"
    else:
        yield "classes:                          # label value: name; values of one name are one class"
    for value in values:
        if value == void:
            continue
        name = f"class_{value}"
        colour = f", colour: {list(labels.palette[value])}" if labels.palette else ""
        entry = f"  - {{name: {name}, ids: [{value}]{colour}}}" if labels.palette else f"  {value}: {name}"
        yield f"{entry:<33} # {seen(value)}"
    made.undecided.append(f"names of classes: class_{values[0]} and so on stand for them")
    if void is None:
        yield "# ignore: 255                     # label values that count for nothing: one, or [0, 255]"
        made.undecided.append("no label value was taken to be void: move one that counts for nothing to ignore")
    else:
        yield f"ignore: {void}".ljust(33) + f" # counts for nothing: one value, or a list. {seen(void)}"
        made.undecided.append(f"label value {void} was taken to be void, as is usual: see ignore")


def _size_lines(sizes: list[Size], made: Proposal) -> Iterator[str]:
    if len(set(sizes)) < 2:
        size = list(sizes[0]) if sizes else [480, 640]
        yield f"# evaluation_size: {size}".ljust(33) + " # height, width to resize images to; now they keep theirs"
        return
    height, width = (sorted(side)[len(sizes) // 2] for side in zip(*sizes, strict=True))
    scale = min(1.0, _LONG_SIDE / max(height, width))
    size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (height, width)]
    yield f"evaluation_size: {size}".ljust(33) + " # height, width that images are resized to; labels keep theirs"
    made.undecided.append(
        f"images differ in size: all are resized to {size[0]} x {size[1]} (evaluation_size), or crop in grids"
    )


def _quoted(text: str) -> str:
    """A text as YAML has it, in quotes where it would be read as another."""
    plain = re.fullmatch(r"[\w./~][\w./*~ -]*", text) is not None and text == text.strip()
    return text if plain and parse_value(text) == text else json.dumps(text, ensure_ascii=False)
