"""Data sets by name. A data set is a class built as ``Class(roots)`` with a class attribute ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import Registry, absolute_name, absolute_path, is_path
from spectral_bench.datasets.interface import DataInfo, DataRoots, DataSet

FOLDER = "folder:"


class DataRegistry(Registry):
    """The registry of data sets, which knows ``folder:PATH.yaml`` too."""

    def load(self, name: str) -> Any:
        """The class of a data set, as ``Registry.load``; a plain path is told how a data set of one's own is named."""
        # All names come last: they are read off the metadata of every installed package.
        plain = name not in self._builtin and not is_path(name)
        if plain and looks_like_path(name) and name not in self.names():
            raise ConfigError(
                f'unknown data set "{name}"; your own is named by the YAML file that describes it, as '
                f"{FOLDER}FILE.yaml, which bench data init FOLDER writes"
            )
        return super().load(name)

    def module(self, name: str) -> str:
        """The module that holds a data set; that of ``folder`` for a user's own, whatever its path."""
        return super().module(FOLDER.removesuffix(":") if name.startswith(FOLDER) else name)


def looks_like_path(name: str) -> bool:
    """Whether a name that no data set has is that of a file or folder."""
    return "/" in name or name.lower().endswith((".yaml", ".yml")) or Path(name).exists()


REGISTRY = DataRegistry(
    "data set",
    {
        "synthetic": "spectral_bench.datasets.synthetic:Synthetic",
        "camvid": "spectral_bench.datasets.camvid:CamVid",
        "pascal_context": "spectral_bench.datasets.pascal_context:PascalContext",
        "cityscapes": "spectral_bench.datasets.cityscapes:Cityscapes",
        "ade20k": "spectral_bench.datasets.ade20k:ADE20K",
        "coco_stuff": "spectral_bench.datasets.coco_stuff:CocoStuff",
        "pascal_voc": "spectral_bench.datasets.pascal_voc:PascalVOC",
        "potsdam3": "spectral_bench.datasets.potsdam3:Potsdam3",
        "imagenet": "spectral_bench.datasets.imagenet:ImageNet",
        "folder": "spectral_bench.datasets.folder:FolderDataSet",
    },
    group="spectral_bench.datasets",
)


def names() -> tuple[str, ...]:
    """All data sets by name, those of other packages last. ``folder`` is used as ``folder:PATH.yaml``."""
    return REGISTRY.names()


def is_own(name: str) -> bool:
    """Whether a data set is of a user's own, named by a path."""
    return name.startswith(FOLDER) or is_path(name)


def absolute_data(name: str, folder: Path) -> str:
    """The name of a data set, of a user's own with its path made absolute: from ``folder`` where it is relative.

    Raises:
        ConfigError: there is no such file, or it is a folder.
    """
    if not name.startswith(FOLDER):
        return absolute_name(name, folder)
    stated = name.removeprefix(FOLDER)
    if stated and (place := folder / Path(stated).expanduser()).is_dir():
        raise ConfigError(
            f"{name}: is a folder; expected the YAML file that describes it, which bench data init {place} writes"
        )
    return f"{FOLDER}{absolute_path(stated, folder, name)}"


def data_info(name: str) -> DataInfo:
    """The facts about a data set; touches no data root.

    Args:
        name: one of ``names()``, ``folder:PATH.yaml`` for a user's own, or ``FILE.py:Class``.

    Raises:
        ConfigError: the name is unknown; the nearest is suggested.
        DataError: the YAML file of a user's data set is missing or not valid.
    """
    if name.startswith(FOLDER):
        from spectral_bench.datasets.folder import describe

        return describe(Path(name.removeprefix(FOLDER)))
    return cast(DataInfo, REGISTRY.load(name).info)


def open_data(name: str, roots: DataRoots) -> DataSet:
    """A data set, ready to list and read its files.

    Args:
        name: as for ``data_info``.
        roots: where data sets lie; a user's own lies where its YAML file is.

    Raises:
        ConfigError: the name is unknown; the nearest is suggested.
        DataError: no root holds its folder, or the YAML file of a user's data set is missing or not valid.
    """
    if name.startswith(FOLDER):
        from spectral_bench.datasets.folder import FolderDataSet

        return FolderDataSet(roots, Path(name.removeprefix(FOLDER)))
    return cast(DataSet, REGISTRY.load(name)(roots))
