"""What is written of masks: the masks themselves, overlays, a legend of their values, and a contact sheet."""

from __future__ import annotations

import colorsys
import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from spectral_bench.common.files import write_bytes
from spectral_bench.common.missing import shown

LEGEND, SHEET = "legend.csv", "contact_sheet.jpg"  # no mask and no overlay has such a name
NO_CLASS = -1
_GOLDEN = 0.618033988749895  # steps of the golden ratio around the colour circle keep neighbouring hues apart
_PALETTE = 256  # values that a palette has room for
_OPAQUE, _TINTED = 0.55, 0.35  # of an overlay's colours, without and with contours
_ON_SHEET = 60  # images that a contact sheet shows
_TILE, _GAP, _LINE = (200, 150), 8, 20  # width and height of a picture, between two, and of a line of text; pixels
_PAIRS = 3  # of photograph and overlay side by side
_ON_LEGEND = 48  # values that the legend of a contact sheet lists


@dataclass(frozen=True)
class Key:
    """What the values of masks mean.

    Attributes:
        colours: (N, 3) uint8, the colour of each value.
        names: the classes that values stand for; empty where they are clusters, which have no names.
        class_of: (K,) the class of each cluster, ``NO_CLASS`` for none; None where values are clusters.
        told: how clusters got their classes, in a line.
        matched_by: the same in a few words.
    """

    colours: NDArray[np.uint8]
    names: tuple[str, ...] = ()
    class_of: NDArray[np.int64] | None = None
    told: str = ""
    matched_by: str = ""

    @property
    def cluster_names(self) -> tuple[str | None, ...]:
        """The name of each cluster, None for one without; empty where values are clusters."""
        found = () if self.class_of is None else self.class_of.tolist()
        return tuple(None if index == NO_CLASS else self.names[index] for index in found)

    @property
    def has_palette(self) -> bool:
        """Whether masks are indices with a palette: all values, and that of no class, are below 256."""
        return len(self.colours) + (self.class_of is not None) <= _PALETTE

    @property
    def no_class(self) -> int:
        """What masks of classes hold where a cluster has none: the largest value there is, which data sets ignore."""
        return 255 if self.has_palette else 65535

    def values(self, clusters: NDArray[np.int64]) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """(H, W) values of a mask from (H, W) clusters."""
        found = clusters
        if self.class_of is not None:
            found = np.where(self.class_of == NO_CLASS, self.no_class, self.class_of)[clusters]
        return found.astype(np.uint8) if self.has_palette else found.astype(np.uint16)

    def picture(self, values: NDArray[np.uint8] | NDArray[np.uint16]) -> Image.Image:
        """The mask in colours, RGB; black where there is no class."""
        if values.dtype == np.uint8:
            return self.mask(values).convert("RGB")
        room = np.zeros((65536, 3), np.uint8)
        room[: len(self.colours)] = self.colours
        return Image.fromarray(room[values])

    def mask(self, values: NDArray[np.uint8] | NDArray[np.uint16]) -> Image.Image:
        """The mask as it is written: indices with a palette, or 16-bit grey where there are more than 256 values."""
        mask = Image.fromarray(values)
        if values.dtype == np.uint8:
            black = 0 if self.class_of is None else _PALETTE - len(self.colours)
            mask.putpalette(self.colours.tobytes() + bytes(3 * black))
        return mask


def cluster_key(n_clusters: int) -> Key:
    """The key of masks that hold clusters."""
    return Key(palette(n_clusters))


def palette(n: int) -> NDArray[np.uint8]:
    """(n, 3) RGB colours that tell neighbours apart: hues by the golden ratio, three levels of brightness."""
    colours = [colorsys.hsv_to_rgb((i * _GOLDEN) % 1.0, 0.55 + 0.4 * (i % 2), 0.95 - 0.2 * (i % 3)) for i in range(n)]
    return (np.array(colours) * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Drawn:
    """What was written of one image.

    Attributes:
        name: its stem.
        files: what was written.
        counts: value of its mask -> pixels.
        tile: the image and its overlay side by side, small; None where no contact sheet is wanted.
    """

    name: str
    files: list[Path]
    counts: dict[int, int]
    tile: Image.Image | None = field(default=None, repr=False)


def draw(
    name: str,
    clusters: NDArray[np.int64],
    image: Callable[[], NDArray[np.uint8]],
    key: Key,
    targets: Sequence[Path],
    *,
    contours: bool = False,
    tile: bool = False,
) -> Drawn:
    """Write the mask of an image, and an overlay where there is a second target.

    Args:
        name: the image's stem.
        clusters: (H, W).
        image: gives the (H, W, 3) image that an overlay is laid on; it is asked for only where there is one.
        key: what the mask shall hold.
        targets: of the mask, and of the overlay.
        contours: draw the borders between values on the overlay.
        tile: make a picture for the contact sheet.
    """
    values = key.values(clusters)
    _save(key.mask(values), targets[0], "PNG")
    found, counts = np.unique(values, return_counts=True)
    small = None
    if tile or len(targets) > 1:
        seen = Image.fromarray(image())
        for target in targets[1:]:
            _save(overlay(seen, values, key, contours=contours), target, "JPEG")
        small = _tile(seen, values, key, contours=contours) if tile else None
    return Drawn(name, list(targets), dict(zip(found.tolist(), counts.tolist(), strict=True)), small)


def overlay(
    image: Image.Image, values: NDArray[np.uint8] | NDArray[np.uint16], key: Key, *, contours: bool
) -> Image.Image:
    """The colours of a mask over its image, and white lines on the borders between values where they are wanted."""
    mixed = Image.blend(image, key.picture(values), _TINTED if contours else _OPAQUE)
    if contours:
        mixed.paste((255, 255, 255), mask=_borders(values))
    return mixed


def _borders(values: NDArray[np.uint8] | NDArray[np.uint16]) -> Image.Image:
    """Where a pixel has another value than the one to its left or above it, as wide as one sees in the whole image."""
    edge = np.zeros(values.shape, np.uint8)
    edge[:, 1:][values[:, 1:] != values[:, :-1]] = 255
    edge[1:][values[1:] != values[:-1]] = 255
    wide = min(values.shape) // 500
    return Image.fromarray(edge).filter(ImageFilter.MaxFilter(2 * wide + 1))


def write_legend(folder: Path, drawn: Sequence[Drawn], key: Key) -> Path:
    """Write ``legend.csv``: a line a value with its colour and its share of the pixels of all images.

    Of clusters: ``cluster, colour, share, images``; of classes: ``class, name, colour, share, images, clusters,
    matched_by``, with a last line for the pixels of clusters that have none. ``images`` counts those that show it.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = legend(drawn, key)
    if key.class_of is None:
        writer.writerow(("cluster", "colour", "share", "images"))
        writer.writerows((row.value, row.colour, f"{row.share:.6f}", row.images) for row in rows)
    else:
        writer.writerow(("class", "name", "colour", "share", "images", "clusters", "matched_by"))
        for row in rows:
            clusters = " ".join(map(str, row.clusters))
            writer.writerow((row.value, row.name, row.colour, f"{row.share:.6f}", row.images, clusters, key.matched_by))
    write_bytes(folder / LEGEND, text.getvalue().encode())
    return folder / LEGEND


@dataclass(frozen=True)
class LegendRow:
    """A value of some masks: its name and colour (``#rrggbb``), its share of all pixels, and its clusters."""

    value: int
    name: str
    colour: str
    share: float
    images: int
    clusters: tuple[int, ...]


def legend(drawn: Sequence[Drawn], key: Key) -> list[LegendRow]:
    """All values that masks may hold, in order; the last one of classes is the value of those without one."""
    total = sum(count for one in drawn for count in one.counts.values())
    colours = [*key.colours.tolist()]
    values, names = list(range(len(colours))), list(key.names) or [""] * len(colours)
    if key.class_of is not None:
        values, names, colours = [*values, key.no_class], [*names, "no class"], [*colours, [0, 0, 0]]
    rows = []
    for value, name, colour in zip(values, names, colours, strict=True):
        wanted = NO_CLASS if key.class_of is not None and value == key.no_class else value
        clusters = (value,) if key.class_of is None else tuple(np.flatnonzero(key.class_of == wanted).tolist())
        pixels = sum(one.counts.get(value, 0) for one in drawn)
        images = sum(value in one.counts for one in drawn)
        rows.append(
            LegendRow(value, name, "#{:02x}{:02x}{:02x}".format(*colour), pixels / max(total, 1), images, clusters)
        )
    return rows


def on_sheet(names: Sequence[str]) -> frozenset[str]:
    """The images that a contact sheet shows: all, or 60 of them at equal distances."""
    step = max(1.0, len(names) / _ON_SHEET)
    return frozenset(names[int(index * step)] for index in range(min(len(names), _ON_SHEET)))


def write_sheet(folder: Path, drawn: Sequence[Drawn], key: Key) -> Path:
    """Write ``contact_sheet.jpg``: images beside their overlays, small, under their names, and the legend below."""
    tiles = [(one.name, one.tile) for one in drawn if one.tile is not None]
    across = min(_PAIRS, len(tiles))
    step = (2 * _TILE[0] + 2 * _GAP, _TILE[1] + _LINE + _GAP)
    down = math.ceil(len(tiles) / across)
    width = max(across * step[0], 2 * step[0]) + _GAP
    lines, cell = _legend_lines(legend(drawn, key), key, width - 2 * _GAP)
    if len(tiles) < len(drawn):
        lines.append([(None, f"{len(tiles)} of {len(drawn)} images")])
    sheet = Image.new("RGB", (width, down * step[1] + len(lines) * _LINE + 2 * _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (name, tile) in enumerate(tiles):
        left, top = _GAP + index % across * step[0], _GAP + index // across * step[1]
        sheet.paste(tile, (left, top))
        pen.text((left, top + _TILE[1] + 2), _fitting(shown(name), 2 * _TILE[0]), "black", _font())
    for number, line in enumerate(lines):
        _draw_line(pen, line, down * step[1] + _GAP + number * _LINE, cell)
    _save(sheet, folder / SHEET, "JPEG")
    return folder / SHEET


_Entry = tuple[str | None, str]  # the colour of a swatch, and what is said beside it


def _legend_lines(rows: Sequence[LegendRow], key: Key, width: int) -> tuple[list[list[_Entry]], int]:
    """The legend of a sheet: what occurs, as many entries a line as fit; and how wide the column of each is."""
    used = [row for row in rows if row.images]
    # The largest ones, listed in the order of their values.
    kept = sorted(sorted(used, key=lambda row: -row.share)[:_ON_LEGEND], key=lambda row: row.value)
    entries: list[_Entry] = [
        (row.colour, f"{_printable(row.name or f'cluster {row.value}')}  {100 * row.share:.1f} %") for row in kept
    ]
    cell = max(_entry_width(entry) for entry in entries)
    across = max(1, width // cell)
    lines = [entries[start : start + across] for start in range(0, len(entries), across)]
    if key.told:
        lines.insert(0, [(None, _fitting(key.told, width))])
    if len(kept) < len(used):
        lines.append([(None, f"and {len(used) - len(kept)} more in {LEGEND}")])
    return lines, cell


def _entry_width(entry: _Entry) -> int:
    return math.ceil(_font().getlength(entry[1])) + _LINE + 3 * _GAP


def _draw_line(pen: ImageDraw.ImageDraw, line: Sequence[_Entry], top: int, cell: int) -> None:
    for number, (colour, text) in enumerate(line):
        left = _GAP + number * cell
        if colour is not None:
            pen.rectangle((left, top + 2, left + _LINE - 6, top + _LINE - 4), fill=colour, outline="black")
            left += _LINE
        pen.text((left, top), text, "black", _font())


def _tile(
    image: Image.Image, values: NDArray[np.uint8] | NDArray[np.uint16], key: Key, *, contours: bool
) -> Image.Image:
    """An image and its overlay, each in the middle of a box of ``_TILE``."""
    factor = min(_TILE[0] / image.width, _TILE[1] / image.height)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small = image.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR)
    # The nearest value, as values between two clusters would be a third one.
    mask = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))
    tile = Image.new("RGB", (2 * _TILE[0] + _GAP // 2, _TILE[1]), (235, 235, 235))
    place = ((_TILE[0] - size[0]) // 2, (_TILE[1] - size[1]) // 2)
    tile.paste(small, place)
    tile.paste(overlay(small, mask, key, contours=contours), (place[0] + _TILE[0] + _GAP // 2, place[1]))
    return tile


def _fitting(text: str, width: int) -> str:
    """A text as the font shows it, cut where it is wider than this many pixels, between two of its characters."""
    letters = [_letter(char) for char in text]
    if _font().getlength("".join(letters)) <= width:
        return "".join(letters)
    while letters and _font().getlength(f"{''.join(letters)}...") > width:
        letters.pop()
    return f"{''.join(letters)}..."


def _printable(text: str) -> str:
    """Text as the font shows it: what it lacks as code points."""
    return "".join(map(_letter, text))


@cache
def _letter(char: str) -> str:
    # What the font draws for a character that it lacks, a box, is what it draws for one that is none.
    lacking = bytes(_font().getmask(char)) == bytes(_font().getmask("\U0010ffff"))
    return f"[U+{ord(char):04X}]" if lacking else char


@cache
def _font() -> ImageFont.FreeTypeFont:
    # That of matplotlib, which has the letters of most alphabets; Pillow's own has those of English.
    found = find_spec("matplotlib")  # not imported: that takes a fifth of a second
    assert found is not None
    assert found.origin is not None
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", 13)


def _save(image: Image.Image, path: Path, kind: str) -> None:
    # Through memory, as `write_bytes` replaces a file in one step: a kill leaves no half of a picture.
    buffer = BytesIO()
    image.save(buffer, format=kind, **({"quality": 90} if kind == "JPEG" else {}))
    write_bytes(path, buffer.getvalue())
