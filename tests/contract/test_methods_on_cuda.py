"""Every method that ships keeps the contract on a CUDA device, and predicts there what it predicts on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_methods import SMALL

from spectral_bench.methods.contract import CHECKS, Subject
from spectral_bench.methods.labels import predict_scores
from spectral_bench.methods.registry import METHODS
from spectral_bench.methods.testing import build, scenes

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("as_in_a_worker")]
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("name", METHODS)
def test_contract(name: str, check: Callable[[Subject], None]) -> None:
    check(Subject(name, SMALL[name], "cuda"))


@pytest.mark.parametrize("name", METHODS)
def test_a_fit_made_on_the_device_predicts_the_same_on_the_cpu(name: str) -> None:
    subject, batch = Subject(name, SMALL[name], "cuda"), scenes()[0].batch(range(8))
    method = subject.fit()
    moved = build(name, SMALL[name])
    moved.load_state_dict({key: value.cpu() for key, value in method.state_dict().items()})
    there, here = subject.predict(method, batch), predict_scores(moved, batch, subject.labels)
    assert there.device.type == "cuda"
    assert here.device.type == "cpu"
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["neuralef", "neuralef_kmeans", "spin", "neuralsvd", "spectralnet"])
def test_networks_repeat_exactly_in_both_precisions(name: str, precision: str) -> None:
    states = [Subject(name, SMALL[name], "cuda").fit(precision=precision).state_dict() for _ in range(2)]
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
