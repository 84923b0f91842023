"""Figures: matplotlib in seaborn's look, vector and bitmap, colour-blind safe, legible in one column of a paper."""
