"""Which code a run depends on, and whether it has changed: hashes of syntax trees along static imports.

Comments, formatting, docstrings and line numbers do not count. Imports are read and not executed, so asking costs
little and has no effects. Imports inside of functions count, those for type checkers do not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PACKAGE = "spectral_bench."
"""Left out of names and of what is hashed: records keep the short names of modules, wherever the package lies."""

FOLLOWED = ("bench.run", "bench.features", "bench.evaluation", "methods", "datasets", "common", "results.contingency")
"""Imports of these packages and modules are followed; what lies elsewhere cannot change a result."""

PASSED_OVER = frozenset(
    {
        # They say which parts there are, and change with every part that is added. What they lead to is a root.
        "common.registry",
        "datasets.registry",
        "methods.registry",
        # Defaults and ranges: the parameters of a run are complete in its specification.
        "methods.label_params",
        "methods.params",
        # Words and files, not numbers.
        "common.errors",
        "common.files",
        "common.names",
    }
)
"""Modules that do not count although they are imported."""


def fingerprint(roots: Iterable[str], *, root: Path = ROOT) -> dict[str, str]:
    """Hash each module that ``roots`` depend on inside of the project.

    Args:
        roots: module names, or paths of Python files (a method of the user's own). A package stands for its
            ``__init__``. Roots always count, wherever they lie; names that are no file of the project are passed over.
        root: the folder that holds the packages.

    Returns:
        Module name or path -> 16 hexadecimal digits, in alphabetical order.

    Raises:
        SyntaxError: a file is not valid Python.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [_short(name) for name in roots]
    modules = [name for name in waiting if not name.endswith(".py")]
    waiting += [parent for name in modules for parent in _with_parents(name)[:-1] if _counts(parent)]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(name, root)
        if path is None:
            continue
        stamp = path.stat()
        digest, imports = _read(path, _package(name, path), stamp.st_mtime_ns, stamp.st_size)
        found[name] = digest
        waiting += [other for other in imports if _counts(other)]
    return dict(sorted(found.items()))


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The modules whose code differs between two fingerprints, appeared or vanished, in alphabetical order."""
    return sorted({name for name, _ in old.items() ^ new.items()})


def _short(name: str) -> str:
    return name.removeprefix(PACKAGE)


def _counts(name: str) -> bool:
    if name in PASSED_OVER:
        return False
    return any(name == followed or name.startswith(f"{followed}.") for followed in FOLLOWED)


def _file(name: str, root: Path) -> Path | None:
    """The file behind a module name or a path; None where there is none."""
    if name.endswith(".py"):
        return Path(name) if Path(name).is_file() else None
    base = root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _package(name: str, path: Path) -> str:
    """The package that relative imports of a module start from."""
    if name.endswith(".py"):
        return ""
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


@functools.lru_cache(maxsize=4096)
def _read(path: Path, package: str, mtime_ns: int, size: int) -> tuple[str, tuple[str, ...]]:
    """The hash of a file and the names it may import. Time and size are there so that a changed file is read anew."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    imports = tuple(dict.fromkeys(_imports(tree, package)))
    parts: list[str] = []
    _write(tree, parts)
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16], imports


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """All module names that a tree may import: each with its parent packages, and each imported name as a module."""
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(_short(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = _short(_absolute(node, package))
            yield from _with_parents(base)
            for alias in node.names:
                yield f"{base}.{alias.name}"


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parents = package.split(".")
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def _with_parents(name: str) -> list[str]:
    """A module name after those of the packages around it, which Python executes first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


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
    """Append the names and values of a tree in one order, the same whatever the version of Python.

    Left out are positions, docstrings, and fields that are empty (new versions of Python add such fields).
    """
    parts.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in ("ctx", "type_comment", "kind", "type_ignores"):
            if name == "value" and isinstance(node, ast.Constant):
                parts.append("None")
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
