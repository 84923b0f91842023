"""The code of methods of the user's own, and what ``check-method`` has found of it."""

from __future__ import annotations

from pathlib import Path

from spectral_bench.bench.code.fingerprint import fingerprint, is_own_file
from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.imports import is_own, own_files, require_imports
from spectral_bench.methods.registry import load_method, method_facts
from spectral_bench.results.checks import check_state
from spectral_bench.results.identity import digest
from spectral_bench.results.record import MethodCheck


def own_methods(method: str) -> list[str]:
    """The methods of the user's own among a method and those whose fits it starts from; imports them.

    Raises:
        ConfigError: one is unknown or no method.
    """
    names: list[str] = []
    following: str | None = method
    while following is not None:
        names.append(following)
        following = method_facts(following).fit_from
    return [name for name in names if is_own(name)]


def own_code(method: str) -> str:
    """The digest of a method's own code: which class, its file, and the modules of its own that it imports, by content.

    Names of files and folders do not count, nor do comments and formatting. Methods of the user's own that it starts
    from count too.

    Returns:
        A short digest; empty for a method that ships with the harness.

    Raises:
        ConfigError: the method is unknown, or a file of it is not valid Python.
    """
    own = own_methods(method)
    if not own:
        return ""
    files = dict.fromkeys(str(path) for name in own for path in own_files(name))
    code = fingerprint(files)
    hashes = sorted(value for name, value in code.items() if is_own_file(name))
    return digest([[load_method(name).__qualname__ for name in own], hashes], 16)


def method_check(store: Path, method: str) -> MethodCheck | None:
    """What a store knows of the code of a method as it is now; None for a method that ships with the harness.

    Errors: as ``own_code``; ``StoreError`` where a newer release has checked it.
    """
    code = own_code(method)
    return MethodCheck(code=code, verdict=check_state(store, code)) if code else None


def require_own_imports(method: str) -> None:
    """Refuse a method of the user's own whose code, or that of one it starts from, imports what no method may.

    The code is read before it is executed.

    Raises:
        ConfigError: it does; the message names files, lines and modules.
    """
    if is_own(method):
        require_imports(method)
    for name in own_methods(method):
        require_imports(name)


def unproven(store: Path, methods: list[str]) -> list[str]:
    """A line for each method of the user's own whose code has not passed ``check-method`` in a store."""
    lines = []
    for method in dict.fromkeys(methods):
        try:
            check = method_check(store, method)
        except ConfigError:
            continue  # whoever runs it is told
        if check is not None and check.verdict != "passed":
            how = "broke a promise of" if check.verdict == "failed" else "has not passed"
            lines.append(
                f"{method} {how} check-method at its present code, and tables say so: "
                f"bench check-method {method} --out {store}"
            )
    return lines
