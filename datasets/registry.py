"""Data sets by name. A data set is a class built as ``Class(roots)`` with a class attribute ``info``."""

from __future__ import annotations

from typing import cast

from common.registry import Registry
from datasets.interface import DataInfo, DataRoots, DataSet

REGISTRY = Registry(
    "data set",
    {
        "synthetic": "datasets.synthetic:Synthetic",
        "camvid": "datasets.camvid:CamVid",
    },
    group="spectral_bench.datasets",
)


def names() -> tuple[str, ...]:
    """All data sets by name, those of other packages last."""
    return REGISTRY.names()


def data_info(name: str) -> DataInfo:
    """The facts about a data set; touches no data root.

    Raises:
        ConfigError: the name is unknown; the nearest is suggested.
    """
    return cast(DataInfo, REGISTRY.load(name).info)


def open_data(name: str, roots: DataRoots) -> DataSet:
    """A data set, ready to list and read its files.

    Raises:
        ConfigError: the name is unknown; the nearest is suggested.
        DataError: no root holds its folder.
    """
    return cast(DataSet, REGISTRY.load(name)(roots))
