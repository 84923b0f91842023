"""Do the tests notice it when the code is wrong? Breaks 200 places, one at a time, and runs the tests.

A mutant is one small change of one function: a comparison turned round, a number one larger, an argument left out. It
is killed if a test fails, and survives if none does. The changes are mutmut's (``pip install mutmut libcst``); the
driver is our own, because mutmut writes all mutants of a module into it at once, which the fingerprints of our own
code (``bench/code/fingerprint.py``) and the tests that start processes would see, and because the same mutants must be
found again after functions have moved to other files::

    python benchmarks/mutation_run.py --out before.json                     # at one commit
    python benchmarks/mutation_run.py --out after.json --again before.json  # at a later one: the same mutants

A process that has torch and the other libraries loaded is forked for each mutant, so that a mutant costs its tests
and the import of the project. It works in a copy of the tree. Which tests enter which function is recorded in a first
run (in a function of a shared fixture: all tests that use the fixture); a mutant is shown to the test files of its
part (``PARTS``) of which some test enters its function, up to the first failure.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import libcst
import pytest
from mutmut.mutation.mutators import mutation_operators

HERE = Path(__file__).resolve().parents[1]
LIBRARIES = (
    *("filelock", "hypothesis.strategies", "jinja2", "matplotlib.pyplot", "numpy", "pandas", "PIL.Image", "psutil"),
    *("pyarrow", "pydantic", "pytest", "rich", "safetensors.torch", "scipy.sparse.linalg", "seaborn"),
    *("sklearn.cluster", "submitit", "timm", "torch", "torchvision", "typer", "yaml"),
)
MARKS = "not slow and not slurm and not cuda and not nightly"
WALL_LIMIT = 900.0  # seconds for the tests of one mutant, beside the limit of CPU time
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
            "bench/plan/identity.py",
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


class Recorder:
    """A pytest plugin: which functions of the mutated modules each test enters, its CPU seconds, whether it passes."""

    def __init__(self, root: Path, modules: set[str]) -> None:
        base = f"{root}/src/spectral_bench/"
        self.files = {base + module: module for module in modules}
        self.entered: set[tuple[str, str]] = set()
        self.fixtures: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self.tests: dict[str, dict[str, Any]] = {}

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (module := self.files.get(frame.f_code.co_filename)) is not None:
            self.entered.add((module, frame.f_code.co_qualname.split(".<locals>")[0]))

    def pytest_sessionstart(self) -> None:
        threading.setprofile(self.profile)
        sys.setprofile(self.profile)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        before, self.entered = self.entered, set()
        result = yield
        if fixturedef.scope != "function":
            self.fixtures[fixturedef.argname] |= self.entered
        self.entered |= before
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, Any, Any]:
        self.entered, start = set(), time.process_time()
        sys.setprofile(self.profile)
        result = yield
        for name in item.fixturenames:
            self.entered |= self.fixtures[name]
        entry = self.tests.setdefault(item.nodeid, {"passed": True})
        entry |= {"enters": sorted(self.entered), "cpu": time.process_time() - start}
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.tests.setdefault(report.nodeid, {})["passed"] = False


class Selector:
    """A pytest plugin: runs the given tests, files in the given order, and remembers the first that fails."""

    def __init__(self, order: Mapping[str, int]) -> None:
        self.order, self.by, self.run = order, "", 0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        chosen = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(chosen, key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.run += report.when == "call"
        if report.failed and not self.by:
            self.by = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.by:
            self.by = report.nodeid


# --- Runs in forked processes -------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], Any], cpu_limit: float = 0.0, wall_limit: float = 0.0) -> tuple[str, Any]:
    """``("", result)`` of ``work()`` in a forked process, or why there is none; limits in seconds, 0 for none."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            os.setpgid(0, 0)
            if cpu_limit:
                resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_limit), int(cpu_limit) + 5))
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            answer = json.dumps(work()).encode()
            with os.fdopen(write, "wb") as pipe:
                pipe.write(answer)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    timer = threading.Timer(wall_limit, os.killpg, (child, signal.SIGKILL)) if wall_limit else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if timer is not None:
        timer.cancel()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what a test has started and left
    if not answer:
        return f"died with status {status}", None
    return "", json.loads(answer)


def run_pytest(root: Path, files: Sequence[str], plugin: object, *more: str) -> int:
    os.chdir(root)
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", f"--basetemp={root.parent}/tests"]
    return int(pytest.main([*arguments, "-m", MARKS, *more, *files], plugins=[plugin]))


def record(root: Path, files: Sequence[str], modules: set[str]) -> dict[str, Any]:
    recorder = Recorder(root, modules)
    run_pytest(root, files, recorder)
    return recorder.tests


def test_files(root: Path, part: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files_of(root, PARTS[part].tests)]


def shown_to(mutant: Mutant, tests: Mapping[str, Any], files: Sequence[str]) -> dict[str, int]:
    """The tests of files of which some test enters the function: the module's own file first, then cheap ones."""
    place = [mutant.module, mutant.function]
    of_file: defaultdict[str, list[tuple[bool, float, str]]] = defaultdict(list)
    for name, entry in tests.items():
        if "enters" in entry and entry["passed"] and name.split("::")[0] in files:
            of_file[name.split("::")[0]].append((place not in entry["enters"], entry["cpu"], name))
    chosen = {name: entries for name, entries in of_file.items() if not min(entries)[0]}
    stem = Path(mutant.module).stem

    def rank(name: str) -> tuple[bool, float]:
        return stem not in Path(name).stem, sum(cpu for _, cpu, _ in chosen[name])

    in_order = [name for file in sorted(chosen, key=rank) for _, _, name in sorted(chosen[file])]
    return {name: number for number, name in enumerate(in_order)}


def control(mutants: Sequence[Mutant], root: Path, tests: Mapping[str, Any], files: Mapping[str, list[str]]) -> None:
    """Stops unless the tests pass, shown to nothing but the code as it is, in the way they are shown to a mutant."""
    for part in PARTS:
        of_part = [mutant for mutant in mutants if mutant.part == part and shown_to(mutant, tests, files[part])]
        if of_part:
            first = Mutant(**asdict(of_part[0]) | {"code": (root / of_part[0].module).read_text()})
            try_out(first, root, tests, files[part])
            if first.outcome != "survived":
                raise SystemExit(f"{part}: the tests do not pass without a mutant either: {first.by}")


def try_out(mutant: Mutant, root: Path, tests: Mapping[str, Any], files: Sequence[str]) -> None:
    order = shown_to(mutant, tests, files)
    mutant.tests = len(order)
    if not order:
        mutant.outcome, mutant.by = "survived", "no test enters it"
        return
    expected = sum(tests[name]["cpu"] for name in order)
    path = root / mutant.module
    original = path.read_text()
    chosen = list(dict.fromkeys(name.split("::")[0] for name in order))

    def work() -> Any:
        selector, status = Selector(order), 0
        for part in filter(None, (chosen[:1], chosen[1:4], chosen[4:])):  # as what is collected is imported first
            status = run_pytest(root, part, selector, "-x")
            if status != 0:
                break
        used = resource.getrusage(resource.RUSAGE_SELF)
        return [status, selector.by, selector.run, used.ru_utime + used.ru_stime]

    path.write_text(mutant.code)
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        stale.unlink()
    try:
        died, answer = in_a_child(work, cpu_limit=60 + 5 * expected, wall_limit=WALL_LIMIT)
    finally:
        path.write_text(original)
    if died:
        mutant.outcome, mutant.by = "killed", f"the process {died}: it ends no more"
        return
    status, mutant.by, ran, mutant.cpu = answer
    mutant.outcome = "survived" if status == 0 else "killed"
    mutant.by = mutant.by or f"{ran} tests pass" if status == 0 else mutant.by or f"pytest ends with {status}"


# --- The whole ----------------------------------------------------------------------------------------------------


def copy_of_the_tree(folder: Path) -> Path:
    """The files that git knows or does not ignore, and the compiled ones of a first import."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    root = folder / "tree"
    for name in filter(None, listed.split("\0")):
        if (HERE / name).exists() or (HERE / name).is_symlink():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / name, root / name, follow_symlinks=False)
    subprocess.run([sys.executable, "-m", "compileall", "-q", *FOLDERS, "tests"], cwd=root, check=False)
    return root


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=HERE, check=True, capture_output=True).stdout.decode()


def read_mutants(out: Path) -> list[Mutant]:
    return [Mutant(**entry) for entry in json.loads(out.read_text())["mutants"]]


def key_of(mutant: Mutant) -> tuple[object, ...]:
    return mutant.module, mutant.function, mutant.operator, mutant.ordinal, mutant.changed


def write(out: Path, mutants: Sequence[Mutant], seed: int) -> None:
    entries = [{key: value for key, value in asdict(mutant).items() if key != "code"} for mutant in mutants]
    counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for mutant in mutants:
        counts[mutant.part][mutant.outcome or "to do"] += 1
        counts["all"][mutant.outcome or "to do"] += 1
    parts = {name: asdict(part) for name, part in PARTS.items()}
    head = {"commit": git("rev-parse", "HEAD").strip(), "seed": seed, "counts": counts, "parts": parts}
    out.with_suffix(".new").write_text(json.dumps(head | {"mutants": entries}, indent=1))
    out.with_suffix(".new").replace(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of all mutants; goes on with what is in it")
    parser.add_argument("--again", type=Path, help="an earlier --out: its mutants are looked for in this tree")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--list", action="store_true", help="choose or find the mutants, and try none")
    parser.add_argument("--only", nargs="*", default=[], help="parts, or numbers of mutants")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = copy_of_the_tree(Path(folder).resolve())
        earlier: list[Mutant] = []
        if arguments.again is not None:
            earlier = read_mutants(arguments.again)
            mutants = [find_again(old, root) for old in earlier]
        else:
            chance = random.Random(arguments.seed)
            mutants = [mutant for part in PARTS for mutant in choose(part, root, chance)]
        if arguments.out.exists() and not arguments.list:
            known = {key_of(one): one for one in read_mutants(arguments.out)}
            for mutant in mutants:
                if (tried := known.get(key_of(mutant))) is not None and not mutant.outcome:
                    for name in ("outcome", "by", "tests", "cpu"):
                        setattr(mutant, name, getattr(tried, name))
        write(arguments.out, mutants, arguments.seed)
        if not arguments.list:
            try_all(mutants, earlier, root, arguments)


def try_all(mutants: list[Mutant], earlier: list[Mutant], root: Path, arguments: argparse.Namespace) -> None:
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    os.environ |= {"PYTHONPATH": f"{root}/src", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg"}
    os.environ |= {"TMPDIR": str(root.parent), "XDG_CACHE_HOME": str(root.parent / "cache")}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(root / "src"), *(entry for entry in sys.path if not entry.startswith(str(HERE)) and entry)]
    for name in LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    gc.freeze()
    wanted = [
        number
        for number, mutant in enumerate(mutants)
        if not mutant.outcome and (not arguments.only or {str(number), mutant.part} & set(arguments.only))
    ]
    files = {part: test_files(root, part) for part in PARTS}
    tests = who_enters_what(
        [mutants[number] for number in wanted], root, files, arguments.out.with_suffix(".tests.json")
    )
    control([mutants[number] for number in wanted], root, tests, files)
    for count, number in enumerate(wanted, 1):
        mutant = mutants[number]
        try_out(mutant, root, tests, files[mutant.part])
        before = f" (before: {earlier[number].outcome})" if earlier else ""
        place = f"{mutant.module}:{mutant.function} {mutant.operator} {mutant.ordinal}"
        say(f"{count}/{len(wanted)} [{number}] {mutant.outcome}{before} {place}: {mutant.changed[:100]} | {mutant.by}")
        write(arguments.out, mutants, arguments.seed)
    survivors = [mutant for mutant in mutants if mutant.outcome == "survived"]
    say(f"{len(survivors)} of {len(mutants)} survive")
    if earlier:
        pairs = zip(mutants, earlier, strict=True)
        worse = [new for new, old in pairs if new.outcome == "survived" and old.outcome == "killed"]
        lost = [new for new in mutants if new.outcome == "not found"]
        say(f"{len(worse)} survive now that did not before; {len(lost)} were not found again")


def who_enters_what(
    mutants: Sequence[Mutant], root: Path, files: Mapping[str, list[str]], kept: Path
) -> dict[str, Any]:
    """The tests of all parts with what they enter; kept in a file for a run that goes on at the same commit."""
    commit, modules = git("rev-parse", "HEAD"), {mutant.module for mutant in mutants}
    tests: dict[str, Any] = {}
    if kept.exists() and (read := json.loads(kept.read_text()))["commit"] == commit:
        return dict(read["tests"])
    for part in dict.fromkeys(mutant.part for mutant in mutants):
        missing = [name for name in files[part] if not any(test.startswith(f"{name}::") for test in tests)]
        died, found = in_a_child(lambda missing=missing: record(root, missing, modules))  # type: ignore[misc]
        if died:
            raise SystemExit(f"the tests of {part} {died}")
        tests |= found
        failing = [name for name, entry in found.items() if not entry["passed"]]
        cost = sum(entry.get("cpu", 0.0) for entry in found.values())
        say(f"{part}: {len(found)} tests, {cost:.0f} s of CPU time; without any mutant fail: {failing}")
    kept.write_text(json.dumps({"commit": commit, "tests": tests}))
    return tests


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
