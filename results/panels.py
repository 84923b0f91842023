"""Panels: what one fit made of one image, kept beside the run's records so that reports can show it without the data.

Layout, below the folder of a run::

    panels/<view_id>-<image>.npz    ``<image>`` is a digest of the image's id

A panel belongs to one evaluation and names its contingency: once that is another, the panel counts as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import StoreError
from spectral_bench.results.identity import digest
from spectral_bench.results.npz import read_integers, write_integers

VERSION = 1
FUNCTIONS = 8  # eigenfunctions kept of each image
_ZERO = 2**15  # the stored level of an eigenfunction's zero
_TOP = 2**15 - 1  # levels from there to its largest magnitude
_ARRAYS = ("image", "truth", "clusters", "window", "functions", "cover")


@dataclass(frozen=True, eq=False)
class Panel:
    """One image as one fit saw it.

    Attributes:
        image: (h0, w0, 3) uint8 RGB, the part of the image that the label covers, at any size.
        truth: (H, W) raw label ids, as they were counted.
        clusters: (H, W) cluster indices, as they were counted.
        window: (h1, w1, 3) uint8 RGB, the part of the image that the eigenfunctions lie on, at any size.
        functions: (n, h, w) float32 eigenfunctions, as ``scaled`` gives them; n = 0 for a method without any.
        cover: height and width that the grid of the eigenfunctions spans, in sizes of ``window``; at least 1 each, and
            more where the window was padded to whole patches.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.int64]
    clusters: NDArray[np.int64]
    window: NDArray[np.uint8]
    functions: NDArray[np.float32]
    cover: tuple[float, float] = (1.0, 1.0)


def scaled(functions: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h, w) functions, each divided by its value of the largest magnitude: eigenfunctions have no scale or sign.

    So the largest magnitude of each is 1 and is reached at +1. A function that is 0 everywhere stays 0.

    Raises:
        ValueError: a value is not finite.
    """
    if not np.isfinite(functions).all():
        raise ValueError("an eigenfunction holds nan or infinite values")
    if not functions.size:
        return functions.astype(np.float32)
    flat = functions.reshape(len(functions), -1)
    peak = np.take_along_axis(flat, np.abs(flat).argmax(axis=1)[:, None], axis=1)
    return (flat / np.where(peak == 0, 1, peak)).reshape(functions.shape).astype(np.float32)


def write_panel(run_folder: Path, view_id: str, image_id: str, contingency_sha256: str, panel: Panel) -> Path:
    """Store a panel in the folder of its run; the same panel gives the same bytes. Functions are rounded to 16 bits.

    Args:
        run_folder: of the run.
        view_id, image_id: what is shown.
        contingency_sha256: of the evaluation that counted it.
        panel: what to store.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    levels = np.rint(panel.functions.astype(np.float64) * _TOP).astype(np.int64) + _ZERO
    numbers = {
        "version": np.array([VERSION]),
        "counted": _text(contingency_sha256),
        "image_id": _text(image_id),
        "image": panel.image,
        "truth": panel.truth,
        "clusters": panel.clusters,
        "window": panel.window,
        "functions": levels,
        "cover": np.rint(np.array(panel.cover) * 10**6).astype(np.int64),
    }
    path = panel_path(run_folder, view_id, image_id)
    write_integers(path, numbers)
    return path


def read_panel(run_folder: Path, view_id: str, image_id: str, contingency_sha256: str) -> Panel | None:
    """A stored panel; None where there is none, or only one of another contingency, of a newer release or torn."""
    path = panel_path(run_folder, view_id, image_id)
    if not path.exists():
        return None
    try:
        head = read_integers(path, ("version", "counted", "image_id"))
        if int(head["version"][0]) != VERSION or _read(head["counted"]) != contingency_sha256:
            return None
        found = read_integers(path, _ARRAYS)
    except StoreError:
        return None
    functions = ((found["functions"] - _ZERO) / _TOP).astype(np.float32)
    height, width = (float(part) / 10**6 for part in found["cover"])
    image, window = found["image"].astype(np.uint8), found["window"].astype(np.uint8)
    return Panel(image, found["truth"], found["clusters"], window, functions, (height, width))


def panel_path(run_folder: Path, view_id: str, image_id: str) -> Path:
    """Where the panel of an image lies, which need not exist."""
    return run_folder / "panels" / f"{view_id}-{digest(image_id)}.npz"


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _read(codes: NDArray[np.int64]) -> str:
    return codes.astype(np.uint8).tobytes().decode(errors="replace")
