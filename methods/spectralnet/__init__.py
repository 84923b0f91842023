"""SpectralNet: functions of least Rayleigh quotient of a Laplacian by a network, and clusters by k-means on them."""
