from __future__ import annotations

import dataclasses

import pytest

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.graphs.options import GraphOptions


def test_defaults_are_those_of_the_paper() -> None:
    options = GraphOptions()
    assert (options.kind, options.pixel_near, options.pixel_far) == ("knn", 10, 5)
    assert (options.near_weight, options.far_weight) == (2.0, 0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.kind = "full"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "mutuall"}, 'unknown kind of graph "mutuall"; did you mean "mutual"?'),
        ({"epsilon": 0.0}, "epsilon = 0.0: expected a cosine similarity"),
        ({"epsilon": 1.5}, "epsilon = 1.5"),
        ({"epsilon": float("nan")}, "epsilon = nan"),
        ({"pixel_near": -1}, "pixel_near = -1: expected 0 or more"),
        ({"pixel_far": -2}, "pixel_far = -2"),
        ({"near_weight": -0.1}, "near_weight = -0.1: expected a finite factor"),
        ({"far_weight": float("inf")}, "far_weight = inf"),
    ],
)
def test_bad_options_are_refused_by_name(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        GraphOptions(**changes)  # type: ignore[arg-type]
