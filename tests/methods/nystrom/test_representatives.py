"""The search by representatives: what it finds, how much it looks at, and whom it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.nystrom.extension import SampledGraph
from spectral_bench.methods.nystrom.method import Nystrom
from spectral_bench.methods.nystrom.params import CANDIDATES, REPRESENTATIVES
from spectral_bench.methods.nystrom.representatives import Representatives
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.testing import fit, same_state, scenes

SMALL: dict[str, Any] = {"k": 5, "samples": 200, "neighbours": 10, "extension": "representatives"}


def rows(count: int, seed: int, width: int = 6) -> Tensor:
    return functional.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def literal(found: Representatives, features: Tensor, sample: Tensor, count: int) -> Tensor:
    """Patch by patch, in float64."""
    answers = []
    for patch in features.double():
        around = found.candidates[(found.directions.double() @ patch).argmax()]
        similar = sample[around].double() @ patch
        answers.append(around[torch.argsort(similar, descending=True, stable=True)[:count]])
    return torch.stack(answers)


@pytest.mark.parametrize("count", [1, 3])
def test_the_search_is_literal(count: int) -> None:
    sample, patches = rows(120, 0), rows(75, 1)
    found = Representatives.of(sample, 9, 20, SeedStreams(0))
    assert found.candidates.shape == (9, 20)
    expected = literal(found, patches, sample, count)
    assert torch.equal(found.most_similar(patches, sample, count).sort(1).values, expected.sort(1).values)


def test_candidates_are_the_most_similar_of_the_sample() -> None:
    sample = rows(120, 0)
    found = Representatives.of(sample, 9, 20, SeedStreams(0))
    expected = (found.directions @ sample.T).topk(20, 1).indices.sort(1).values
    assert torch.equal(found.candidates, expected)
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(9))


def test_all_candidates_give_the_nearest_patch() -> None:
    sample, patches = rows(120, 0), rows(300, 1)
    vectors = torch.randn(120, 3, generator=torch.Generator().manual_seed(2))
    graph = SampledGraph(sample, vectors, torch.ones(3), torch.ones(120), torch.ones(120))
    found = Representatives.of(sample, 9, 10_000, SeedStreams(0))
    assert torch.equal(graph.nearest_found(patches, 1, found), graph.nearest(patches, 1))


def test_of_equally_similar_patches_the_first_of_the_sample_counts() -> None:
    sample = rows(40, 0)
    sample[[7, 30]] = sample[3].clone()
    found = Representatives.of(sample, 4, 40, SeedStreams(0))
    assert found.most_similar(sample[[30, 3]], sample, 1).flatten().tolist() == [3, 3]


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    sample = rows(200, 0)
    one, again, other = (Representatives.of(sample, 9, 20, SeedStreams(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.directions, again.directions)
    assert torch.equal(one.candidates, again.candidates)
    assert not torch.equal(one.directions, other.directions)


@pytest.mark.parametrize("patches", [0, 1])
def test_few_patches_and_representatives_without_any_are_no_trouble(patches: int) -> None:
    sample = rows(5, 0)
    found = Representatives.of(sample, 64, 512, SeedStreams(0))
    assert found.candidates.tolist() == [[0, 1, 2, 3, 4]] * 5
    assert found.most_similar(rows(patches, 1), sample, 9).shape == (patches, 5)


def test_a_patch_is_compared_with_representatives_and_candidates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of its speed: how many similarities are looked at, whatever the machine."""
    from spectral_bench.methods.nystrom import representatives as module

    looked: list[int] = []
    before = module.most_similar

    def counting(block: Tensor, count: int) -> Tensor:
        looked.append(block.numel())
        return before(block, count)

    sample, patches = rows(4000, 0), rows(1000, 1)
    found = Representatives.of(sample, REPRESENTATIVES, CANDIDATES, SeedStreams(0))
    monkeypatch.setattr(module, "most_similar", counting)
    found.most_similar(patches, sample, 1)
    assert sum(looked) == 1000 * (REPRESENTATIVES + CANDIDATES) < 1000 * 4000 / 6


def test_the_fit_and_its_centres_are_those_of_nearest() -> None:
    source, _ = scenes(8, (6, 7), noise=0.4)
    exact = fit("nystrom", {**SMALL, "extension": "nearest"}, source)
    method = fit("nystrom", {**SMALL, "representatives": 6, "candidates": 60}, source)
    assert isinstance(method, Nystrom)
    state = method.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in exact.state_dict().items())
    assert state.keys() - exact.state_dict().keys() == {"representatives", "candidates"}
    every = fit("nystrom", {**SMALL, "candidates": 200}, source)
    batch = source.batch(range(8))
    assert torch.equal(every.predict(batch), exact.predict(batch))
    assert not same_state(every, exact)


def test_its_numbers_are_part_of_the_identity_of_its_own_runs_alone() -> None:
    names = {"representatives", "candidates"}
    assert not names & complete_params("nystrom", {}).keys()
    own = complete_params("nystrom", {"extension": "representatives"})
    assert (own["representatives"], own["candidates"]) == (REPRESENTATIVES, CANDIDATES)
    assert complete_params("nystrom", own) == own
