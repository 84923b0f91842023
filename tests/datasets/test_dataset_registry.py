from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.datasets.interface import DataInfo, DataRoots
from spectral_bench.datasets.registry import data_info, names, open_data
from spectral_bench.datasets.roots import find_folder

INFO = DataInfo("toy", "Toy", {}, 1, {}, "", folder="toy", licence="Get it from nowhere.")


def test_the_shipped_data_sets_are_listed_first() -> None:
    assert names()[:2] == ("synthetic", "camvid")


@pytest.mark.parametrize("name", names())
def test_every_data_set_states_consistent_facts(name: str) -> None:
    info = data_info(name)
    assert info.name == name
    assert info.title
    assert info.licence
    assert bool(info.folder) == info.needs_root
    assert not info.class_sets or info.default_classes in info.class_sets
    for key, classes in info.class_sets.items():
        assert key == classes.name
        assert len(classes.classes) == len(classes.raw_ids) == len(classes.palette)
        raw = [i for ids in classes.raw_ids for i in ids]
        assert len(raw) == len(set(raw))
        assert all(0 <= i < info.n_raw_labels for i in raw)
        assert all(0 <= value <= 255 for colour in classes.palette for value in colour)
    assert info.raw_names == () or len(info.raw_names) == info.n_raw_labels


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r'unknown data set "camvids"; did you mean "camvid"\?'):
        open_data("camvids", DataRoots())
    with pytest.raises(ConfigError, match="unknown data set"):
        data_info("nothing")


def test_a_data_set_can_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    info = 'facts'\n    def __init__(self, roots):\n        self.roots = roots\n")
    assert data_info(f"{path}:Mine") == "facts"
    assert open_data(f"{path}:Mine", DataRoots((tmp_path,))).roots == DataRoots((tmp_path,))  # type: ignore[attr-defined]


def test_the_first_root_that_holds_the_folder_wins(tmp_path: Path) -> None:
    for root in ("b", "c"):
        (tmp_path / root / "toy").mkdir(parents=True)
    roots = DataRoots((tmp_path / "a", tmp_path / "b", tmp_path / "c"))
    assert find_folder(INFO, roots) == tmp_path / "b" / "toy"


def test_a_missing_folder_names_every_place_that_was_looked_at(tmp_path: Path) -> None:
    roots = DataRoots((tmp_path / "a", tmp_path / "b"))
    with pytest.raises(DataError) as caught:
        find_folder(INFO, roots)
    message = str(caught.value)
    assert str(tmp_path / "a" / "toy") in message
    assert str(tmp_path / "b" / "toy") in message
    assert "Get it from nowhere." in message
    assert "\n" not in message


def test_no_root_at_all_says_how_to_give_one() -> None:
    with pytest.raises(DataError, match=r"toy: no data root is given \(--data-root, \$BENCH_DATA"):
        find_folder(INFO, DataRoots())


def test_importing_the_package_and_every_data_set_loads_no_torch() -> None:
    code = (
        "import sys, spectral_bench.datasets.transforms; from spectral_bench.datasets.registry import *; "
        "[data_info(n) for n in names()]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
