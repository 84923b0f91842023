"""Every module lies in a layer that import-linter checks."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from spectral_bench.common.imports import imported_names

ROOT = Path(__file__).parents[1]
HOUSE, BENCH = "the harness imports one way", "inside bench: "


def layers_of(contract: str) -> list[str]:
    """The modules that a contract of layers names, those on one line apart."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (found,) = (one for one in contracts if one["type"] == "layers" and one["name"].startswith(contract))
    return [module.strip() for layer in found["layers"] for module in layer.split("|")]


def modules(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Every module below a folder by its name as it is imported."""
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join((name, *(part for part in parts if part != "__init__"))), path


def of_bench(path: Path) -> list[str]:
    """What a module imports of bench."""
    names = (name for node in ast.walk(ast.parse(path.read_text("utf-8"))) for name in imported_names(node, ""))
    return [name for name in names if name.startswith("spectral_bench.bench")]


def lies_in(name: str, layers: list[str]) -> int:
    """How many layers a module lies in."""
    return sum(name == layer or name.startswith(f"{layer}.") for layer in layers)


def test_every_module_of_bench_lies_in_one_layer() -> None:
    """A package whose modules lie in several layers lies in none, and so may import none of them."""
    layers = layers_of(BENCH)
    found = dict(modules(ROOT / "bench", "spectral_bench.bench"))
    assert len(found) > 50
    around = {layer.rpartition(".")[0] for layer in layers}
    strays = {name: lies_in(name, layers) for name, path in found.items() if name not in around or of_bench(path)}
    assert {name: count for name, count in strays.items() if count != 1} == {}


def test_every_part_of_the_package_lies_in_one_layer() -> None:
    layers = layers_of(HOUSE)
    parts = [path.stem for path in (ROOT / "src/spectral_bench").iterdir() if path.suffix == ".py" or path.is_dir()]
    assert len(parts) > 8
    strays = {
        part: lies_in(f"spectral_bench.{part}", layers) for part in parts if part not in ("__init__", "__pycache__")
    }
    assert {part: count for part, count in strays.items() if count != 1} == {}
