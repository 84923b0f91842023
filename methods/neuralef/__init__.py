"""NeuralEF: spectral clustering by a network trained to approximate eigenfunctions (Deng and Luo, ICCV 2023)."""
