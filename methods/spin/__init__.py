"""SpIN: ordered eigenfunctions of an operator by a network, and clusters of patches by k-means on them."""
