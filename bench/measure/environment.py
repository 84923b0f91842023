"""Where and with what a run is made: packages, machine, device, job, and how torch computes in it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from spectral_bench.common.cgroups import processors
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.loaded import ROOT
from spectral_bench.results.specification import View

if TYPE_CHECKING:
    from spectral_bench.bench.work.order import Execution


DISTRIBUTION = "spectral-segmentation-bench"

_SLURM = {
    "job_id": "SLURM_JOB_ID",
    "array_job_id": "SLURM_ARRAY_JOB_ID",
    "array_task_id": "SLURM_ARRAY_TASK_ID",
    "restart_count": "SLURM_RESTART_COUNT",
    "nodes": "SLURM_JOB_NODELIST",
    "partition": "SLURM_JOB_PARTITION",
    "cluster": "SLURM_CLUSTER_NAME",
}

THREADS_VARIABLE = "OMP_NUM_THREADS"


def environment() -> dict[str, Any]:
    """All that a record says of where it was made; plain JSON values, ``None`` for what is absent.

    Sizes are in bytes. Never initialises CUDA: device facts come from the driver's management library.
    """
    return {
        "git": dict(_git()),  # copies: what is cached must not be changed by who is handed it
        "packages": dict(_packages()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "usable_cpus": usable_cpus(),
        "threads": _threads(),
        "memory": psutil.virtual_memory().total,
        "gpus": list(_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))),
        "cuda": _cuda(),
        "slurm": _slurm(),
    }


_known_pools: list[Any] = []  # thread pools of the libraries that a fork server has loaded


def _pools() -> Any:
    """The thread pools of all libraries that are loaded by now; looking for them takes tens of milliseconds."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def look_up_for_good() -> None:
    """Look up what cannot change while this process lives, for itself and for those that it is forked into."""
    _packages()
    _cpu_model()
    _known_pools.append(_pools())
    with contextlib.suppress(ImportError):
        importlib.import_module("pynvml")


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond: a run of a second has parts that no stage is charged with."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def usable_cpus() -> int:
    """Logical processors that this process may use, by its affinity and by the limits of its control groups."""
    has_affinity = hasattr(os, "sched_getaffinity")
    here = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(here, processors() or here)


def usable_gpus(gpus: Sequence[str]) -> int:
    """How many of ``gpus``, from the first on, torch can use if ``CUDA_VISIBLE_DEVICES`` names them."""
    # In a process of its own: none can see other devices than those of its first look.
    ask = "import torch; print(torch.cuda.device_count())"
    visible = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    told = subprocess.run([sys.executable, "-c", ask], env=visible, capture_output=True, text=True, check=False)
    return int(told.stdout) if told.returncode == 0 else 0


@functools.cache
def _git() -> tuple[tuple[str, Any], ...]:
    """The commit of the checkout that the code is run from, and whether tracked files differ from it."""
    commit = _ask_git("rev-parse", "HEAD") if (ROOT / ".git").exists() else None
    if commit is None:
        return (("commit", None), ("dirty", None))
    changes = _ask_git("status", "--porcelain", "--untracked-files=no")
    return (("commit", commit), ("dirty", None if changes is None else bool(changes)))


def _ask_git(*arguments: str) -> str | None:
    # Without locks: a look at the tree must not get in the way of a commit that the user makes.
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


@functools.cache
def _packages() -> tuple[tuple[str, str | None], ...]:
    """The installed version of each dependency, extras included."""
    return tuple((name, _version(name)) for name in sorted({DISTRIBUTION, *_requirements()}))


def _requirements() -> Iterator[str]:
    with contextlib.suppress(metadata.PackageNotFoundError):
        for line in metadata.requires(DISTRIBUTION) or []:
            # Of the extras, only the one that can change a result.
            if "extra" not in line or 'extra == "crf"' in line:
                yield re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _cpu_model() -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _threads() -> int | None:
    """Threads of torch's operations; None where torch is not loaded."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else None


@functools.cache
def _gpus(visible: str | None) -> tuple[dict[str, Any], ...]:
    """Name, memory and driver of each NVIDIA device that ``CUDA_VISIBLE_DEVICES`` lets through, in its order."""
    # By the driver's library and not by torch, which would initialise CUDA: no fork of this process could use it then.
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver, no permission: in any case there is nothing to report
        return ()
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return tuple(_gpu(pynvml, handle, driver) for handle in _handles(pynvml, visible))
    finally:
        pynvml.nvmlShutdown()


def _handles(nvml: Any, visible: str | None) -> Iterator[Any]:
    count = nvml.nvmlDeviceGetCount()
    names = [str(index) for index in range(count)] if visible is None else [name.strip() for name in visible.split(",")]
    for name in names:
        if name.isdecimal() and int(name) < count:
            yield nvml.nvmlDeviceGetHandleByIndex(int(name))
        elif name.startswith("GPU-"):
            with contextlib.suppress(nvml.NVMLError):
                yield nvml.nvmlDeviceGetHandleByUUID(name)
        else:
            return  # as CUDA does: an invalid entry ends the list


def _gpu(nvml: Any, handle: Any, driver: str) -> dict[str, Any]:
    memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    return {"name": str(nvml.nvmlDeviceGetName(handle)), "memory": memory, "driver": driver}


def _cuda() -> str | None:
    """The CUDA version that torch was built for; None for a CPU build or where torch is not loaded."""
    torch = sys.modules.get("torch")
    version = getattr(torch, "version", None)
    return getattr(version, "cuda", None)


ASKED = "SPECTRAL_BENCH_ASKED"  # a job of Slurm tells its workers what it asked for: JSON


def _slurm() -> dict[str, Any] | None:
    found: dict[str, Any] = {name: os.environ[variable] for name, variable in _SLURM.items() if variable in os.environ}
    if found and (asked := os.environ.get(ASKED)):
        found |= json.loads(asked)
    return found or None


def thread_count(execution: Execution) -> int:
    """Threads for a worker: what the order says, else what its executor says by ``OMP_NUM_THREADS``, else all."""
    if execution.threads:
        return execution.threads
    said = os.environ.get(THREADS_VARIABLE, "")
    return int(said) if said.isdecimal() and int(said) > 0 else usable_cpus()


def set_up_torch(execution: Execution) -> None:
    """Make torch (and BLAS, and OpenMP) use the order's threads and compute the same bits each time.

    On one device with one number of threads, the same order then gives the same bits.
    """
    import torch

    threads = thread_count(execution)
    os.environ[THREADS_VARIABLE] = str(threads)
    torch.set_num_threads(threads)
    (_known_pools[-1] if _known_pools else _pools()).limit(limits=threads)
    _be_deterministic()


def set_up_thread() -> None:
    """Make a further thread of this process use the threads that ``set_up_torch`` has set."""
    import torch

    # OpenMP and MKL keep their numbers for each thread. Torch hands its own on as soon as it is asked for it; until
    # then, matrix products of a fresh thread take all processors.
    torch.get_num_threads()


@contextmanager
def reproducible() -> Iterator[None]:
    """Inside of it torch computes as in a run, at the threads that it has; afterwards its settings are as before."""
    import torch

    cudnn, matmul, memory = torch.backends.cudnn, torch.backends.cuda.matmul, torch.utils.deterministic
    checks = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    kept = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        _be_deterministic()
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(checks[0], warn_only=checks[1])
            cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory = kept  # type: ignore[attr-defined]


def _be_deterministic() -> None:
    import torch

    # A fixed workspace is what makes cuBLAS deterministic; read when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # A warning, in the log, where torch has no deterministic algorithm: the method is to say so, not to fail.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # On by default in that mode; no code here reads memory that it has not written, and filling it takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Else convolutions pick their algorithm by timing, which is never the same twice.
    torch.backends.cudnn.benchmark = False
    # float32 means float32, so that devices agree to 1e-4.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # torch 2.11 says so although each matrix is made with the checks turned off
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")


def software_bfloat16() -> bool:
    """Whether this processor computes bfloat16 products in software: x86 without AVX-512, by what torch says of it.

    Float32 is then far faster: of a linear layer of psi (5280 patches, 576 to 3456 channels, torch 2.14, AVX2) a
    product took 4 to 6 times as long in bfloat16, the one for the input's gradient 30 times. Imports torch.
    """
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return platform.machine() in ("x86_64", "AMD64") and not capability.startswith(("AVX512", "AMX"))


def require_crf(views: Iterable[View]) -> None:
    """Refuse views with a CRF where the package that computes it is not installed or cannot be loaded.

    Raises:
        ConfigError: says what to install.
    """
    if all(view.crf is None for view in views):
        return
    try:  # by importing it: installed for another numpy, it fails only then
        importlib.import_module("pydensecrf.densecrf")
    except ImportError as error:
        raise ConfigError(
            f"a protocol asks for a CRF, but pydensecrf2 is not installed ({error}); "
            'install the extra crf: pip install "spectral-segmentation-bench[crf]"'
        ) from error
