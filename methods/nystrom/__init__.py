"""Spectral clustering of patches sampled from the whole data set, and its extension to all other patches."""
