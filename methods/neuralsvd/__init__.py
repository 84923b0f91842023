"""NeuralSVD: ordered eigenfunctions of a kernel by nested low-rank approximation, and clusters by k-means on them."""
