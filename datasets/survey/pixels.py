"""What the images and labels of a folder hold: sizes, the kinds of label files, label values and their colours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.common.files import write_bytes
from spectral_bench.datasets.checks import Size, size_problem
from spectral_bench.datasets.description import HIGHEST_LABEL
from spectral_bench.datasets.drawn import as_stored, png_depth, require_lossless
from spectral_bench.datasets.reading import LABEL_MODES, image_header, read_label

Progress = Callable[[int, int], None]
Kind = Literal["numbers", "colours", "lossy", "unreadable"]
Colour = tuple[int, int, int]
MOST_VALUES = 256
"""Label values, or colours, that a data set may have to be described by what was seen."""
_MOST_COLOURS = 4096  # of one file that are looked at: a photograph has more, colour-coded labels have not
_COLOUR_MODES = ("RGB", "RGBA", "LA")


@dataclass(frozen=True)
class ImageFacts:
    """Sizes of images.

    Attributes:
        sizes: (height, width) of each image that can be read, by its path.
        problems: a line for each that cannot.
    """

    sizes: Mapping[Path, Size]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class LabelFacts:
    """What label files hold.

    Attributes:
        kinds: kind of files -> how many there are.
        values: label value, or colour where labels are colour-coded -> how many pixels have it.
        images: likewise, how many files hold it.
        palette: label value -> colour, where all files have one palette with colours in it; else empty.
        problems: a line for each file that cannot be read as a label or is of another size than its image.
    """

    kinds: Mapping[Kind, int]
    values: Mapping[int | Colour, int]
    images: Mapping[int | Colour, int]
    palette: Mapping[int, Colour]
    problems: tuple[str, ...]

    @property
    def kind(self) -> Kind | None:
        """What labels are where all that can be read are of one kind; None where they are not."""
        found = [kind for kind in self.kinds if kind != "unreadable"]
        return found[0] if len(found) == 1 else None


def look_at_images(paths: Iterable[Path], jobs: int = 4) -> ImageFacts:
    """The sizes of images from their headers."""

    def size(path: Path) -> Size | str:
        try:
            return image_header(path)
        except DataError as error:
            return str(error)

    listed = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        found = dict(zip(listed, pool.map(size, listed), strict=True))
    sizes = {path: one for path, one in found.items() if not isinstance(one, str)}
    return ImageFacts(sizes, tuple(one for one in found.values() if isinstance(one, str)))


@dataclass(frozen=True)
class _Label:
    kind: Kind
    size: Size = (0, 0)
    counts: Mapping[int | Colour, int] | None = None
    palette: tuple[Colour, ...] = ()
    shown_otherwise: bool = False  # numbers may show as other greys: a palette of greys, or fewer than 8 bits
    problem: str = ""


def look_at_labels(
    pairs: Sequence[tuple[Path, Path]], sizes: Mapping[Path, Size], *, jobs: int = 4, progress: Progress | None = None
) -> LabelFacts:
    """Read all labels in full.

    Args:
        pairs: an image and its label each.
        sizes: of the images.
        jobs: threads that read.
        progress: called with (labels read, labels to read).
    """
    values: Counter[int | Colour] = Counter()
    images: Counter[int | Colour] = Counter()
    kinds: Counter[Kind] = Counter()
    palettes: set[tuple[Colour, ...]] = set()
    again: list[Path] = []
    problems: list[str] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for done, (found, (image, path)) in enumerate(
            zip(pool.map(_read, (path for _, path in pairs)), pairs, strict=True), start=1
        ):
            kinds[found.kind] += 1
            values.update(found.counts or {})
            images.update(dict.fromkeys(found.counts or {}, 1))
            palettes.add(found.palette)
            again += [path] if found.shown_otherwise else []
            problems += [found.problem] if found.problem else []
            if not found.problem and image in sizes and (line := size_problem(path, found.size, image, sizes[image])):
                problems.append(line)
            if progress is not None:
                progress(done, len(pairs))
    problems += [line for path in again if (line := _refusal(path, {v for v in values if isinstance(v, int)}))]
    return LabelFacts(kinds, values, images, _one_palette(palettes, values), tuple(problems))


def _read(path: Path) -> _Label:
    try:
        with Image.open(path) as image:
            size = (image.height, image.width)
            require_lossless(path, image)
            if image.mode in LABEL_MODES:
                return _numbers(path, image, size)
            if image.mode in _COLOUR_MODES:
                return _Label("colours", size, _colours(image))
            return _Label("unreadable", problem=f"{path}: pixels of mode {image.mode}; expected one channel of numbers")
    except DataError as error:
        return _Label("lossy", problem=str(error))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return _Label("unreadable", problem=f"{path}: cannot be read as an image ({error})")


def _numbers(path: Path, image: Image.Image, size: Size) -> _Label:
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3) if image.mode == "P" else None
    greys = palette is not None and bool((palette == palette[:, :1]).all())
    found, counts = np.unique(as_stored(path, image), return_counts=True)
    if found.size and (found[0] < 0 or found[-1] > HIGHEST_LABEL):
        return _Label("unreadable", problem=f"{path}: label value {found[0]} to {found[-1]}; expected 0 to 65535")
    colours = () if palette is None or greys else tuple((int(r), int(g), int(b)) for r, g, b in palette)
    few_bits = palette is None and image.format == "PNG" and png_depth(path)[0] < 8
    return _Label("numbers", size, dict(zip(found.tolist(), counts.tolist(), strict=True)), colours, greys or few_bits)


def _packed(image: Image.Image) -> NDArray[np.uint32]:
    """(H, W) colours, each as one number."""
    return np.asarray(image.convert("RGB")).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _colours(image: Image.Image) -> dict[int | Colour, int]:
    found, counts = (part[:_MOST_COLOURS].tolist() for part in np.unique(_packed(image), return_counts=True))
    return {(one >> 16, one >> 8 & 255, one & 255): count for one, count in zip(found, counts, strict=True)}


def _refusal(path: Path, valid: set[int]) -> str:
    """Why a label whose numbers may show as other greys is refused beside these label values; empty if it is not."""
    try:
        read_label(path, valid)
    except DataError as error:
        return str(error)
    return ""


def _one_palette(palettes: set[tuple[Colour, ...]], values: Iterable[int | Colour]) -> dict[int, Colour]:
    """The colours of the values that were seen, if all palettes have the same ones."""
    found: dict[int, set[Colour]] = defaultdict(set)
    for palette in palettes:
        for value in values:
            if isinstance(value, int):
                found[value] |= {palette[value]} if value < len(palette) else {(-1, -1, -1)}
    known = {value: next(iter(colours)) for value, colours in found.items() if len(colours) == 1}
    all_known = len(known) == len(found) and (-1, -1, -1) not in known.values()
    return known if all_known and len(set(known.values())) == len(known) else {}


def index_of_colours(colours: Iterable[int | Colour]) -> dict[Colour, int]:
    """The number that each colour of colour-coded labels gets: greys their own grey, else by order of the colours.

    Raises:
        DataError: there are more than 256.
    """
    found = sorted(colour for colour in colours if isinstance(colour, tuple))
    if len(found) > MOST_VALUES:
        raise DataError(
            f"labels have {len(found)} colours; expected at most {MOST_VALUES}: edges may be blurred, or these are no"
            " colour-coded labels"
        )
    if all(red == green == blue for red, green, blue in found):
        return {colour: colour[0] for colour in found}
    return {colour: number for number, colour in enumerate(found)}


def as_numbers(labels: LabelFacts, numbers: Mapping[Colour, int]) -> LabelFacts:
    """What colour-coded labels hold once each colour is the number that it gets."""

    def numbered(counts: Mapping[int | Colour, int]) -> dict[int | Colour, int]:
        return {numbers[colour]: count for colour, count in counts.items() if isinstance(colour, tuple)}

    palette = {} if _are_greys(numbers) else {number: colour for colour, number in numbers.items()}
    kinds: dict[Kind, int] = {"numbers": labels.kinds["colours"]}
    return LabelFacts(kinds, numbered(labels.values), numbered(labels.images), palette, labels.problems)


def write_numbers(source: Path, target: Path, numbers: Mapping[Colour, int]) -> None:
    """Write a colour-coded label as a PNG of numbers, with the colours as its palette unless all are greys.

    Raises:
        StoreError: the file cannot be written.
    """
    with Image.open(source) as image:
        pixels = _packed(image)
    packed = {red << 16 | green << 8 | blue: number for (red, green, blue), number in numbers.items()}
    found, inverse = np.unique(pixels, return_inverse=True)
    table = np.array([packed[one] for one in found.tolist()], np.uint8)
    label = Image.fromarray(table[inverse].reshape(pixels.shape))
    if not _are_greys(numbers):
        label.putpalette([part for colour in sorted(numbers, key=lambda one: numbers[one]) for part in colour])
    write_bytes(target, _png(label))


def _are_greys(numbers: Mapping[Colour, int]) -> bool:
    return all(colour == (number,) * 3 for colour, number in numbers.items())


def _png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()
