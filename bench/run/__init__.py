"""One run's life: features, fit, evaluations, record."""

from bench.run.execute import Outcome, execute
from bench.run.stored import load_fit

__all__ = ["Outcome", "execute", "load_fit"]
