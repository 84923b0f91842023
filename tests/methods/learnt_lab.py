"""What tests of methods that learn eigenfunctions share: small parameters, a fit of them, and its functions."""

from typing import Any, TypeVar

from torch import Tensor

from spectral_bench.methods.interface import Spectral
from spectral_bench.methods.testing import MemorySource, fit

M = TypeVar("M")

SMALL: dict[str, Any] = {"k": 4, "functions": 3, "neighbours": 12, "epochs": 4, "batch_size": 4, "width": 8}


def fitted_as(kind: type[M], name: str, source: MemorySource, **params: Any) -> M:
    """A fit by name with the small parameters, others as given, which is of this class."""
    method = fit(name, {**SMALL, **params}, source)
    assert isinstance(method, kind)
    return method


def functions_of(method: Spectral, source: MemorySource) -> Tensor:
    """(N, n) values of the eigenfunctions at all patches of a source."""
    return method.eigenfunctions(source.batch(range(len(source)))).permute(0, 2, 3, 1).flatten(0, 2)
