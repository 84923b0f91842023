"""How runs are executed: in this process, in processes of this machine, or (``slurm``) as jobs of a cluster.

All executors share one small interface. ``jobs`` says which job may begin next, and how one really ended.
"""

from spectral_bench.bench.executors.jobs import Event, Executor, Exit, Job
from spectral_bench.bench.executors.local import InlineExecutor, LocalExecutor

__all__ = ["Event", "Executor", "Exit", "InlineExecutor", "Job", "LocalExecutor"]
