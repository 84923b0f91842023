"""What a method's code imports is found out by reading it: through helpers, written-out names and entry points."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.imports import forbidden_imports, is_own, own_files, require_imports
from spectral_bench.methods.registry import METHODS

CLEAN = "import torch\n\n\nclass Mine:\n    pass\n"


def written(folder: Path, files: dict[str, str] | None = None, **modules: str) -> str:
    for name, text in {**{f"{name}.py": text for name, text in modules.items()}, **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"{folder / 'mine.py'}:Mine"


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("import datasets", "datasets"),
        ("import spectral_bench.datasets.camvid as c", "spectral_bench.datasets.camvid"),
        ("import spectral_bench", "spectral_bench"),
        ("import spectral_bench as sb", "spectral_bench"),
        ("from spectral_bench import datasets", "spectral_bench.datasets"),
        ("from spectral_bench import load_records", "spectral_bench.load_records"),
        ("from spectral_bench.bench.run import execute", "spectral_bench.bench.run.execute"),
        ("from spectral_bench.results.store import Store", "spectral_bench.results.store"),
        ("import spectral_bench.methods\nd = spectral_bench.datasets.registry", "spectral_bench.datasets"),
        ("import spectral_bench.methods\nd = spectral_bench.load_records('s')", "spectral_bench.load_records"),
        ("import importlib as i\nd = i.import_module(name='spectral_bench.datasets')", "spectral_bench.datasets"),
        ("import reports", "reports"),
        ("def f():\n    import datasets", "datasets"),
        (
            "import importlib\nd = importlib.import_module('spectral_bench.datasets.interface')",
            "spectral_bench.datasets.interface",
        ),
        ("d = __import__('bench')", "bench"),
        ("import sys\nd = sys.modules['datasets']", "datasets"),
        ("import sys\nd = sys.modules.get('datasets')", "datasets"),
        ("import pkgutil\nd = pkgutil.resolve_name('datasets:open_data')", "datasets"),
    ],
)
def test_imports_of_the_harness_are_found(line: str, module: str, tmp_path: Path) -> None:
    found = forbidden_imports(written(tmp_path, mine=f"{CLEAN}\n{line}\n"))
    at = 7 + line.count("\n")
    assert f"{tmp_path / 'mine.py'} line {at} imports {module}" in found


@pytest.mark.parametrize(
    "line",
    [
        "import datasets_of_mine",
        "from . import datasets",
        "d = {'datasets': 1}['datasets']",
        "from spectral_bench.methods.params import Params",
        "from spectral_bench import methods",
        "import spectral_bench.methods.kmeans\nm = spectral_bench.methods.kmeans.KMeans",
        "import spectral_bench.common.seeds as seeds",
    ],
)
def test_other_names_are_left_alone(line: str, tmp_path: Path) -> None:
    assert forbidden_imports(written(tmp_path, mine=f"{CLEAN}\n{line}\n")) == []


def test_another_package_named_datasets_is_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere" / "datasets").mkdir(parents=True)
    (tmp_path / "elsewhere" / "datasets" / "__init__.py").touch()
    method = written(tmp_path, mine=f"{CLEAN}\nimport datasets\n")
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # a checkout, whose folder has the name
    assert len(forbidden_imports(method)) == 1
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert forbidden_imports(method) == []


def test_modules_of_ones_own_are_followed_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = written(
        tmp_path,
        {
            "kitbag/__init__.py": "",
            "kitbag/inner/tool.py": "from ..deep import x\nuse = 1\n",  # a folder without __init__.py
            "kitbag/deep.py": "import first_aid\nfrom datasets import open_data\n",
        },
        mine=f"import first_aid\n{CLEAN}",
        first_aid="from kitbag.inner import tool\n",
    )
    for place in (False, True):  # beside the file, and on Python's path too
        if place:
            monkeypatch.syspath_prepend(tmp_path)
        names = {str(path.relative_to(tmp_path)) for path in own_files(method)}
        assert names == {
            "mine.py",
            "first_aid.py",
            "kitbag/__init__.py",
            "kitbag/inner/tool.py",
            "kitbag/deep.py",
        }
        with pytest.raises(ConfigError, match=r'method ".*mine.py:Mine": .*deep.py line 2 imports datasets, .*never'):
            require_imports(method)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("from . import helper", {}),
        ("from .helper import door", {}),
        ("from kitbag import tool", {"kitbag/tool.py": "from .. import helper\n"}),
    ],
)
def test_a_helper_is_found_by_a_leading_dot(line: str, files: dict[str, str], tmp_path: Path) -> None:
    hidden = {"helper.py": "from spectral_bench.datasets import registry as door\n"}
    method = written(tmp_path, {**files, **hidden}, mine=f"{line}\n{CLEAN}")
    assert f"{tmp_path / 'helper.py'} line 1 imports spectral_bench.datasets.registry" in forbidden_imports(method)


def test_installed_packages_and_the_project_are_not_looked_into(tmp_path: Path) -> None:
    method = written(tmp_path, mine=f"import json, numpy, timm\nfrom methods.interface import PatchBatch\n{CLEAN}")
    assert own_files(method) == (tmp_path / "mine.py",)
    assert forbidden_imports(method) == []


def test_what_lies_beside_the_file_hides_others_as_when_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # a checkout, which has a folder of the name "results"
    method = written(
        tmp_path,
        mine=f"import tqdm\nimport results\n{CLEAN}",
        tqdm="from spectral_bench.datasets.registry import open_data\n",  # an installed package has this name too
        results="",
    )
    assert {path.name for path in own_files(method)} == {"mine.py", "tqdm.py", "results.py"}
    found = forbidden_imports(method)
    assert found
    assert all(text.startswith(f"{tmp_path / 'tqdm.py'} line 1 imports spectral_bench.datasets") for text in found)


def test_the_package_of_an_entry_point_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site-packages"
    written(
        folder,
        {
            "lab_methods/__init__.py": "",
            "lab_methods/method.py": "from lab_methods import tools\n",
            "lab_methods/tools.py": "import bench\n",
        },
    )
    monkeypatch.syspath_prepend(folder)
    point = importlib.metadata.EntryPoint("lab", "lab_methods.method:Mine", "spectral_bench.methods")
    monkeypatch.setattr(
        "spectral_bench.common.registry.entry_points", lambda group: [point] if "methods" in group else []
    )
    assert {path.name for path in own_files("lab")} == {"__init__.py", "method.py", "tools.py"}
    assert forbidden_imports("lab") == [f"{folder / 'lab_methods/tools.py'} line 1 imports bench"]


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_ship_import_nothing_of_the_kind(method: str) -> None:
    assert not is_own(method)
    assert own_files(method)
    assert forbidden_imports(method) == []


def test_a_helper_that_is_no_python_is_told_by_its_file(tmp_path: Path) -> None:
    method = written(tmp_path, mine=f"import crooked\n{CLEAN}", crooked="def f(:\n")
    with pytest.raises(ConfigError, match=r"crooked\.py line 1: not valid Python"):
        own_files(method)


def test_modules_that_import_each_other_are_read_once(tmp_path: Path) -> None:
    method = written(tmp_path, mine=f"import other_one\n{CLEAN}", other_one="import mine\n")
    assert sorted(path.name for path in own_files(method)) == ["mine.py", "other_one.py"]


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    method = written(tmp_path, mine=CLEAN)
    assert forbidden_imports(method) == []
    written(tmp_path, mine=CLEAN + "\nimport datasets\n")
    assert forbidden_imports(method) == [f"{tmp_path / 'mine.py'} line 7 imports datasets"]
