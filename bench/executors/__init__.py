"""How runs are executed: in this process, in processes of this machine, by Slurm. All share one small interface."""

from spectral_bench.bench.executors.inline import InlineExecutor
from spectral_bench.bench.executors.interface import Event, Executor, Exit, Job
from spectral_bench.bench.executors.local import LocalExecutor

__all__ = ["Event", "Executor", "Exit", "InlineExecutor", "Job", "LocalExecutor"]
