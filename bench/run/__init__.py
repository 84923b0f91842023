"""One run's life: features, fit, evaluations, record."""

from spectral_bench.bench.run.execute import Outcome, execute
from spectral_bench.bench.run.fit import load_fit

__all__ = ["Outcome", "execute", "load_fit"]
