"""Operators whose eigenfunctions SpIN can learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from spectral_bench.methods.graphs.kernel import Kernel

Functions = Callable[[Tensor], Tensor]


class Operator(Protocol):
    """A self-adjoint linear operator K on functions.

    Whoever implements it says whether the largest eigenvalues are wanted (``maximise``, a kernel) or the smallest (a
    Laplacian, a Hamiltonian), and may differentiate the functions by their arguments.
    """

    @property
    def maximise(self) -> bool:
        """Whether the principal eigenfunctions are those of the largest eigenvalues."""
        ...

    def apply(self, u: Functions, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values and image of n functions at N points.

        Args:
            u: (N, d) points to (N, n) values.
            x: (N, d).

        Returns:
            u(x), (N, n), with its gradient, and (K u)(x), (N, n), without.
        """
        ...


@dataclass(frozen=True)
class KernelOperator:
    """The kernel of a batch of patches; the points are its nodes, in their order.

    Attributes:
        kernel: over N nodes.
    """

    kernel: Kernel

    @property
    def maximise(self) -> bool:
        """A kernel's principal eigenfunctions are those of its largest eigenvalues."""
        return True

    def apply(self, u: Functions, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values u(x), (N, n) float32 or float64, and their product with the kernel."""
        values = u(x)
        return values, self.kernel.apply(values.detach())
