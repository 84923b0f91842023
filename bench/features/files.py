"""Files of features that were computed elsewhere: which there are, what their headers tell, and their numbers.

One array (h, w, C) or (C, h, w) an image and level: ``ID.npy``, ``ID.pt`` or ``ID.safetensors``. No torch is imported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from spectral_bench.bench.features.backbones.interface import Backbone
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.missing import no_such, shown
from spectral_bench.common.names import few, how_many, nearest
from spectral_bench.common.registry import FROM_FILES, short_name
from spectral_bench.datasets.contents import contents_digest
from spectral_bench.datasets.patterns import list_files

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spectral_bench.results.specification import Features

_LONGEST_TITLE = 100
SUFFIXES = (".npy", ".pt", ".safetensors")
_DTYPES = ("float16", "bfloat16", "float32", "float64")
_SAFETENSORS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_FAR, _NEAR = 4, 2  # how many times as long as broad patches are that nobody makes, and that one may expect
_ORDERS = {"hwc": "(h, w, C)", "chw": "(C, h, w)"}


class Elsewhere(Backbone):
    """What files of features are, by the first of them.

    Args:
        name: ``files:TITLE``.
        options: ``channels`` of each level, and ``stride`` in pixels, or the ``grid`` of patches that spans an image.
    """

    family = "files"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.channels = tuple(options.get("channels", (1,)))
        self.stride = int(options.get("stride", 1))
        rows, columns = options.get("grid", (1, 1))
        self.native = None if "stride" in options else (rows, columns)

    @classmethod
    def complete(cls, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Nobody states these options: planning reads them from a file."""
        return dict(options)

    def digest(self) -> str:
        """That of the files is known where they are listed."""
        return "files"

    def load(self) -> NoReturn:
        """Refused: nothing makes features of other images."""
        raise ConfigError(
            f"{short_name(self.name)}: its features were computed elsewhere and lie in files, so there are none of "
            "other images"
        )

    def levels(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """Refused as ``load`` is."""
        self.load()


def titled(title: str) -> str:
    """The name of the backbone that stands for features, ``files:TITLE``. Raises ``ConfigError`` at an odd title."""
    if not title.strip() or not title.isprintable() or len(title) > _LONGEST_TITLE:
        raise ConfigError(f"expected a title of 1 to {_LONGEST_TITLE} printable characters, got {title!r}")
    return f"{FROM_FILES}{title}"


@dataclass(frozen=True)
class Shape:
    """What the files of an image hold: patches down and across, and the channels of each level."""

    grid: tuple[int, int]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class FeatureFiles:
    """The files of features of one split.

    Attributes:
        features: how they lie, as a grid states it.
        folder: where they lie.
        files: id of an image -> its file; of levels in folders of their own, one file a level.
    """

    features: Features
    folder: Path
    files: Mapping[str, tuple[Path, ...]]

    def digest(self) -> str:
        """16 hexadecimal digits over names and contents; remembered: see ``datasets.contents``, also for errors."""
        return contents_digest({str(one.relative_to(self.folder)): one for one in self._all}, self.folder)

    def facts(self) -> dict[str, Any]:
        """What the first file tells: the options of ``Elsewhere``. Raises ``DataError`` as ``shape`` does."""
        first = self.shape(next(iter(self.files)))
        stride = self.features.stride
        size: dict[str, Any] = {"grid": list(first.grid)} if stride is None else {"stride": stride}
        return {"channels": list(first.channels), **size}

    @property
    def _all(self) -> Iterator[Path]:
        return (path for paths in self.files.values() for path in paths)

    def shape(self, image_id: str) -> Shape:
        """Grid and channels of an image, from headers. Raises ``DataError`` at files that are none of features."""
        arrays = self._arrays(image_id)
        found = [self._shape(array, told) for array, told in arrays]
        for (_, told), one in zip(arrays, found, strict=True):
            if one[:2] != found[0][:2]:
                raise DataError(
                    f"{told}: {one[0]} x {one[1]} patches, and the first level has {found[0][0]} x {found[0][1]}; "
                    "expected all levels of an image on one grid"
                )
        return Shape(found[0][:2], tuple(channels for _, _, channels in found))

    def levels(self, image_id: str) -> tuple[Tensor, ...]:
        """The features of an image: (h, w, C) float32 on the CPU, a level; ``DataError`` also at NaN and the like."""
        import torch

        found = []
        for array, told in self._arrays(image_id):
            self._shape(array, told)
            level = array.read()
            level = (level.permute(1, 2, 0) if self.features.order == "chw" else level).contiguous()
            if not bool(torch.isfinite(level).all()):
                raise DataError(f"{told}: holds NaN, or numbers that are not finite in float32")
            found.append(level)
        return tuple(found)

    def check(
        self,
        ids: Sequence[str],
        known: Collection[str],
        channels: Sequence[int],
        frame: Callable[[str], tuple[int, int]],
        *,
        one_grid: bool,
        name: str,
    ) -> None:
        """Refuse files that do not go with a split, from names and headers alone.

        Args:
            ids: the images that are looked at.
            known: all images of the split, whose files are not meant for others.
            channels: of the levels, as they were planned.
            frame: gives (height, width) of an image in pixels, after resizing; asked where it is needed.
            one_grid: whether all images must have the same grid, since training stacks them.
            name: of data set and split, for messages.

        Raises:
            DataError: images without a file (their number), or the first file that is not as it should be.
        """
        lacking = [image_id for image_id in ids if image_id not in self.files]
        if lacking:
            near = nearest(lacking[0], self.files.keys() - set(known)) if len(lacking) < len(ids) else None
            hint = f'; did you mean "{shown(near)}"?' if near is not None else ""
            raise DataError(
                f"{self.folder}: no features of {few([shown(one) for one in lacking])}: {len(lacking)} of the "
                f"{how_many(len(ids), 'image')} of {name} have none; expected a file {shown(lacking[0])}"
                f"{next(self._all).suffix} and the like{hint}"
            )
        first: tuple[str, Shape] | None = None
        for image_id in ids:
            shape = self.shape(image_id)
            first = first or (image_id, shape)
            self._check_shape(image_id, shape, tuple(channels), frame)
            if one_grid and shape.grid != first[1].grid:
                raise DataError(
                    f"{self._place(image_id)}: {_patches(shape.grid)}, and {self._place(first[0])} has "
                    f"{_patches(first[1].grid)}; training batches need one size: compute them of images of one size"
                )

    def _check_shape(
        self, image_id: str, shape: Shape, channels: tuple[int, ...], frame: Callable[[str], tuple[int, int]]
    ) -> None:
        if shape.channels != channels:
            raise DataError(
                f"{self._place(image_id)}: {_words(shape.channels)}, expected {_words(channels)} as in the other files"
            )
        (rows, columns), first, stride = shape.grid, shape.channels[0], self.features.stride
        if stride is None and max(rows, columns) <= _NEAR * min(rows, columns):
            return
        height, width = frame(image_id)
        other, turned = ("chw", (columns, first)) if self.features.order == "hwc" else ("hwc", (first, rows))
        if stride is None:
            wrong = order = _stretch(shape.grid, height, width) > _FAR and _stretch(turned, height, width) < _NEAR
            wanted = ""
        else:
            expected = -(-height // stride), -(-width // stride)
            wrong, order = shape.grid != expected, turned == expected
            wanted = f"; expected {_patches(expected)} of {stride} pixels (stride)"
        if wrong:
            where, hint = f"{self._place(image_id)}: {_patches(shape.grid)}", f"; is order: {other} meant?"
            raise DataError(f"{where}{wanted} for an image of {height} x {width}{hint if order else ''}")

    def _place(self, image_id: str) -> str:
        return shown(self.files[image_id][0])

    def _arrays(self, image_id: str) -> list[tuple[_Array, str]]:
        """The arrays of an image, one a level, and what to call each in messages."""
        if image_id not in self.files:
            raise DataError(f"{self.folder}: no features of {shown(image_id)}")
        paths = self.files[image_id]
        if len(paths) > 1 or (self.features.levels is not None and paths[0].parent != self.folder):
            return [(one, told) for path in paths for one, told in _opened(path, None)]
        return _opened(paths[0], self.features.levels)

    def _shape(self, array: _Array, told: str) -> tuple[int, int, int]:
        """(h, w, C) of an array, by its header."""
        if array.dtype not in _DTYPES:
            raise DataError(f"{told}: numbers of {array.dtype}; expected {', '.join(_DTYPES)}")
        order = str(self.features.order)
        if len(array.shape) != 3 or 0 in array.shape:
            raise DataError(f"{told}: shape {array.shape}; expected {_ORDERS[order]} with at least one of each")
        one, two, three = array.shape
        return (one, two, three) if order == "hwc" else (two, three, one)


def find(features: Features, dataset: str, split: str) -> FeatureFiles:
    """The files of the features of a split.

    Args:
        features: of mode ``files``, its root absolute.
        dataset: as in a specification; ``{dataset}`` in the root stands for its name, of a user's own for its file's.
        split: stands for ``{split}``.

    Raises:
        DataError: there is no such folder or no file in it, or an image has two.
    """
    own = PurePath(short_name(dataset).removeprefix("folder:").partition(":")[0]).stem if ":" in dataset else dataset
    folder = Path(str(features.root).replace("{dataset}", own).replace("{split}", split))
    below = features.levels or ()
    if not below or not (folder / below[0]).is_dir():
        return FeatureFiles(features, folder, {key: (path,) for key, path in _listed(folder).items()})
    listed = [_listed(folder / level) for level in below]
    for level, found in zip(below, listed, strict=True):
        if lacking := sorted(listed[0].keys() - found.keys()) or sorted(found.keys() - listed[0].keys()):
            raise DataError(
                f"{folder / level}: not the images of {folder / below[0]}: {few(lacking)} in one of them alone; "
                "expected a file an image and level"
            )
    return FeatureFiles(features, folder, {key: tuple(found[key] for found in listed) for key in listed[0]})


def _listed(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(no_such(folder, "folder"))
    listing = list_files(folder / "**" / "*", SUFFIXES)
    if not listing.files:
        raise DataError(f"{folder}: holds no features; expected a file an image, ID{', ID'.join(SUFFIXES)}")
    if listing.problems:
        raise DataError(listing.problems[0])
    return listing.files


@dataclass(frozen=True)
class _Array:
    """An array in a file: what its header tells, and what reads it as a float32 tensor on the CPU."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]


_Arrays = Mapping[str, _Array] | Sequence[_Array]


def _opened(path: Path, keys: Sequence[str] | None) -> list[tuple[_Array, str]]:
    """The arrays in a file, mapped where its format allows, and what to call each."""
    suffix, kinds = path.suffix.lower(), {".npy": _numpy, ".pt": _torch, ".safetensors": _safetensors}
    try:
        found = kinds[suffix](path)
    except FileNotFoundError as error:
        raise DataError(no_such(path)) from error
    except DataError:
        raise
    except Exception as error:  # numpy, torch and safetensors raise anything at bytes that are none of theirs
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise DataError(
            f"{shown(path)}: cannot be read as {suffix[1:]}: it is damaged, cut off, or holds Python objects, which "
            f"are not loaded ({reason})"
        ) from error
    return _chosen(path, found, keys)


def _chosen(path: Path, found: _Arrays, keys: Sequence[str] | None) -> list[tuple[_Array, str]]:
    name = shown(path)
    if not found:
        raise DataError(f"{name}: holds no array")
    if not isinstance(found, Mapping):
        if keys is not None:
            raise DataError(f"{name}: its arrays have no names, and levels: {list(keys)} names some; leave levels out")
        return [(one, name if len(found) == 1 else f"{name}, level {at}") for at, one in enumerate(found)]
    if keys is None and len(found) == 1:
        return [(next(iter(found.values())), name)]
    if keys is None:
        raise DataError(
            f"{name}: holds {len(found)} arrays, {few(sorted(found))}; name those that are levels, from low to high, "
            "by levels: [...] beside root"
        )
    for key in keys:
        if key not in found:
            raise DataError(f'{name}: holds no array "{key}" (levels); there: {few(sorted(found), 6)}')
    return [(found[key], f"{name}, level {key}") for key in keys]


def _numpy(path: Path) -> list[_Array]:
    array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{shown(path)}: is an archive of arrays (npz); expected one array, as numpy.save writes it")

    def read() -> Tensor:
        import torch

        with np.errstate(over="ignore"):  # told by whoever looks whether all are finite
            return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))

    return [_Array(tuple(array.shape), str(array.dtype.newbyteorder("=").name), read)]


def _torch(path: Path) -> _Arrays:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old files
        try:
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            held = torch.load(path, map_location="cpu", weights_only=True)  # as torch wrote files before 1.6
    if isinstance(held, Mapping):
        return {str(key): _tensor(path, value) for key, value in held.items()}
    return [_tensor(path, one) for one in (held if isinstance(held, list | tuple) else [held])]


def _tensor(path: Path, value: Any) -> _Array:
    import torch

    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        raise DataError(
            f"{shown(path)}: holds a {type(value).__name__} that is no dense tensor; expected one, a list of them, or "
            "tensors by name"
        )
    dtype = str(value.dtype).removeprefix("torch.")
    return _Array(tuple(value.shape), dtype, lambda: value.detach().to(torch.float32, copy=True))


def _safetensors(path: Path) -> Mapping[str, _Array]:
    from safetensors import safe_open

    def reads(key: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            import torch

            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(key)
            return tensor.to(torch.float32)

        return read

    with safe_open(path, framework="np") as file:
        found = {}
        for key in file.keys():  # noqa: SIM118 - it is no mapping
            part = file.get_slice(key)
            dtype = str(part.get_dtype())
            found[key] = _Array(tuple(part.get_shape()), _SAFETENSORS.get(dtype, dtype), reads(key))
    return found


def _stretch(grid: tuple[int, int], height: int, width: int) -> float:
    """How many times as long as broad the patches of an image are."""
    sides = height / grid[0], width / grid[1]
    return max(sides) / min(sides)


def _patches(grid: tuple[int, int]) -> str:
    return f"{grid[0]} x {grid[1]} patches"


def _words(channels: Sequence[int]) -> str:
    levels = "" if len(channels) == 1 else f" at {len(channels)} levels"
    return f"{', '.join(map(str, channels))} channels{levels}"
