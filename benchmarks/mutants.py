"""Mutants: which places of which code are broken, drawn by a seed, and found again after functions have moved."""

from __future__ import annotations

import ast
import difflib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import libcst
from mutmut.mutation.mutators import mutation_operators

FOLDERS = ("bench", "common", "datasets", "methods", "reports", "results")


@dataclass(frozen=True)
class Part:
    """A part of the code: how many mutants are drawn of which files, and the tests that are to notice them."""

    mutants: int
    code: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = {
    "results": Part(
        100,
        ("results/*.py",),
        ("tests/results/**/test_*.py", "tests/reports/test_*.py", "tests/reports/compare/test_*.py"),
    ),
    "loss": Part(
        30,
        ("methods/neuralef/*.py",),
        tuple(f"tests/methods/**/test_{about}*.py" for about in ("objective", "neuralef", "psi", "trainer")),
    ),
    "plan": Part(
        30,
        (
            "bench/plan/states.py",
            "bench/plan/build.py",
            "bench/plan/today.py",
            "bench/plan/own_names.py",
            "bench/plan/records.py",
        ),
        ("tests/bench/plan/test_*.py", "tests/bench/test_order_missing.py", "tests/results/test_run_state.py"),
    ),
    "slurm": Part(
        40,
        ("bench/executors/slurm/causes.py", "bench/executors/slurm/queue.py"),
        ("tests/bench/executors/slurm/test_*.py", "tests/bench/executors/test_job_exits.py"),
    ),
}


# --- Mutants ------------------------------------------------------------------------------------------------------


@dataclass
class Mutant:
    """One change: the ``ordinal``-th that ``operator`` can make in the function ``function`` of ``module``."""

    part: str
    module: str
    function: str
    operator: str
    ordinal: int
    statement: str  # the statement that is changed, without its layout
    changed: str
    source: str  # of the whole function: by it the mutant is found again if its name has changed
    outcome: str = ""
    by: str = ""  # the test that failed
    found: str = ""  # how, where it was looked for in another tree
    tests: int = 0
    cpu: float = 0.0
    code: str = field(default="", repr=False)  # the module with the change; not kept


def functions_of(tree: libcst.Module) -> Iterator[tuple[str, libcst.FunctionDef]]:
    """Every function with its qualified name; functions inside functions belong to these."""

    def walk(body: Sequence[libcst.BaseStatement], prefix: str) -> Iterator[tuple[str, libcst.FunctionDef]]:
        for statement in body:
            if isinstance(statement, libcst.FunctionDef):
                yield prefix + statement.name.value, statement
            elif isinstance(statement, libcst.ClassDef) and isinstance(statement.body, libcst.IndentedBlock):
                yield from walk(statement.body.body, f"{prefix}{statement.name.value}.")

    return walk(tree.body, "")


class Places(libcst.CSTVisitor):
    """The nodes of a function's body that may be changed, each with the statement it stands in."""

    def __init__(self) -> None:
        self.places: list[tuple[libcst.CSTNode, libcst.CSTNode]] = []
        self._statements: list[libcst.CSTNode] = []

    def on_visit(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, libcst.Annotation | libcst.Decorator | libcst.FormattedString | libcst.ConcatenatedString):
            return False
        if isinstance(node, libcst.Expr) and isinstance(node.value, libcst.SimpleString):
            return False  # a docstring
        if isinstance(node, libcst.BaseSmallStatement | libcst.BaseCompoundStatement):
            self._statements.append(node)
        if self._statements:
            self.places.append((node, self._statements[-1]))
        return True

    def on_leave(self, original_node: libcst.CSTNode) -> None:
        if self._statements and self._statements[-1] is original_node:
            self._statements.pop()


def text_of(node: libcst.CSTNode) -> str:
    """The node's first logical line, spaces apart: a compound statement's head only."""
    if isinstance(node, libcst.BaseCompoundStatement):
        node = node.with_changes(body=libcst.SimpleStatementSuite([libcst.Pass()]), leading_lines=[])
        if isinstance(node, libcst.If | libcst.For | libcst.While):
            node = node.with_changes(orelse=None)
    return " ".join(libcst.Module([]).code_for_node(node).split())


Place = tuple[str, int, str, str, libcst.FunctionDef]
"""Operator, ordinal, statement, changed statement, changed function."""


def mutants_of(function: libcst.FunctionDef) -> Iterator[Place]:
    """Every change that an operator can make in a function."""
    places = Places()
    function.body.visit(places)
    ordinals: defaultdict[str, int] = defaultdict(int)
    for node, statement in places.places:
        if isinstance(node, libcst.SimpleString) and " " in node.value:
            continue  # prose: what a message says is not what is measured here
        for kind, operator in mutation_operators:
            if not isinstance(node, kind):
                continue
            for new in operator(node):
                ordinal = ordinals[operator.__name__]
                ordinals[operator.__name__] += 1
                changed = statement.deep_replace(node, new) if node is not statement else new
                yield operator.__name__, ordinal, text_of(statement), text_of(changed), function.deep_replace(node, new)


def with_function(tree: libcst.Module, old: libcst.FunctionDef, new: libcst.FunctionDef) -> str | None:
    """The module's text with another function; none if that is no Python or means the same."""
    code = tree.deep_replace(old, new).code
    try:
        same = ast.dump(ast.parse(code)) == ast.dump(ast.parse(tree.code))
        compile(code, "mutant", "exec")
    except SyntaxError:
        return None
    return None if same else code


def files_of(root: Path, patterns: Sequence[str]) -> list[Path]:
    """What patterns of ``PARTS`` name. One that names nothing any more would leave mutants or tests out unseen."""
    found = {pattern: list(root.glob(pattern)) for pattern in patterns}
    if empty := [pattern for pattern, paths in found.items() if not paths]:
        raise SystemExit(f"PARTS: no file at {', '.join(empty)}; say where it went")
    return sorted({path for paths in found.values() for path in paths})


def choose(part: str, root: Path, chance: random.Random) -> list[Mutant]:
    """The mutants of a part: a function by chance, one of its operators by chance, one of its places by chance."""
    wanted, functions = PARTS[part], []
    for path in files_of(root, wanted.code):
        tree = libcst.parse_module(path.read_text())
        module = path.relative_to(root).as_posix()
        functions += [(module, name, tree, function) for name, function in functions_of(tree)]
    chosen: dict[tuple[str, str, str, int], Mutant] = {}
    tries = 0
    while len(chosen) < wanted.mutants:
        tries += 1
        if tries > 100 * wanted.mutants:
            raise SystemExit(f"{part}: only {len(chosen)} mutants found, {wanted.mutants} asked for")
        module, name, tree, function = chance.choice(functions)
        all_of = list(mutants_of(function))
        if not all_of:
            continue
        operator = chance.choice(sorted({found[0] for found in all_of}))
        _, ordinal, statement, changed, new = chance.choice([found for found in all_of if found[0] == operator])
        code = with_function(tree, function, new)
        if code is not None and (module, name, operator, ordinal) not in chosen:
            source = tree.code_for_node(function)
            chosen[module, name, operator, ordinal] = Mutant(
                part, module, name, operator, ordinal, statement, changed, source, code=code
            )
    return list(chosen.values())


# --- The same mutants in another tree -----------------------------------------------------------------------------


Function = tuple[str, str, libcst.Module, libcst.FunctionDef, str]
"""Module, qualified name, both parsed, and the function's text."""


@cache
def all_functions(root: Path) -> list[Function]:
    found = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            tree = libcst.parse_module(path.read_text())
            for name, function in functions_of(tree):
                found.append((path.relative_to(root).as_posix(), name, tree, function, tree.code_for_node(function)))
    return found


def alike(one: str, other: str, at_least: float = 0.0) -> float:
    matcher = difflib.SequenceMatcher(None, one.split(), other.split(), autojunk=False)
    return matcher.ratio() if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= at_least else 0.0


def find_again(old: Mutant, root: Path) -> Mutant:
    """The same change in another tree: function by name, else by likeness; then the same place, else the likest one."""
    functions = all_functions(root)
    named = [entry for entry in functions if entry[1] == old.function]
    how, (likeness, best) = "name", likest(old, named, 0.5)
    if best is None:  # a short function of that name may be another one; a changed one may have a new name
        how, (likeness, best) = "likeness", likest(old, functions, 0.4)
    new = Mutant(old.part, old.module, old.function, old.operator, old.ordinal, old.statement, old.changed, old.source)
    if best is None:
        new.outcome, new.found = "not found", f"no function like it ({likeness:.2f})"
        return new
    module, name, tree, function, source = best
    place = same_place(old, [found for found in mutants_of(function) if found[0] == old.operator])
    if place is None:
        new.outcome, new.found = "not found", f"{module}:{name} has no such place"
        return new
    new.module, new.function, new.source = module, name, source
    _, new.ordinal, new.statement, new.changed, changed = place
    same = (new.statement, new.changed) == (old.statement, old.changed)
    new.found = f"{how} {likeness:.2f}" + ("" if same else ", nearest place")
    new.code = with_function(tree, function, changed) or ""
    if not new.code:
        new.outcome, new.found = "not found", f"{module}:{name}: changes nothing"
    return new


def likest(old: Mutant, functions: Sequence[Function], at_least: float) -> tuple[float, Function | None]:
    """The function most like the mutant's, in its own module rather than elsewhere, and how like it is."""
    scored = [(alike(old.source, entry[4], at_least), entry[0] == old.module, i) for i, entry in enumerate(functions)]
    likeness, _, best = max(scored, default=(0.0, False, 0))
    return likeness, functions[best] if likeness >= at_least else None


def same_place(old: Mutant, places: Sequence[Place]) -> Place | None:
    exact = [found for found in places if (found[2], found[3]) == (old.statement, old.changed)]
    if exact:
        return next((found for found in exact if found[1] == old.ordinal), exact[0])

    def near(found: Place) -> float:
        return alike(old.statement, found[2]) + alike(old.changed, found[3])

    best = max(places, key=near, default=None)
    return best if best is not None and near(best) >= 0.8 else None


# --- Which tests enter which function -----------------------------------------------------------------------------
