"""The network psi against a literal implementation, its symmetries, and its orthogonal head."""

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spectral_bench.methods.neuralef.psi import Block, LinearAttention, OrthogonalHead, Psi
from spectral_bench.methods.testing import scenes


def small(channels: tuple[int, ...] = (4, 6, 8), outputs: int = 5, depth: int = 2, seed: int = 0) -> Psi:
    torch.manual_seed(seed)
    return Psi(channels, outputs, depth=depth, heads=3, head_width=4, mlp_width=10)


def levels(images: int = 2, grid: tuple[int, int] = (3, 5), seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(images, *grid, channels, generator=generator) for channels in (4, 6, 8))


def literal_attention(layer: LinearAttention, tokens: Tensor) -> Tensor:
    """Head by head and image by image, as the definition reads."""
    out = torch.zeros(*tokens.shape[:2], layer.heads * layer.width, dtype=tokens.dtype)
    weights = layer.qkv.weight.view(3, layer.heads, layer.width, -1)
    for image, x in enumerate(tokens):
        for head in range(layer.heads):
            q, k, v = (x @ weights[part, head].T for part in range(3))
            q = torch.softmax(q, dim=1) * layer.width**-0.5
            k = torch.softmax(k, dim=0)
            out[image, :, head * layer.width : (head + 1) * layer.width] = q @ (k.T @ v)
    result: Tensor = layer.out(out)
    return result


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 3), count=st.integers(1, 9))
def test_attention_follows_its_definition(seed: int, images: int, count: int) -> None:
    torch.manual_seed(seed)
    layer = LinearAttention(7, heads=2, width=5).double()
    tokens = torch.randn(images, count, 7, dtype=torch.float64) * 2
    torch.testing.assert_close(layer(tokens), literal_attention(layer, tokens))


def test_the_inner_width_does_not_depend_on_the_channels() -> None:
    for channels in (7, 64):
        layer = LinearAttention(channels, heads=18, width=64)
        assert layer.qkv.weight.shape == (3 * 1152, channels)
        assert layer.out.weight.shape == (channels, 1152)


def test_a_block_is_pre_norm_with_two_residuals() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 4, 16).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    y = x + block.attention(nn.functional.layer_norm(x, (8,)))
    hidden = nn.functional.gelu(nn.functional.layer_norm(y, (8,)) @ block.mlp[0].weight.T + block.mlp[0].bias)
    torch.testing.assert_close(block(x), y + hidden @ block.mlp[2].weight.T + block.mlp[2].bias)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_tokens_does_not_matter(seed: int) -> None:
    psi, features = small().double(), tuple(level.double() for level in levels(seed=seed))
    order = torch.randperm(15, generator=torch.Generator().manual_seed(seed))
    shuffled = tuple(level.flatten(1, 2)[:, order].view_as(level) for level in features)
    torch.testing.assert_close(psi(shuffled), psi(features)[:, order])


def test_images_do_not_see_each_other() -> None:
    psi, features = small(), levels(3)
    alone = torch.cat([psi(tuple(level[index : index + 1] for level in features)) for index in range(3)])
    torch.testing.assert_close(psi(features), alone, rtol=1e-5, atol=1e-6)


def test_outputs_are_head_of_norm_of_hidden() -> None:
    psi, features = small(), levels()
    hidden = psi.hidden(features)
    assert hidden.shape == (2, 15, 18)
    torch.testing.assert_close(psi(features), psi.norm(hidden) @ psi.head.weight().T)


def test_without_blocks_psi_is_a_head() -> None:
    psi, features = small(depth=0), levels()
    tokens = torch.cat([level.flatten(1, 2) for level in features], -1)
    assert torch.equal(psi.hidden(features), tokens)


def test_inputs_are_standardised_with_training_statistics() -> None:
    source, _ = scenes()
    source.features[0][..., 2] = 0.25
    psi = small(depth=0)
    psi.standardise(source.statistics())
    hidden = psi.hidden(source.features).flatten(0, 1)
    torch.testing.assert_close(hidden.mean(0), torch.zeros(18), atol=1e-4, rtol=0)
    deviation = torch.ones(18)
    deviation[2] = 0
    torch.testing.assert_close(hidden.std(0, correction=0), deviation, atol=1e-4, rtol=0)
    assert {"mean", "scale"} <= psi.state_dict().keys()


class Made(TorchDispatchMode):
    """Counts the operations, by name, whose result takes memory of its own for as many numbers or more."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers, self.found = numbers, Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        held = {
            one.untyped_storage().data_ptr() for one in (*args, *(kwargs or {}).values()) if isinstance(one, Tensor)
        }
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() >= self.numbers:
            self.found[str(function)] += result.untyped_storage().data_ptr() not in held
        return result


def test_levels_are_standardised_at_their_place() -> None:
    psi, features = small(), levels()
    psi.mean.copy_(torch.randn(18))
    psi.scale.copy_(torch.rand(18))
    plainly = (torch.cat([level.flatten(1, 2) for level in features], -1) - psi.mean) * psi.scale
    with Made(2 * 15 * 18) as made:
        tokens = psi.tokens(features)
    assert made.found.total() == 1
    assert torch.equal(tokens, plainly)


def test_features_of_other_channels_are_refused() -> None:
    psi, features = small(), levels()
    for others in (features[:-1], (*features, features[0])):
        with pytest.raises(RuntimeError):
            psi.tokens(others)


def test_without_gradients_sums_take_no_memory_and_are_the_same() -> None:
    block, tokens = Block(18, 2, 4, 16), torch.randn(2, 15, 18)
    before, learning = tokens.clone(), block(tokens)
    with torch.no_grad(), Made(tokens.numel()) as made:
        found = block(tokens)
    assert made.found["aten.add_.Tensor"] == made.found["aten.add.Tensor"] == 0
    assert torch.equal(found, learning)
    assert torch.equal(tokens, before)


def test_half_precision_stops_before_norm_and_head() -> None:
    psi, features = small(), levels()
    full = psi(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = psi(features)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.1)
    assert not torch.equal(half, half.bfloat16().float())


@pytest.mark.parametrize(("outputs", "channels"), [(1, 8), (5, 8), (8, 8), (13, 8), (64, 20)])
def test_rows_are_orthonormal_or_else_columns(outputs: int, channels: int) -> None:
    head = OrthogonalHead(channels, outputs)
    with torch.no_grad():
        head.free.add_(torch.randn(outputs, channels))
    weight = head.weight()
    assert weight.shape == (outputs, channels)
    gram = weight @ weight.T if outputs <= channels else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(min(outputs, channels)), atol=1e-5, rtol=0)


def test_setting_the_free_matrix_sets_the_weight() -> None:
    head = OrthogonalHead(9, 4)
    wanted = torch.linalg.qr(torch.randn(9, 4, generator=torch.Generator().manual_seed(3)))[0].T
    with torch.no_grad():
        head.free.copy_(wanted)
        torch.testing.assert_close(head.weight(), wanted)
        head.free.copy_(3 * wanted)
        torch.testing.assert_close(head.weight(), wanted)


@pytest.mark.parametrize(("outputs", "channels"), [(3, 5), (5, 3)])
def test_the_gradient_of_the_weight_is_exact(outputs: int, channels: int) -> None:
    torch.manual_seed(0)
    head = OrthogonalHead(channels, outputs).double()
    tokens = torch.randn(4, channels, dtype=torch.float64)

    def function(free: Tensor) -> Tensor:
        return torch.func.functional_call(head, {"free": free}, (tokens,))

    assert torch.autograd.gradcheck(function, (head.free.detach().clone().requires_grad_(),))


def test_training_moves_the_head_along_orthogonal_matrices() -> None:
    torch.manual_seed(0)
    head = OrthogonalHead(12, 6)
    target = torch.linalg.qr(torch.randn(12, 6))[0].T
    optimiser = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        loss = (head.weight() - target).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 1e-2
    torch.testing.assert_close(head.weight() @ head.weight().T, torch.eye(6), atol=1e-5, rtol=0)


def test_the_weight_is_decomposed_once_a_training_step_and_kept_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, decompose = [], torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda *args: calls.append(1) or decompose(*args))
    psi, features = small(), levels()
    calls.clear()
    psi(features).sum().backward()
    assert len(calls) == 1
    with torch.no_grad():
        first = psi(features)
        psi(features)
        assert len(calls) == 2
        psi.head.free.mul_(-1)
        assert not torch.equal(psi(features), first)
    assert len(calls) == 3


@pytest.mark.parametrize("fused", [True, False])
def test_no_optimiser_leaves_an_old_weight(fused: bool) -> None:
    head = OrthogonalHead(6, 3)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1, fused=fused)
    for _ in range(2):
        loss = head.weight()[0].sum()
        with torch.no_grad():
            kept = head.weight()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            assert torch.equal(head.weight(), head._orthogonal())
            assert not torch.equal(head.weight(), kept)


def test_a_loaded_head_forgets_the_weight_that_it_kept() -> None:
    one, other = OrthogonalHead(6, 3), OrthogonalHead(6, 3)
    with torch.no_grad():
        kept = one.weight()
        one.load_state_dict(other.state_dict())
        assert torch.equal(one.weight(), other.weight())
        assert not torch.equal(one.weight(), kept)
