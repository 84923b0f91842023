"""Where networks start does not depend on how many threads compute it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from spectral_bench.methods.neuralef.psi import Psi
from spectral_bench.methods.orthogonal import orthogonal_start
from spectral_bench.methods.spin.network import FunctionNetwork


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("outputs", "channels"), [(256, 576), (64, 64), (40, 12)])
def test_rows_or_columns_are_orthonormal_to_float32(outputs: int, channels: int) -> None:
    start = orthogonal_start(outputs, channels)
    assert start.dtype == torch.float32
    short = (start if outputs <= channels else start.T).double()
    assert float((short @ short.T - torch.eye(len(short))).abs().max()) < 1e-6


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("seed", range(4))
def test_threads_do_not_show(seed: int) -> None:
    def start(threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        found = orthogonal_start(256, 576)
        assert torch.get_num_threads() == threads
        return found

    assert torch.equal(start(1), start(2))


def test_networks_start_from_it() -> None:
    for constrained in (True, False):
        torch.manual_seed(0)
        psi = Psi((8,), 4, depth=0, heads=1, head_width=1, mlp_width=1, constrained=constrained)
        torch.manual_seed(0)
        assert torch.equal(psi.head.free if constrained else psi.head.weight, orthogonal_start(4, 8))
    torch.manual_seed(0)
    head = FunctionNetwork(8, (), 4).head
    torch.manual_seed(0)
    torch.nn.Linear(8, 4)  # its bias, and a weight that is replaced
    assert torch.equal(head.weight, orthogonal_start(4, 8))


def test_a_network_on_the_meta_device_draws_nothing() -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        assert orthogonal_start(4, 8).is_meta
    assert torch.equal(before, torch.get_rng_state())
