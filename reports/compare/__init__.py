"""Two sets of results side by side: which cells changed, by how much, and whether that can be told from noise."""

from spectral_bench.reports.compare.cells import Comparison, Difference, Pair, compare_entries

__all__ = ["Comparison", "Difference", "Pair", "compare_entries"]
