"""Figures: seaborn on matplotlib, vector and bitmap, colour-blind safe, legible in one column of a paper."""
