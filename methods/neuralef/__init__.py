"""NeuralEF: spectral clustering as a network trained to approximate eigenfunctions of a patch kernel."""
