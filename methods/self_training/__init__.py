"""Self-training on the clusters of a stored fit."""
