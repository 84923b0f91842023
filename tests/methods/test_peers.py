"""The peers of examples/peers: one line where their package is missing, the contract where it is there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.contract import CHECKS, Subject
from spectral_bench.methods.testing import build, fit, scenes

NCUT = f"{Path(__file__).parents[2] / 'examples/peers/ncut_pytorch.py'}:NcutPytorch"
SMALL: dict[str, Any] = {"k": 4, "samples": 60, "scores": "distance"}

needs_ncut = pytest.mark.skipif(importlib.util.find_spec("ncut_pytorch") is None, reason="needs ncut-pytorch")


def test_a_missing_package_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ncut_pytorch" else find(name, *rest)
    )
    with pytest.raises(ConfigError, match=r"needs the package ncut-pytorch: pip install ncut-pytorch$"):
        build(NCUT, SMALL)


@needs_ncut
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("discretise", ["rotation", "kmeans"])
def test_ncut_pytorch_keeps_the_contract(check: str, discretise: str) -> None:
    CHECKS[check](Subject(NCUT, {**SMALL, "discretise": discretise}))


@needs_ncut
def test_ncut_pytorch_leaves_the_global_generators_as_they_were() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    fit(NCUT, SMALL, scenes(4)[0])
    assert torch.equal(torch.rand(3), before[0])
    assert np.array_equal(np.random.rand(3), before[1])  # noqa: NPY002
