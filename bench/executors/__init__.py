"""How runs are executed: in this process, in processes of this machine, or (``slurm``) as jobs of a cluster.

All executors share one small interface. ``schedule`` says which job may begin, ``exits`` how one really ended.
"""

from spectral_bench.bench.executors.interface import Event, Executor, Exit, Job
from spectral_bench.bench.executors.local import InlineExecutor, LocalExecutor

__all__ = ["Event", "Executor", "Exit", "InlineExecutor", "Job", "LocalExecutor"]
