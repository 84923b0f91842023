"""Where the folder of a data set lies."""

from __future__ import annotations

from pathlib import Path

from spectral_bench.common.errors import DataError
from spectral_bench.common.missing import instead, names_in, no_such
from spectral_bench.datasets.interface import DataInfo, DataRoots


def find_folder(info: DataInfo, roots: DataRoots, also: tuple[str, ...] = ()) -> Path:
    """The folder ``info.folder`` below the first root that holds it, or one of the folders ``also`` in its stead.

    Raises:
        DataError: no root holds it; says what was looked for where, where to get the data and under what licence.
    """
    for root in roots.roots:
        for folder in (info.folder, *also):
            if (root / folder).is_dir():
                return root / folder
    looked = ", ".join(str(root / info.folder) for root in roots.roots)
    none = "no data root is given (--data-root, $BENCH_DATA or the grid)"
    where = f"no such folder: {looked}{_there(info, roots)}" if looked else none
    raise DataError(f'{info.name}: {where}; expected a folder "{info.folder}" below a data root. {info.licence}')


def _there(info: DataInfo, roots: DataRoots) -> str:
    """What lies in each root in place of the folder, to go behind the message."""
    wanted = Path(info.folder).parts[0]
    held = {root: names_in(root) for root in roots.roots if root.is_dir()}
    gone = [f"; {no_such(root, 'folder')}" for root in roots.roots if root not in held]
    found = [f"; {root} holds {wanted}" if wanted in names else instead(wanted, names) for root, names in held.items()]
    return "".join((*found, *gone))
