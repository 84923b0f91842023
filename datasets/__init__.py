"""Images and labels of each data set. Images and labels are reached through separate loaders.

>>> from datasets import DataRoots, open_data
>>> data = open_data("synthetic", DataRoots())
>>> images = data.images("val")
>>> images.image(images.ids[0]).shape
(192, 256, 3)
"""

from datasets.digests import label_files
from datasets.interface import ClassSet, DataInfo, DataRoots, DataSet, ImageLoader, LabelLoader
from datasets.registry import data_info, names, open_data
from datasets.sound import count_warning, require_sound
from datasets.subset import ranked, subset

__all__ = [
    "ClassSet",
    "DataInfo",
    "DataRoots",
    "DataSet",
    "ImageLoader",
    "LabelLoader",
    "count_warning",
    "data_info",
    "label_files",
    "names",
    "open_data",
    "ranked",
    "require_sound",
    "subset",
]
