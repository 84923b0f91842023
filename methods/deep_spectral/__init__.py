"""Deep Spectral: every image decomposed by itself, its segments clustered over the data set."""
