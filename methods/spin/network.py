"""The network whose outputs become eigenfunctions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spectral_bench.methods.orthogonal import orthogonal_start

ACTIVATIONS = {"gelu": nn.GELU, "tanh": nn.Tanh, "softplus": nn.Softplus}


class FunctionNetwork(nn.Module):
    """Standardised features through an MLP to n functions, each patch by itself.

    Args:
        channels: of a feature.
        hidden: widths of the hidden layers.
        functions: n.
        activation: ``gelu``, ``tanh`` or ``softplus``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, hidden: Sequence[int], functions: int, activation: str = "gelu") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for size in hidden:
            layers += [nn.Linear(width, size), ACTIVATIONS[activation]()]
            width = size
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(width, functions)
        self.head.weight = nn.Parameter(orthogonal_start(functions, width))  # as different as functions can be
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(..., C) to (..., n). Under autocast the hidden layers compute in half precision, the head in float32."""
        hidden = self.hidden((features - self.mean) * self.scale)
        with torch.autocast(hidden.device.type, enabled=False):
            out: Tensor = self.head(hidden.to(self.head.weight.dtype))
        return out
