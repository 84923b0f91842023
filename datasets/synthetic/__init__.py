"""The embedded data set: generated images whose classes differ in texture and place, not in mean colour."""

from spectral_bench.datasets.synthetic.dataset import Synthetic

__all__ = ["Synthetic"]
