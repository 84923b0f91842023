"""The kernel of a batch of patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.features import feature_graph, strongest_edges
from spectral_bench.methods.graphs.full import FullKernel
from spectral_bench.methods.graphs.kernel import Kernel, SparseKernel, normalised, weighted
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.graphs.pixels import pixel_graph
from spectral_bench.methods.interface import PatchBatch, Statistics
from spectral_bench.methods.params import GraphParams

Level = int | Literal["all"]


def batch_kernel(
    batch: PatchBatch,
    *,
    neighbours: int,
    alpha: float,
    level: Level = -1,
    statistics: Statistics | None = None,
    options: GraphOptions | None = None,
) -> Kernel:
    """D^-1/2 A D^-1/2 + alpha D~^-1/2 A~ D~^-1/2 of the N = B h w patches of a batch (Deng and Luo, 2023, eq. 2-4).

    Args:
        batch: patches of B images; nodes are in row-major order within an image, images in order.
        neighbours: k of the feature graph, clipped to N - 1; not used by kinds ``epsilon`` and ``full``.
        alpha: weight of the pixel graph; at 0 it is not built.
        level: which level's features are compared; ``all``: all levels side by side.
        statistics: per-channel means and standard deviations to standardise features by; None: raw features.
        options: which pairs of nodes are joined.

    Raises:
        NumericalError: features or pixels are not finite.
        ConfigError: there is no such level.
    """
    options = options or GraphOptions()
    seen = (level, None if statistics is None else statistics.digest)
    features = batch.shared(("graph features", seen), lambda: graph_features(batch, level, statistics))
    pixels = None
    if alpha != 0:
        pixels = batch.shared(("pixels", options), lambda: normalised(image_graph(batch, options)))
    if options.kind == "full":
        return FullKernel.of(features, None if pixels is None else SparseKernel(sparse.multiply(pixels, alpha)))

    def recall(k: int, find: Callable[[], Tensor]) -> Tensor:
        """What is found for more neighbours holds what is wanted for fewer."""
        most, edges = batch.shared(("nearest", seen), lambda: (k, find()), lambda held: held[0] >= k)
        return strongest_edges(edges, k) if most > k else edges

    def graph() -> Tensor:
        return normalised(feature_graph(features, neighbours=neighbours, options=options, recall=recall))

    matrix = batch.shared(("features", seen, neighbours, options), graph)
    return batch.shared(("kernel", seen, neighbours, options, alpha), lambda: weighted(matrix, pixels, alpha))


def kernel_of(batch: PatchBatch, params: GraphParams, statistics: Statistics | None) -> Kernel:
    """The kernel of a batch as a method's parameters describe it.

    Args:
        batch: as for ``batch_kernel``, which says what is raised, too.
        params: kind of graph, neighbours, level and weight of the pixel graph.
        statistics: of the training patches; used where ``params.graph_standardise``.
    """
    return batch_kernel(
        batch,
        neighbours=params.neighbours,
        alpha=params.alpha,
        level=params.graph_level,
        statistics=statistics if params.graph_standardise else None,
        options=GraphOptions(
            kind=params.graph,
            epsilon=params.graph_epsilon,
            pixels=params.pixel_variant,
        ),
    )


def image_graph(batch: PatchBatch, options: GraphOptions, dtype: torch.dtype = torch.float32) -> Tensor:
    """The pixel graph of a batch: see ``pixel_graph``.

    Raises:
        NumericalError: pixels are not finite.
        ConfigError: as ``graph_pixels``.
    """
    return pixel_graph(graph_pixels(batch, options.pixels.grid), options=options, dtype=dtype)


def graph_pixels(batch: PatchBatch, grid: int) -> Tensor:
    """The (B, grid h, grid w, 3) pixels that are joined, ``grid`` x ``grid`` a patch.

    Raises:
        ConfigError: the batch does not bring so many of each patch.
    """
    if grid == 1:
        return batch.pixels
    if batch.fine is None or batch.fine.shape[3] != grid:
        found = "none" if batch.fine is None else f"{batch.fine.shape[3]} x {batch.fine.shape[3]}"
        raise ConfigError(
            f"pixel_grid = {grid} joins {grid} x {grid} colour samples of each patch, and the batch brings {found}: "
            "ask for them, or set pixel_grid to 1"
        )
    rows, columns = (grid * patches for patches in batch.grid)
    return batch.fine.transpose(2, 3).reshape(len(batch), rows, columns, 3)


def kernel_settings(params: GraphParams, statistics: Statistics | None) -> tuple[object, ...]:
    """All that ``kernel_of`` depends on besides the batch, and that is told apart by its ``repr``."""
    standardised = statistics.digest if params.graph_standardise and statistics is not None else None
    return "feature and pixel graph", params.model_dump(include=set(GraphParams.model_fields)), standardised


def graph_features(batch: PatchBatch, level: Level = -1, statistics: Statistics | None = None) -> Tensor:
    """The (N, C) float32 features that the graph compares; channels of no spread stay centred at 0.

    Raises:
        ConfigError: there is no such level.
    """
    count = len(batch.features)
    chosen = range(count) if level == "all" else [level_index(level, count)]
    parts = []
    for index in chosen:
        part = batch.features[index].flatten(0, 2).float()
        if statistics is not None:
            std = statistics.std[index].to(part.device)
            part = (part - statistics.mean[index].to(part.device)) / std.where(std > 0, torch.ones_like(std))
        parts.append(part)
    return torch.cat(parts, dim=1)


def level_index(level: int, count: int) -> int:
    """The level, 0 to ``count`` - 1, that a parameter names; -1 is the last.

    Raises:
        ConfigError: there is no such level.
    """
    if not -count <= level < count:
        raise ConfigError(f"graph level {level}: the backbone gives {count} levels, 0 to {count - 1}, -1 for the last")
    return level % count
