"""Which code a run depends on, and whether it has changed: hashes of syntax trees along static imports.

Comments, formatting, docstrings and line numbers do not count. Imports are read and not executed, so asking costs
little and has no effects. Imports inside of functions count, those for type checkers do not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.common.imports import OwnFile, imported_names, own_file, own_imports, own_module, with_parents
from spectral_bench.common.loaded import PACKAGE, ROOT, kept_source, loaded_source, remember

# Left out of names and of what is hashed: records keep the short names of modules, wherever the package lies.
_PREFIX = f"{PACKAGE}."

# Imports of these packages and modules are followed; what lies elsewhere cannot change a result.
FOLLOWED = ("bench.run", "bench.features", "bench.evaluation", "methods", "datasets", "common", "results.contingency")

# Modules that do not count although they are imported.
PASSED_OVER = frozenset(
    {
        # They say which parts there are, and change with every part that is added. What they lead to is a root.
        "bench.features.backbones.registry",
        "common.registry",
        "datasets.registry",
        "methods.registry",
        # A root of those runs whose features lie in files, and of no other.
        "bench.features.from_files",
        # Defaults and ranges: the parameters of a run are complete in its specification.
        "methods.neuralef.params",
        "methods.params",
        # Words and files, not numbers.
        "common.errors",
        "common.explain",
        "common.files",
        "common.locks",
        "common.names",
    }
)


def fingerprint(roots: Iterable[str], *, root: Path = ROOT, loaded: bool = False) -> dict[str, str]:
    """Hash each module that ``roots`` depend on inside of the project, and the files of a user's own that they import.

    Args:
        roots: module names, or paths of Python files (a method of the user's own). A package stands for its
            ``__init__``. Roots always count, wherever they lie: files of the project, and modules of a package of a
            user's own, such as an entry point's. Names of nothing, and of installed packages, are passed over.
        root: the folder that holds the packages.
        loaded: hash what this process has loaded, where it has; else what lies on disk.

    Returns:
        Module name -> 16 hexadecimal digits, in alphabetical order. A file of a user's own is called by its path from
        the folder of the root that led to it, such as ``mine.py`` or ``parts/graph.py``, wherever that folder lies. A
        file that is no valid Python counts by its bytes, and leads nowhere.
    """
    waiting = [_short(name) for name in roots]
    files = [own for name in waiting if name.endswith(".py") and (own := own_file(name)) is not None]
    modules = [name for name in waiting if not name.endswith(".py")]
    packaged = (with_parents(name) for name in modules if not (root / name.partition(".")[0]).is_dir())
    files += [own for names in packaged for name in names if (own := own_module(name)) is not None]
    found, imported = _own(files, loaded)
    # A parent's __init__ runs before the module that is imported, so it counts like one.
    modules += [name for name in imported if _counts(name)]
    waiting = [*modules, *(parent for name in modules for parent in with_parents(name)[:-1] if _counts(parent))]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        hashed = _known(name) if loaded and root == ROOT else None
        if hashed is None:
            path = _file(name, root)
            if path is None:
                continue
            hashed = _hashed(name, path, _source(path, loaded))
        found[name] = hashed.digest
        waiting += hashed.leads_to
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Hashed:
    """A module of the project as it was hashed.

    Attributes:
        real: its file, links resolved.
        source: what was hashed.
        digest: the hash.
        leads_to: the short names of modules that count and that it imports.
    """

    real: str
    source: bytes
    digest: str
    leads_to: tuple[str, ...]


def _hashed(name: str, path: Path, source: bytes) -> _Hashed:
    digest, imports = _read(source, str(path), _package(name, path))
    return _Hashed(
        os.path.realpath(path), source, digest, tuple(other for other in map(_short, imports) if _counts(other))
    )


_loaded: dict[str, _Hashed] = {}  # handed down to forked processes: a module that is loaded stays what it is


def _known(name: str) -> _Hashed | None:
    """A module that this process has loaded, hashed once; None where it has not."""
    if f"{_PREFIX}{name}" not in sys.modules:
        return None
    held = _loaded.get(name)
    if held is not None and kept_source(held.real) is held.source:
        return held
    path = _file(name, ROOT)
    source = None if path is None else loaded_source(path)
    if path is None or source is None:
        return None
    held = _loaded[name] = _hashed(name, path, source)
    return held


def _own(files: list[OwnFile], loaded: bool) -> tuple[dict[str, str], list[str]]:
    """The hashes of files of a user's own and of those that they import, and all module names that they import."""
    found: dict[str, str] = {}
    names: list[str] = []
    seen: set[Path] = set()
    waiting = list(reversed(files))
    while waiting:
        file = waiting.pop()
        if file.path in seen:
            continue
        seen.add(file.path)
        digest, imports = _read(_source(file.path, loaded), str(file.path), file.package)
        name = file.name
        while name in found:  # of two roots in folders of their own
            name = f"../{name}"
        found[name] = digest
        names += map(_short, imports)
        waiting += own_imports(file, imports)  # by full names: a checkout on the path has our folders by the short ones
    return found, names


def module_hashes(root: Path = ROOT) -> dict[str, str]:
    """The hash of every module that a record of shipped parts can name: see ``fingerprint``.

    Args:
        root: the folder that holds the packages.
    """
    found = {}
    for folder in sorted({name.partition(".")[0] for name in FOLLOWED}):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if _counts(name):
                found[name] = _read(_source(path, loaded=False), str(path), _package(name, path))[0]
    return found


def hash_loaded() -> int:
    """Hash the modules of the project that this process has loaded, for itself and those that it is forked into.

    Returns:
        How many count.
    """
    names = [_short(name) for name in list(sys.modules) if name.startswith(_PREFIX)]
    return sum(_known(name) is not None for name in names if _counts(name))


def is_own_file(name: str) -> bool:
    """Whether an entry of a fingerprint is a file of a user's own."""
    return name.endswith(".py")


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The modules whose code differs between two fingerprints, appeared or vanished, in alphabetical order."""
    return sorted({name for name, _ in old.items() ^ new.items()})


def _short(name: str) -> str:
    return name.removeprefix(_PREFIX)


@functools.lru_cache(maxsize=16384)
def _counts(name: str) -> bool:
    if name in PASSED_OVER:
        return False
    return any(name == followed or name.startswith(f"{followed}.") for followed in FOLLOWED)


def _file(name: str, root: Path) -> Path | None:
    """The file behind a module name; None where there is none."""
    # Joined as text: of the hundreds of names most are those of classes and functions, and joining paths takes longer.
    base = f"{root}/{name.replace('.', '/')}"
    for path in (Path(f"{base}/__init__.py"), Path(f"{base}.py")):
        if path.is_file():
            return path
    return None


def _package(name: str, path: Path) -> str:
    """The package that relative imports of a module start from."""
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def _source(path: Path, loaded: bool) -> bytes:
    """The source of a file: as it was loaded, where that is asked for and it was; else as it lies on disk."""
    if loaded and (known := loaded_source(path)) is not None:
        return known
    stamp = path.stat()
    source = _on_disk(path, stamp.st_mtime_ns, stamp.st_size)
    if loaded:
        remember(path, source)  # a file of a user's own that is imported later runs these very bytes
    return source


@functools.lru_cache(maxsize=4096)
def _on_disk(path: Path, mtime_ns: int, size: int) -> bytes:
    # Time and size are there so that a changed file is read anew.
    return path.read_bytes()


@functools.lru_cache(maxsize=4096)
def _read(source: bytes, path: str, package: str) -> tuple[str, tuple[str, ...]]:
    """The hash of a file and the names it may import."""
    try:
        tree = ast.parse(source, filename=path)
    except (SyntaxError, ValueError):  # half an edit, or no Python at all
        return hashlib.sha256(source).hexdigest()[:16], ()
    imports = tuple(dict.fromkeys(name for node in _executed(tree) for name in imported_names(node, package)))
    parts: list[str] = []
    _write(tree, parts)
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16], imports


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below ``if TYPE_CHECKING:``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _only_for_checkers(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.expr):  # no statement hides in an expression
            waiting += ast.iter_child_nodes(node)


def _only_for_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _write(node: ast.AST, parts: list[str]) -> None:
    """Append the names and values of a tree in one order, without positions and docstrings."""
    parts.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        # Empty fields are left out, since new versions of Python add some: hashes outlive the version.
        if value is None or value == [] or name in ("ctx", "type_comment", "kind", "type_ignores"):
            if name == "value" and isinstance(node, ast.Constant):
                parts.append("None")  # the constant None, which is not an empty field
            continue
        parts.append(name)
        if isinstance(value, ast.AST):
            _write(value, parts)
        elif isinstance(value, list):
            _write_list(node, name, value, parts)
        else:
            parts.append(_word(value))
    parts.append(")")


def _write_list(node: ast.AST, name: str, values: list[object], parts: list[str]) -> None:
    skip = name == "body" and isinstance(node, _DOCUMENTED) and _is_text(values[0])
    for value in values[1:] if skip else values:
        if isinstance(value, ast.AST):
            _write(value, parts)
        else:
            parts.append(_word(value))


def _word(value: object) -> str:
    return repr(_short(value) if isinstance(value, str) else value)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
