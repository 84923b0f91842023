"""A paper against a store: is every number in it still what the store says?"""

from spectral_bench.reports.paper.check import Checked, Checker, Finding, State
from spectral_bench.reports.paper.reading import Paper, read_paper

__all__ = ["Checked", "Checker", "Finding", "Paper", "State", "read_paper"]
