"""From patch scores to contingency: resampling to the label's pixels, labels of a view, and counting."""
