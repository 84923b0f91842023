"""The helpers for tests keep the promises of the interfaces that they stand for."""

from typing import Any

import pytest
import torch

from spectral_bench.methods.interface import FitContext, PatchSource
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemorySource,
    Recorder,
    fit,
    fit_context,
    scenes,
    stop_after,
)


def test_a_memory_source_is_a_patch_source() -> None:
    source: PatchSource = scenes(7, (3, 4))[0]
    assert (len(source), source.n_patches, source.channels) == (7, 84, (4, 6, 8))
    assert source.n_batches(3) == 2
    assert len(list(source.images())) == 7


def test_batches_are_shuffled_repeatable_and_can_start_anywhere() -> None:
    source = scenes(7)[0]
    first = [batch.image_ids for batch in source.batches(0, 3)]
    assert first == [batch.image_ids for batch in source.batches(0, 3)]
    assert first != [batch.image_ids for batch in source.batches(1, 3)]
    assert [batch.image_ids for batch in source.batches(0, 3, 1)] == first[1:]
    assert len({name for names in first for name in names}) == 6


def test_a_subsample_says_where_its_patches_are() -> None:
    source = scenes(5, (4, 6))[0]
    sample = source.subsample(50)
    assert len(sample.pixels) == 50
    for level, drawn in zip(source.features, sample.features, strict=True):
        row, column = sample.position.T
        assert torch.equal(level[sample.image_index, row, column], drawn)
    assert len(source.subsample(10**6).pixels) == source.n_patches


def test_statistics_are_those_of_all_patches() -> None:
    source = scenes()[0]
    statistics = source.statistics()
    for level, mean, std in zip(source.features, statistics.mean, statistics.std, strict=True):
        torch.testing.assert_close(mean, level.flatten(0, 2).mean(0))
        torch.testing.assert_close(std, level.flatten(0, 2).std(0, correction=0))


def test_scenes_have_groups_that_features_tell_apart() -> None:
    source, truth = scenes(10, groups=4, noise=0.0)
    for level in source.features:
        assert len(level.flatten(0, 2).unique(dim=0)) == len(truth.unique()) == 4
    assert source.pixels.min() >= 0
    assert source.pixels.max() <= 1


def test_pixels_are_grey_unless_given() -> None:
    source = MemorySource([torch.zeros(2, 3, 4, 5)])
    assert (source.pixels == 0.5).all()


def test_a_checkpoint_keeps_a_copy() -> None:
    checkpoint = MemoryCheckpoint(every=2)
    assert checkpoint.load() is None
    assert [checkpoint.due() for _ in range(4)] == [False, True, False, True]
    tensor = torch.zeros(3)
    checkpoint.save({"tensor": tensor, "done": 4})
    tensor += 1
    loaded = checkpoint.load()
    assert loaded is not None
    assert torch.equal(loaded["tensor"], torch.zeros(3))
    assert (loaded["done"], checkpoint.saves) == (4, 1)


def test_a_stop_signal_comes_at_its_question() -> None:
    signal = stop_after(2)
    assert [signal() for _ in range(4)] == [False, False, True, True]


def test_a_context_records() -> None:
    recorder = Recorder()
    context = fit_context(3, recorder=recorder)
    context.progress(1, 2)
    context.log(5, {"loss": 0.5})
    with context.stage("graph"):
        assert recorder.stages == ["graph"]
    assert (recorder.progress, recorder.curve) == ([(1, 2)], [(5, {"loss": 0.5})])
    assert context.seeds.seed == 3
    assert not context.should_stop()


def test_the_fit_that_another_starts_from_is_made_where_and_as_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def noted(seed: int = 0, **settings: Any) -> FitContext:
        made.append((str(settings.get("device", "cpu")), settings.get("precision", "float32")))
        return fit_context(seed, **settings)

    monkeypatch.setattr("spectral_bench.methods.testing.fit_context", noted)
    params = {"k": 4, "neighbours": 9, "steps": 1, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 4}
    fit("neuralef_kmeans", {**params, "mlp_width": 8}, scenes()[0], device="cpu:0", precision="bfloat16")
    assert made == [("cpu:0", "bfloat16")] * 2
