"""The embedded data set: generated images whose classes differ in texture and place, not in mean colour."""

from datasets.synthetic.dataset import Synthetic

__all__ = ["Synthetic"]
