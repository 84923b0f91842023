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
import contextlib
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
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mutants import FOLDERS, PARTS, Mutant, choose, files_of, find_again

HERE = Path(__file__).resolve().parents[1]
LIBRARIES = (
    *("filelock", "hypothesis.strategies", "jinja2", "matplotlib.pyplot", "numpy", "pandas", "PIL.Image", "psutil"),
    *("pyarrow", "pydantic", "pytest", "rich", "safetensors.torch", "scipy.sparse.linalg", "seaborn"),
    *("sklearn.cluster", "submitit", "timm", "torch", "torchvision", "typer", "yaml"),
)
MARKS = "not slow and not slurm and not cuda and not nightly"
WALL_LIMIT = 900.0  # seconds for the tests of one mutant, beside the limit of CPU time


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
    code = run_pytest(root, files, recorder)
    if not recorder.tests:
        raise RuntimeError(f"pytest ran no test of {len(files)} files (exit code {code})")
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
