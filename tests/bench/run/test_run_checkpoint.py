from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.run.checkpoint import RunCheckpoint
from common.errors import StoreError


def test_the_last_saved_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert RunCheckpoint(path, 0.0, "a").load() is None
    for done in (1, 2):
        RunCheckpoint(path, 0.0, "a").save({"done": done, "weights": torch.ones(3)})
    state = RunCheckpoint(path, 0.0, "a").load()
    assert state is not None
    assert state["done"] == 2
    assert torch.equal(state["weights"], torch.ones(3))


def test_a_state_of_other_data_is_not_gone_on_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "checkpoint.pt"
    RunCheckpoint(path, 0.0, "images labels").save({"done": 1})
    assert RunCheckpoint(path, 0.0, "images other-labels").load() is None
    assert "other images or labels" in caplog.text


def test_a_torn_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    RunCheckpoint(path, 0.0).save({"done": 1})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"checkpoint\.pt: the checkpoint cannot be read"):
        RunCheckpoint(path, 0.0).load()
