"""The network psi: linear attention over the patches of an image, and a linear head that is, or starts, orthogonal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_bench.methods.inputs import standardisation
from spectral_bench.methods.interface import FitContext, Statistics
from spectral_bench.methods.orthogonal import orthogonal_start
from spectral_bench.methods.params import PsiSizes


class LinearAttention(nn.Module):
    """Self-attention whose cost is linear in the tokens (Shen et al., 2021), without positions and without mask.

    Queries are normalised by a softmax over features and scaled by width^-1/2, keys by a softmax over tokens; every
    query then reads one (width, width) summary of all tokens. Token order does not matter.

    Args:
        channels: of a token.
        heads: attention heads.
        width: channels a head, whatever ``channels`` is.
    """

    def __init__(self, channels: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.width = width
        self.qkv = nn.Linear(channels, 3 * heads * width, bias=False)
        self.out = nn.Linear(heads * width, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) tokens to (B, N, C)."""
        images, count, _ = tokens.shape
        qkv = self.qkv(tokens).view(images, count, 3, self.heads, self.width)
        queries, keys, values = qkv.transpose(1, 3).unbind(2)
        summary = keys.softmax(-2).transpose(-1, -2) @ values
        read = queries.softmax(-1) @ (summary * self.width**-0.5)
        read = read.transpose(1, 2).reshape(images, count, -1)
        out: Tensor = self.out(read)
        return out


class Block(nn.Module):
    """A pre-norm transformer block: x + attention(norm x), then x + MLP(norm x) with GELU."""

    def __init__(self, channels: int, heads: int, width: int, mlp_width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = LinearAttention(channels, heads, width)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, mlp_width), nn.GELU(), nn.Linear(mlp_width, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) tokens to (B, N, C)."""
        tokens = _added(tokens, self.attention(self.attention_norm(tokens)))
        return _added(tokens, self.mlp(self.mlp_norm(tokens)))


class OrthogonalHead(nn.Module):
    """A linear map without bias whose (K, C) weight has orthonormal rows, or orthonormal columns where K > C.

    The weight is the orthogonal factor of a QR decomposition of a free matrix, with the signs that make the triangular
    factor's diagonal positive. It is a differentiable function of that matrix alone, so setting the matrix sets the
    weight, and its cost, a few milliseconds at K = 256, is paid once a step: a fraction of what a product of
    Householder reflections or a matrix exponential takes to differentiate. Without gradients it is computed once and
    kept until the matrix has other values: fused optimisers change it without counting up its version.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.free = nn.Parameter(orthogonal_start(outputs, channels))
        self._kept: tuple[Tensor, Tensor] | None = None

    def weight(self) -> Tensor:
        """The (K, C) float32 weight."""
        if torch.is_grad_enabled():
            return self._orthogonal()
        if self._kept is None or not _same(self._kept[0], self.free):
            self._kept = (self.free.detach().clone(), self._orthogonal())
        return self._kept[1]

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) to (..., K)."""
        return functional.linear(tokens, self.weight())

    def _orthogonal(self) -> Tensor:
        wide = self.free.shape[0] <= self.free.shape[1]
        factors: tuple[Tensor, Tensor] = torch.linalg.qr(self.free.T if wide else self.free)
        q = factors[0] * torch.where(factors[1].diagonal() < 0, -1.0, 1.0)
        return q.T if wide else q


class Psi(nn.Module):
    """Patches of an image to K outputs a patch: standardise, blocks, norm, linear head.

    Args:
        channels: channels C_l of each level; all levels are concatenated.
        outputs: K.
        depth: blocks.
        heads: attention heads a block.
        head_width: channels a head.
        mlp_width: hidden channels of a block's MLP.
        constrained: whether the head's weight stays orthogonal in training; else it only starts so, at the same matrix.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        channels: tuple[int, ...],
        outputs: int,
        *,
        depth: int,
        heads: int,
        head_width: int,
        mlp_width: int,
        constrained: bool = True,
    ) -> None:
        super().__init__()
        width = sum(channels)
        self.blocks = nn.ModuleList(Block(width, heads, head_width, mlp_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = OrthogonalHead(width, outputs) if constrained else _free_head(width, outputs)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @classmethod
    def of(cls, sizes: PsiSizes, channels: tuple[int, ...], outputs: int, *, constrained: bool) -> Psi:
        """One of the sizes that a method's parameters state; the rest as for the class."""
        return cls(
            channels,
            outputs,
            depth=sizes.depth,
            heads=sizes.heads,
            head_width=sizes.head_width,
            mlp_width=sizes.mlp_width,
            constrained=constrained,
        )

    def standardise(self, statistics: Statistics) -> None:
        """Subtract the training mean of each channel and divide by its deviation; constant channels become 0."""
        mean, scale = standardisation(statistics)
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def hidden(self, features: tuple[Tensor, ...]) -> Tensor:
        """(B, h, w, C_l) features of each level to (B, h * w, C) float32 outputs of the last block."""
        return self.deep(self.tokens(features))

    def tokens(self, features: tuple[Tensor, ...]) -> Tensor:
        """(B, h, w, C_l) features of each level to the (B, h * w, C) float32 tokens that the first block sees."""
        images, height, width, _ = features[0].shape
        tokens = self.mean.new_empty(images, height * width, sum(level.shape[-1] for level in features))
        first = 0
        for level in features:  # each level straight to its place: memory is what this takes, not arithmetic
            last = first + level.shape[-1]
            torch.sub(level.flatten(1, 2), self.mean[first:last], out=tokens[..., first:last])
            first = last
        return tokens.mul_(self.scale)

    def deep(self, tokens: Tensor) -> Tensor:
        """(B, h * w, C) tokens to outputs of the last block, of the same shape."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """(B, h, w, C_l) features of each level to (B, h * w, K) float32 outputs."""
        return self.outputs(self.hidden(features))

    def outputs(self, tokens: Tensor) -> Tensor:
        """(B, h * w, C) outputs of the last block to (B, h * w, K) float32 outputs.

        Under autocast the blocks compute in half precision, norm and head in float32: logits in bfloat16 would be
        coarser than the Gumbel noise that is added to them.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            out: Tensor = self.head(self.norm(tokens))
        return out


def initial(build: Callable[[], Psi], statistics: Statistics | None, context: FitContext) -> Psi:
    """A fresh psi, the same at the same seed on every device; the global generator is left as it was.

    Args:
        build: draws it from the global generator of the CPU.
        statistics: that its input is standardised by; None: it sees features as they are.
        context: seed and device of the fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(context.seeds.integer("initialisation"))
        psi = build()
    if statistics is not None:
        psi.standardise(statistics)
    return psi.to(context.device)


def restored(build: Callable[[tuple[int, ...]], Psi], state: dict[str, Tensor]) -> Psi:
    """A psi ready to predict that holds copies of the tensors of a ``state_dict``, on their device.

    Args:
        build: makes one for features of so many channels a level.
        state: all of its tensors.
    """
    with torch.device("meta"):  # nothing is drawn or allocated only to be replaced
        psi = build((state["mean"].numel(),))
    psi.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    return psi.eval()


def _added(tokens: Tensor, found: Tensor) -> Tensor:
    """The sum of two tensors; without gradients in the place of ``found``, which nothing else needs then."""
    if torch.is_grad_enabled() or found.dtype != tokens.dtype:
        return tokens + found
    return found.add_(tokens)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def _free_head(channels: int, outputs: int) -> nn.Linear:
    """A linear map without bias whose weight starts where that of ``OrthogonalHead`` does, and then goes anywhere."""
    head = nn.Linear(channels, outputs, bias=False, device="meta")  # draws nothing, so that the start is the same
    head.weight = nn.Parameter(orthogonal_start(outputs, channels))
    return head
