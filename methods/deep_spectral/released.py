"""The colour neighbours of the released code of Deep Spectral, its ties included.

Melas-Kyriazi et al. (CVPR 2022); ``knn_affinity`` in ``extract/extract_utils.py`` of their repository asks the k-d tree
of pymatting for the nearest points, itself among them. In a patch of clear sky many points are equally far, and which
of them are taken moves the eigenvectors by some tenths of a degree. So, wherever distances tie, the tree's own order is
followed here (pymatting 1.1.16, ``pymatting/util/kdtree.py``): leaves by bisection, each visited once, and of equal
distances the one that was met first.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Points = NDArray[np.float32]
Indices = NDArray[np.int64]

_LEAF = 8  # least points of a leaf; a node of twice as many or fewer is one
_ROUNDING = 4e-6  # relative difference of squared distances below which their rounding to float32 may decide


def released_counts(pixels: NDArray[np.float32], neighbours: tuple[tuple[int, float], ...]) -> NDArray[np.float32]:
    """How many of the neighbourhoods of two patches hold the other.

    Args:
        pixels: (h, w, 3) float32 RGB in [0, 1].
        neighbours: for each kind of neighbourhood the number of neighbours, clipped to h w, and the weight of place
            beside colour.

    Returns:
        (h w, h w) symmetric; twice the number of kinds on the diagonal, as every patch is in its own neighbourhoods.
    """
    nodes = pixels.shape[0] * pixels.shape[1]
    counts = np.zeros((nodes, nodes), np.float32)
    for wanted, weight in neighbours:
        k = min(wanted, nodes)
        found = nearest(place_and_colour(pixels, weight), k)
        joined = np.zeros((nodes, nodes), np.bool_)
        joined[np.arange(nodes)[:, None], found] = True
        counts += joined
        counts += joined.T
    return counts


def place_and_colour(pixels: NDArray[np.float32], weight: float) -> Points:
    """(h w, 5) float32 points (r, g, b, w x, w y), x and y in [0, 1]; rounded to float32 as the released code does."""
    height, width = pixels.shape[:2]
    places = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    columns = [*pixels.reshape(-1, 3).T, *(weight * place.ravel() for place in places)]
    return np.stack(columns, 1).astype(np.float32)


def nearest(points: Points, k: int) -> Indices:
    """(n, k) the nearest points of each, itself among them, in no order; ties as the released code breaks them.

    Args:
        points: (n, D).
        k: at most n.
    """
    nodes = len(points)
    if k >= nodes or k == 0:
        return np.tile(np.arange(nodes)[:k], (nodes, 1))
    exact = points.astype(np.float64)
    distances, found = cKDTree(exact).query(exact, k + 1)
    last, beyond = np.square(distances[:, -2]), np.square(distances[:, -1])
    result: Indices = found[:, :k].astype(np.int64)
    tied = np.flatnonzero(beyond - last <= _ROUNDING * beyond)
    if tied.size:
        tree = _Tree.of(points)
        for row in tied:
            result[row] = tree.query(points[row], k)
    return result


@dataclass(frozen=True)
class _Node:
    """Points ``start`` to ``stop`` of the tree's order, their box, and where a node with children divides them."""

    start: int
    stop: int
    low: Points
    high: Points
    axis: int = -1
    value: float = 0.0
    less: int = -1
    more: int = -1


@dataclass(frozen=True)
class _Tree:
    """A k-d tree that divides its longest side in the middle.

    Attributes:
        points: (n, D) in the order of the leaves.
        indices: (n,) which of the given points each is.
        nodes: the root first.
    """

    points: Points
    indices: Indices
    nodes: tuple[_Node, ...]

    @classmethod
    def of(cls, points: Points) -> _Tree:
        """The tree of (n, D) points."""
        order = np.arange(len(points))
        nodes: list[_Node | None] = [None]
        waiting = [(0, len(points), 0)]
        while waiting:
            start, stop, number = waiting.pop()
            inside = points[order[start:stop]]
            low, high = inside.min(0), inside.max(0)
            if stop - start <= 2 * _LEAF:
                nodes[number] = _Node(start, stop, low, high)
                continue
            lengths = high - low
            axis = int(lengths.argmax())
            value = np.float64(low[axis]) + 0.5 * np.float64(lengths[axis])  # rounded for queries alone
            split = _divide(order, points[:, axis], start, stop, value)
            split = max(start + _LEAF, min(stop - _LEAF, split))
            less, more = len(nodes), len(nodes) + 1
            nodes += [None, None]
            nodes[number] = _Node(start, stop, low, high, axis, float(np.float32(value)), less, more)
            waiting += [(start, split, less), (split, stop, more)]
        return cls(points[order], order, tuple(node for node in nodes if node is not None))

    def query(self, point: Points, k: int) -> Indices:
        """(k,) the nearest points of one, nearest first."""
        differences = point - self.points
        squares = np.square(differences).astype(np.float64)
        away = np.zeros(len(squares))
        for column in squares.T:  # float32 squares are summed in float64, one after the other, as the tree does
            away += column
        kept: list[float] = []
        members: list[int] = []
        stack = [0]
        while stack:
            node = self.nodes[stack.pop()]
            if len(kept) == k and _gap(point, node) > kept[-1]:
                continue
            if node.axis < 0:
                _take_in(kept, members, k, node, away)
            elif float(point[node.axis]) < node.value:
                stack += [node.more, node.less]
            else:
                stack += [node.less, node.more]
        return self.indices[members]


def _take_in(kept: list[float], members: list[int], k: int, node: _Node, away: NDArray[np.float64]) -> None:
    """Insert the points of a leaf into the ``k`` nearest so far. A point is compared before its distance is rounded."""
    for place in range(node.start, node.stop):
        distance = float(away[place])
        position = bisect_right(kept, distance)
        if position < k:
            kept.insert(position, float(np.float32(distance)))
            members.insert(position, place)
            del kept[k:], members[k:]


def _gap(point: Points, node: _Node) -> float:
    """The squared distance of a point to a node's box."""
    differences = point - np.clip(point, node.low, node.high)
    return float(sum(float(square) for square in np.square(differences)))


def _divide(order: Indices, values: Points, start: int, stop: int, value: np.float64) -> int:
    """Move those below ``value`` to the front of ``order[start:stop]`` by exchanges from both ends; where they end."""
    left, right = start, stop - 1
    while left < right:
        while left < right and values[order[left]] < value:
            left += 1
        while left < right and values[order[right]] >= value:
            right -= 1
        if left < right:
            order[left], order[right] = order[right], order[left]
    return left + 1 if values[order[left]] < value else left
