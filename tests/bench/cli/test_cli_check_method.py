from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_lab import Bench

from spectral_bench.bench.cli.parameters import plain_parameters
from spectral_bench.common.errors import ConfigError

BROKEN = '''
"""A method whose predictions never change."""
import torch
from spectral_bench.methods.params import Params
from pydantic import Field


class Mine(Params):
    k: int = Field(4, ge=2, description="clusters")


class Constant:
    """Everything is cluster 0."""
    Params, uses_labels, fit_from = Mine, False, None

    def __init__(self, params):
        self.n_clusters = params.k

    def fit(self, patches, *, context):
        return self

    def predict(self, batch):
        scores = torch.zeros(len(batch), self.n_clusters + 1, *batch.grid)
        return scores

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
'''


@pytest.mark.slow
def test_a_method_that_ships_keeps_every_promise(bench: Bench) -> None:
    result = bench("check-method", "kmeans", "--set", "k=4")
    assert result.code == 0, result.out
    assert "bad" not in result.out
    assert "firewall" in result.out
    kept, checked = re.findall(r"kmeans: (\d+) of (\d+) promises kept", result.out)[0]
    assert kept == checked
    assert int(kept) >= 12


@pytest.mark.slow
def test_a_broken_method_is_told_what_it_breaks(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    result = bench("check-method", "mine.py:Constant", "--json")
    found = json.loads(result.out)
    assert result.code == 1
    assert found["prediction"]
    assert found["facts"] is None


def test_the_contract_is_asked_of_the_device_that_was_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, set_up = [], []
    monkeypatch.setattr("spectral_bench.bench.run.context.torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("spectral_bench.bench.cli.check.set_up_torch", set_up.append)
    monkeypatch.setattr(
        "spectral_bench.methods.contract.violations", lambda subject: asked.append(subject.device) or {}
    )
    monkeypatch.setattr("spectral_bench.bench.run.firewall.disk_violations", lambda *_: {})
    for options, place in (((), "cpu"), (("--device", "cuda:1"), "cuda:1")):
        result = bench("check-method", "kmeans", "--set", "k=4", *options)
        assert result.code == 0
        assert f"promises kept on {place}" in result.out
    assert asked == ["cpu", "cuda:1"]
    assert len(set_up) == 1, "what makes CUDA deterministic"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["kmaens"], 'unknown method "kmaens"; did you mean "kmeans"?'),
        (["gone.py:X"], "no such file gone.py"),
        (["kmeans", "--set", "kk=4"], 'unknown parameter of kmeans "kk"'),
        (["kmeans", "--set", "k"], "--set k: expected KEY=VALUE, such as --set k=64"),
        (["kmeans", "--device", "gpu"], '--device: unknown device "gpu"; valid: auto, cpu, cuda, cuda:N'),
        (["kmeans", "--set", "k=4", "--set", "k=5"], "--set k=5: k is set twice"),
    ],
)
def test_bad_input(bench: Bench, arguments: list[str], says: str) -> None:
    result = bench("check-method", *arguments)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 1
    assert says in result.err


def test_parameters_are_yaml() -> None:
    assert plain_parameters(["k=4", "input=last", "lr=1e-3"]) == {"k": 4, "input": "last", "lr": 0.001}
    with pytest.raises(ConfigError):
        plain_parameters(["k"])
