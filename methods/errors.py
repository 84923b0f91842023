"""Errors of numerics: a method that meets one has failed, and its run is recorded so."""

from __future__ import annotations


class NumericalError(Exception):
    """A computation met NaN, an infinite value or a degenerate input, or did not converge; the message says where."""
