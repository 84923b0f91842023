"""The harness: command line, grids, one run's life, executors, evaluation and measurement."""

from spectral_bench.common.loaded import watch

watch()  # before anything else is imported: records tell the code that was loaded
