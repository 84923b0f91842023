"""What the code of a method imports, read and not executed: its own modules, and those that no method may import.

A method sees patches. Data sets, the harness and its results hold labels, or counts of them, so no method imports
them, by itself or through a module of the user's own. Installed packages are taken as they are and not looked into.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.imports import below, imported_names, inside, top_module, with_parents
from spectral_bench.common.loaded import PACKAGE, ROOT, installed
from spectral_bench.common.names import few
from spectral_bench.common.own_modules import beside
from spectral_bench.methods.registry import METHODS, REGISTRY

ALLOWED = ("common", "methods")
"""Parts of the package that a method may import; no others, and not the package as a whole, which leads to them."""

FORBIDDEN = ("bench", "datasets", "reports", "results")
"""Folders of a checkout, which can be imported by these names too where the checkout is on the path."""

WHY = "a method sees patches, never data sets, the harness or its results"

_PROJECT = tuple(ROOT / name for name in (*FORBIDDEN, *ALLOWED))
_LOADERS = frozenset({"import_module", "__import__", "find_spec", "run_module", "resolve_name"})


@dataclass(frozen=True)
class _Import:
    """A name that a file may import, and the line that says so."""

    name: str
    line: int


@dataclass(frozen=True)
class _Module:
    """A module of a method's own.

    Attributes:
        name: its dotted name; empty for a file that is loaded by its path.
        path: its file.
        home: the folder whose files hide others for it, as when it is run; None for a module that Python found.
    """

    name: str
    path: Path
    home: Path | None = None

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def is_own(method: str) -> bool:
    """Whether a method is of the user's own, a file or an entry point, and does not ship with the harness."""
    return method not in METHODS


def own_files(method: str) -> tuple[Path, ...]:
    """The file of a method and those of all modules of its own that it imports, directly or not, in order of discovery.

    Those of the user's own lie neither in the standard library nor among installed packages nor in the project; the
    package of an entry point is its own wherever it lies, and a method that ships has the modules of ``methods``.

    Raises:
        ConfigError: the method is unknown, or a file is not valid Python.
    """
    return tuple(module.path for module in _own_modules(REGISTRY.module(method), ALLOWED))


def forbidden_imports(method: str) -> list[str]:
    """What the code of a method imports although no method may: one text each, that names file, line and module.

    Imports are those of ``import`` statements, wherever they stand, and of calls such as
    ``importlib.import_module("...")`` and ``sys.modules["..."]`` whose name is written out. Errors: as ``own_files``.
    """
    return forbidden_in(REGISTRY.module(method), ALLOWED)


def forbidden_in(module: str, allowed: Sequence[str]) -> list[str]:
    """The same of a module by its name, or of a file by its path, of which only ``allowed`` parts may be imported."""
    found = []
    for own in _own_modules(module, allowed):
        imports = _imports(own)
        for seen in imports:
            if _is_forbidden(seen.name, own.home, allowed) and not _leads_on(seen, imports, allowed):
                found.append(f"{own.path} line {seen.line} imports {seen.name}")
    return list(dict.fromkeys(found))


def require_imports(method: str) -> None:
    """Refuse a method whose code imports what no method may.

    Raises:
        ConfigError: it does; the message names files, lines and modules. Or as ``own_files``.
    """
    if found := forbidden_imports(method):
        raise ConfigError(f'method "{method}": {few(found)}: {WHY}')


def _own_modules(name: str, allowed: Sequence[str]) -> list[_Module]:
    by_path = name.endswith(".py")
    path = Path(name).resolve() if by_path else _find(name)
    if path is None or not path.is_file():
        return []  # loading it says what is wrong
    if by_path:
        package = next((f"{PACKAGE}.{one.name}" for one in _PROJECT if path.is_relative_to(one)), "")
    else:
        package = ".".join(name.split(".")[: 2 if name.startswith(f"{PACKAGE}.") else 1])
    return _walk(_Module("", path, path.parent) if by_path else _Module(name, path), package, allowed)


def _is_forbidden(name: str, home: Path | None, allowed: Sequence[str]) -> bool:
    top, _, rest = name.partition(".")
    if top == PACKAGE:
        return not any(f"{rest}.".startswith(f"{part}.") for part in allowed)
    if home is not None and beside(home, top):
        return False
    # Another package of such a name, such as Hugging Face's datasets, is none of ours.
    return top in FORBIDDEN and any(place.resolve() == ROOT / top for place in top_module(top)[1])


def _leads_on(seen: _Import, imports: Sequence[_Import], allowed: Sequence[str]) -> bool:
    """Whether a package is named only as one around an allowed part, which the same line imports."""
    around = [f"{PACKAGE}.{part}" for part in allowed if f"{PACKAGE}.{part}".startswith(f"{seen.name}.")]
    inside = [other.name for other in imports if other.line == seen.line]
    return any(f"{name}.".startswith(f"{part}.") for part in around for name in inside)


def _walk(root: _Module, package: str, allowed: Sequence[str]) -> list[_Module]:
    """A module and all that are as much its author's: those of its ``package`` and those that are not installed."""
    found = {root.path: root}
    waiting = [root]
    while waiting:
        module = waiting.pop()
        for seen in _imports(module):
            of_package = f"{seen.name}.".startswith(f"{package}.")
            folders = (root.path.parent, module.path.parent)
            path = None if _is_forbidden(seen.name, module.home, allowed) else _find(seen.name, folders, module.home)
            if path is None or path in found or not (of_package or _is_users(path)):
                continue
            home = module.home if module.home and path.is_relative_to(module.home) else None
            found[path] = _Module(seen.name, path, home)
            waiting.append(found[path])
    return list(found.values())


def _is_users(path: Path) -> bool:
    return not installed(str(path)) and not any(path.is_relative_to(package) for package in _PROJECT)


def _find(name: str, folders: Sequence[Path] = (), home: Path | None = None) -> Path | None:
    """The Python file behind a dotted name: what ``home`` hides others by, what Python finds, what ``folders`` hold.

    Nothing is imported, not even the packages around it.
    """
    top, *inner = name.split(".")
    found, places = inside([home], top) if home is not None and beside(home, top) else top_module(top)
    if found is None and not places:
        found, places = inside(folders, top)
    found = below(places, inner) if inner else found
    return found.resolve() if found is not None else None


def _imports(module: _Module) -> tuple[_Import, ...]:
    stamp = module.path.stat()
    return _read(module.path, module.package, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=1024)
def _read(path: Path, package: str, mtime_ns: int, size: int) -> tuple[_Import, ...]:
    """The names that a file may import. Time and size are there so that a changed file is read anew."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ConfigError(f"{path}{line}: not valid Python ({error})") from error
    found = ((name, node) for node in ast.walk(tree) for name in _names(node, package))
    return tuple(dict.fromkeys(_Import(name, getattr(node, "lineno", 0)) for name, node in found))


def _names(node: ast.AST, package: str) -> Iterator[str]:
    """The names that one node may import, each with the packages around it."""
    yield from imported_names(node, package)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == PACKAGE:
        yield f"{PACKAGE}.{node.attr}"  # "import spectral_bench.methods" gives the whole package by its name
    elif isinstance(node, ast.Call | ast.Subscript) and (name := _written_out(node)):
        yield from with_parents(name)


def _written_out(node: ast.Call | ast.Subscript) -> str:
    """The module that ``importlib.import_module("x")``, ``sys.modules["x"]`` and the like name, else nothing."""
    if isinstance(node, ast.Subscript):
        asked, given = _last(node.value) == "modules", node.slice
    else:
        function = node.func
        get = isinstance(function, ast.Attribute) and function.attr == "get" and _last(function.value) == "modules"
        named = (keyword.value for keyword in node.keywords if keyword.arg == "name")
        asked, given = get or _last(function) in _LOADERS, node.args[0] if node.args else next(named, node)
    if not (asked and isinstance(given, ast.Constant) and isinstance(given.value, str)):
        return ""
    return given.value.partition(":")[0]


def _last(node: ast.expr) -> str:
    """The last name of ``a.b.c``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
