"""The harness: command line, grids, one run's life, executors, evaluation and measurement."""
