import re

import pytest
import torch
from torch import Tensor

from spectral_bench.bench.features.backbones import Backbone
from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.common.errors import DataError


class Mirror(Backbone):
    """Gives back the mean of each patch of its normalised input as every level."""

    stride = 4
    channels = (3, 3, 3)
    mean = (0.5, 0.25, 0.75)
    std = (0.5, 0.25, 0.125)

    def __init__(self, native: tuple[int, int] | None = None) -> None:
        super().__init__("mirror", {})
        self.native = native
        self.inputs: list[Tensor] = []
        self.threads: list[int] = []

    def digest(self) -> str:
        return "none"

    def load(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def levels(self, network: torch.nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        self.inputs.append(inputs)
        self.threads.append(torch.get_num_threads())
        if inputs.isnan().any():
            raise ValueError("not a number")
        level = torch.nn.functional.avg_pool2d(inputs, 4).permute(0, 2, 3, 1)
        return level, level, level


class Echo(FrozenNetwork):
    """``Mirror``, ready to be looked into."""

    def __init__(self, native: tuple[int, int] | None = None) -> None:
        self.mirror = Mirror(native)
        super().__init__(self.mirror, self.mirror.load())
        self.inputs, self.threads = self.mirror.inputs, self.mirror.threads


@pytest.fixture
def threads():
    """Restores the number of threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_inputs_are_normalised_and_padded_at_the_right_and_at_the_bottom():
    backbone = Echo()
    image = torch.rand(1, 3, 5, 8)
    backbone.features(image)
    (seen,) = backbone.inputs
    assert seen.shape == (1, 3, 8, 8)
    torch.testing.assert_close(seen[:, 0, :5], (image[:, 0] - 0.5) / 0.5)
    torch.testing.assert_close(seen[:, 2, :5], (image[:, 2] - 0.75) / 0.125)
    assert (seen[:, :, 5:] == 0).all()


def test_native_inputs_are_resized_and_stay_colours():
    backbone = Echo(native=(8, 8))
    backbone.features((torch.rand(1, 3, 30, 20) > 0.5).float())
    (seen,) = backbone.inputs
    colours = seen * backbone.std + backbone.mean
    assert seen.shape == (1, 3, 8, 8)
    assert colours.min() > -1e-6
    assert colours.max() < 1 + 1e-6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_take_one_image_each_and_compute_alone(threads, count):
    threads(count)
    backbone = Echo()
    images = torch.rand(5, 3, 8, 8)
    levels = backbone.features(images)
    assert [len(inputs) for inputs in backbone.inputs] == [1] * 5
    assert set(backbone.threads) == {1}
    assert torch.get_num_threads() == count
    for number in range(5):
        assert torch.equal(levels[0][number], Echo().features(images[number : number + 1])[0][0])


def test_the_number_of_threads_survives_an_error(threads):
    threads(2)
    with pytest.raises(ValueError, match="not a number"):
        Echo().features(torch.full((2, 3, 8, 8), torch.nan))
    assert torch.get_num_threads() == 2


def test_features_can_be_trained_on():
    """They carry no graph, yet may enter one."""
    level = Echo().features(torch.rand(2, 3, 8, 8))[0]
    weight = torch.ones(3, requires_grad=True)
    (level * weight).sum().backward()
    torch.testing.assert_close(weight.grad, level.sum((0, 1, 2)))


def test_fill_is_the_colour_that_becomes_zero():
    assert Echo().fill == (128, 64, 191)


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        (lambda level: (level, level), "[(1, 2, 2, 3), (1, 2, 2, 3)]"),
        (lambda level: (level, level, level[..., :2]), "(1, 2, 2, 2)]"),
        (lambda level: (level.permute(0, 3, 1, 2), level, level), "[(1, 3, 2, 2), "),
    ],
)
def test_levels_of_other_shapes_than_stated_are_refused(monkeypatch, levels, found):
    level = torch.zeros(1, 2, 2, 3)
    monkeypatch.setattr(Mirror, "levels", lambda self, network, inputs: levels(level))
    with pytest.raises(DataError, match=re.escape(found) + r".*, expected \[\(1, 2, 2, 3\), "):
        Echo().features(torch.rand(1, 3, 8, 8))
