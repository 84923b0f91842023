"""Graphs over patches: affinities of features and of pixels, and the kernels made of them."""
