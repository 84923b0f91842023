"""The class sets of a data set as records and manifests keep them."""

from __future__ import annotations

from spectral_bench.datasets.interface import DataInfo
from spectral_bench.results.record import ClassTable


def class_tables(info: DataInfo) -> dict[str, ClassTable]:
    """The ways of counting classes, by name: class names with their raw label ids and colours."""
    return {
        name: ClassTable(
            classes=list(classes.classes),
            raw_ids=[list(ids) for ids in classes.raw_ids],
            palette=[list(colour) for colour in classes.palette],
        )
        for name, classes in info.class_sets.items()
    }
