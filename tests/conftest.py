"""What holds for all tests: how they share the cores, and that none leaves anything behind for the next or the user."""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing.forkserver
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntry
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

# The workers share the cores among themselves; and a sum has the same bits in each of them. Before torch is imported.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A busy machine is no failure, and the same code passes or fails every time; "explore" draws new examples.
_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_PATIENT)
settings.register_profile("explore", **_PATIENT)
settings.load_profile("repeatable")

_cache: tempfile.TemporaryDirectory[str] | None = None
_committed: dict[Path, int] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is remembered in the user's own cache: here and in the processes that tests start it is another folder.

    What was downloaded or built once stays where it is: the index of fonts, and the packages of pip.
    """
    global _cache
    if _is_worker(config):
        return  # which has the environment of the process that started it
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    os.environ.setdefault("MPLCONFIGDIR", str(user / "matplotlib"))
    os.environ.setdefault("PIP_CACHE_DIR", str(user / "pip"))
    _cache = tempfile.TemporaryDirectory(prefix="bench-tests-", ignore_cleanup_errors=True)
    os.environ["XDG_CACHE_HOME"] = _cache.name
    _committed.update(_fixtures())


def _fixtures() -> dict[Path, int]:
    """When each file and folder that is committed for tests to read was changed last."""
    folders = Path(__file__).parent.glob("**/fixtures")
    return {path: path.stat().st_mtime_ns for folder in folders for path in (folder, *folder.rglob("*"))}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that writes into a fixture, in place of a copy, makes the session fail."""
    if _committed and (now := _fixtures()) != _committed:
        changed = sorted(
            {str(path.relative_to(session.config.rootpath)) for path, _ in now.items() ^ _committed.items()}
        )
        text = f"ERROR: tests have written into {', '.join(changed[:5])}; they are to copy a fixture first"
        session.config.get_terminal_writer().line(f"\n{text}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    if _cache is not None:
        _cache.cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Workers collect all tests each: compiled files are kept for the next, and for the processes that tests start.

    Only here, since a file that a test edits has a compiled one that may seem to belong to it: Python compares seconds.
    What is loaded by then stays, so that no collection of garbage walks through it again.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = False
    gc.disable()
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nightly tests run when ``-m`` names them. Workers take the tests of a cluster first, then files of slow ones."""
    if "nightly" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left_out)
    if _is_worker(config):
        ranks: dict[Path, int] = {}
        for item in items:
            rank = 0 if item.get_closest_marker("slurm") else 1 if item.get_closest_marker("slow") else 2
            ranks[item.path] = min(rank, ranks.get(item.path, 2))
        items.sort(key=lambda item: ranks[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The end of a failing run tells of each failure, so none of them may fill it with what two files hold."""
    report = yield
    if isinstance(report.longrepr, ExceptionChainRepr):
        for traceback, crash, _ in report.longrepr.chain:
            for entry in traceback.reprentries:
                if isinstance(entry, ReprEntry):
                    entry.lines[:] = _cut(entry.lines)
            if crash is not None:
                crash.message = "\n".join(_cut(crash.message.splitlines(), most=1))
    return report


def _cut(lines: list[str], most: int = 25, width: int = 300) -> list[str]:
    """The first lines, none too long; ``CI`` in the environment makes pytest print all of a comparison."""
    cut = [line if len(line) <= width else f"{line[:width]} ... ({len(line)} characters)" for line in lines[:most]]
    return cut if len(lines) <= most else [*cut, f"... ({len(lines)} lines)"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker for each core, and one for the tests of a cluster, which wait most of the time.

    None for a single file, which would go to one worker anyhow.
    """
    if len(config.args) == 1 and config.args[0].split("::")[0].endswith(".py"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    left_out = re.search(r"not (slow|slurm)", config.option.markexpr)
    return cores + (shutil.which("sinfo") is not None and not left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    if config.option.dist != "loadfile":
        return None
    config.option.loadscopereorder = False  # but the order of the tests
    return _OneFileAWorker(config, log)


class _OneFileAWorker(LoadFileScheduling):
    """Tests of a file run in one worker, which sets up for them once; and so do all tests of the one cluster."""

    def _split_scope(self, nodeid: str) -> str:
        name: str = super()._split_scope(nodeid)
        return "the cluster" if _asks_a_cluster(self.config.rootpath / name) else name


@functools.cache
def _asks_a_cluster(file: Path) -> bool:
    return "pytest.mark.slurm" in file.read_text()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.fixture(autouse=True, scope="session")
def _fork_server_with_what_is_asked_for() -> Iterator[None]:
    """A command asks for one fork server; here one process asks for many, and Python keeps the first, whatever it has.

    Each process of a server without torch imports it anew, which takes longer than what most of them are there for.
    """
    server: Any = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    ask = multiprocessing.forkserver.set_forkserver_preload

    def asked(names: list[str]) -> None:
        if server._forkserver_pid is not None and names != server._preload_modules:
            os.kill(server._forkserver_pid, signal.SIGKILL)
            server._stop()
        ask(names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing.forkserver, "set_forkserver_preload", asked)
        yield


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Commands called in this process set variables, and torch as a run needs it; the next test knows nothing of it."""
    before = dict(os.environ)
    with _torch_as_before() if "torch" in sys.modules else contextlib.nullcontext():
        yield
    with contextlib.suppress(KeyError):
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch computes as it does in a run: deterministic algorithms, no TF32."""
    import torch

    from spectral_bench.bench.measure.environment import set_up_torch
    from spectral_bench.bench.work.order import Execution

    for name in ("OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is put back, or taken away again
        monkeypatch.delenv(name)
    with _torch_as_before():
        set_up_torch(Execution(threads=torch.get_num_threads()))
        yield


@contextlib.contextmanager
def _torch_as_before() -> Iterator[None]:
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn, matmul, memory = torch.backends.cudnn, torch.backends.cuda.matmul, torch.utils.deterministic
    kept = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory = kept
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
        threadpool_limits(threads)
