from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spectral_bench.bench.run.fit import RunCheckpoint
from spectral_bench.common.errors import StoreError


def test_the_log_says_where_a_fit_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "checkpoint.pt"
    RunCheckpoint(path, 0.0, "a").load()
    assert caplog.messages == []
    for state, said in (({"done": 120}, "resumed at step 120"), ({"mine": 1}, "resumed from the checkpoint")):
        RunCheckpoint(path, 0.0, "a").save(state)
        RunCheckpoint(path, 0.0, "a").load()
        assert caplog.messages[-1] == said


def test_the_last_saved_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert RunCheckpoint(path, 0.0, "a").load() is None
    for done in (1, 2):
        RunCheckpoint(path, 0.0, "a").save({"done": done, "weights": torch.ones(3)})
    state = RunCheckpoint(path, 0.0, "a").load()
    assert state is not None
    assert state["done"] == 2
    assert torch.equal(state["weights"], torch.ones(3))


def test_a_large_state_is_mapped_and_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    status = Path("/proc/self/status")
    if not status.exists() or "RssAnon" not in status.read_text():
        pytest.skip("the system does not tell memory of a process from files that it has mapped")

    def own() -> int:
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) * 1024

    path = tmp_path / "checkpoint.pt"
    RunCheckpoint(path, 0.0).save({"weights": torch.arange(2**24)})
    before = own()
    state = RunCheckpoint(path, 0.0).load()
    assert state is not None
    assert int(state["weights"].sum()) == 2**23 * (2**24 - 1)
    assert own() - before < 2**26  # of 2**27 bytes


def test_a_state_goes_on_to_be_read_when_the_next_has_replaced_it(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint = RunCheckpoint(path, 0.0)
    checkpoint.save({"weights": torch.arange(1000)})
    state = checkpoint.load()
    assert state is not None
    checkpoint.save({"weights": torch.zeros(10)})
    assert torch.equal(state["weights"], torch.arange(1000))


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


def test_fit_that_other_code_ends_is_told_as_it_was_begun(tmp_path: Path) -> None:
    begun = RunCheckpoint(tmp_path / "checkpoint.pt", 0.0, "data", {"spectral_bench.methods.kmeans": "old"})
    begun.save({"step": 1})
    resumed = RunCheckpoint(tmp_path / "checkpoint.pt", 0.0, "data", {"spectral_bench.methods.kmeans": "new"})
    assert resumed.code == {"spectral_bench.methods.kmeans": "new"}
    assert resumed.load() == {"step": 1}
    assert resumed.code == {"spectral_bench.methods.kmeans": "old"}
