"""Cluster a folder of images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from spectral_bench._fits import name_of, place_of, require_precision, seed_of, with_k
from spectral_bench.bench.predict.choices import BACKBONE, clustering_params, network, with_text
from spectral_bench.bench.predict.cluster import SHORT_SIDE, ClusteredImages, cluster_files
from spectral_bench.bench.predict.files import find_images
from spectral_bench.bench.predict.names import Naming, find_naming
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.explain import explain
from spectral_bench.results.specification import Features

if TYPE_CHECKING:
    import torch

__all__ = ["ClusteredImages", "cluster_images"]

logger = logging.getLogger(__name__)


def cluster_images(
    images: str | Path | Sequence[str | Path],
    method: str = "deep_spectral",
    k: int | None = None,
    *,
    backbone: str = BACKBONE,
    backbone_options: Mapping[str, Any] | None = None,
    features: str | Path | Mapping[str, Any] | None = None,
    names: str | Path | Sequence[str] | None = None,
    names_backbone: str = "",
    names_options: Mapping[str, Any] | None = None,
    text_model: str = "",
    size: int | tuple[int, int] = SHORT_SIDE,
    seed: int | None = None,
    random_state: int | None = None,
    device: str | torch.device = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    progress: Callable[[int, int], None] = lambda done, total: None,
    fitting: Callable[[int, int], None] = lambda done, total: None,
    **params: Any,
) -> ClusteredImages:
    """Segment any images without labels: fit a method on their patch features, and give the mask of each.

    Clusters are shared by all images: cluster 3 is the same in each. The features of all patches are held in memory.

    Args:
        images: a folder, an image, or a list of either; any sizes and formats, of different stems.
        method: a name of ``methods()``, or ``path/to/file.py:Class``.
        k: number of clusters; None: 8. ``n_clusters`` is accepted too.
        backbone, backbone_options: a name of ``backbones()``, any ViT of timm, or ``path/to/file.py:Class``, and what a
            grid can set of it.
        features: a folder of features computed elsewhere, a file an image by its stem, whose title ``backbone`` is
            then; or a grid's keys of features: ``{"root": "dir", "order": "chw"}``.
        names: words, or a file of text vectors, that clusters are called by; no label is used. Words take open_clip.
        names_backbone, names_options: the CLIP or SigLIP network whose features name clusters; default: that of the
            file, or ``backbone``. The options of ``backbone`` hold where it is the same network.
        text_model: of words, the text network as open_clip calls it, ``MODEL:WEIGHTS``; empty: known by the network.
        size: what all images are resized to before the backbone looks at them: (height, width) in pixels, or the short
            side, where the other one follows from the middle one of the images' shapes. Masks have their images' sizes.
        seed, random_state: of the fit, by either name; 0 where it is not said.
        device, precision: where to compute (auto: CUDA where there is one; cpu, cuda, cuda:N), and with which floats.
        progress, fitting: called with what is done and in all: images that the backbone has seen; steps of the fit.
        params: of the method by name, as in a grid.

    Returns:
        The masks by the stems of their files, with the files, and a ``save`` that writes what ``bench cluster`` writes.

    Raises:
        ConfigError: a name is unknown (the nearest is suggested), a value out of range, or the method needs labels.
        DataError: there is no image, one cannot be read, or two have one stem.
        NumericalError: the method cannot be fitted on these images.

    Example:
        >>> masks = sb.cluster_images("photos/", method="deep_spectral", k=8)  # doctest: +SKIP
    """
    asked: Any = {"precision": precision, "progress": progress, "fitting": fitting, "device": device, "size": size}
    asked |= {"features": features, "seed": (seed, random_state)}
    words = _Words(names, names_backbone, names_options, text_model)
    stated = params if k is None else {**params, "k": k}
    return _clustered(images, method, stated, backbone, dict(backbone_options or {}), words, asked)


@dataclass(frozen=True)
class _Words:
    """What clusters are called by, and what compares them with it, as ``cluster_images`` takes it."""

    names: str | Path | Sequence[str] | None
    backbone: str
    options: Mapping[str, Any] | None
    text_model: str

    def naming(self, method: str, params: dict[str, Any], backbone: str, options: dict[str, Any]) -> Naming | None:
        if self.names is None:
            return None
        own = with_text(method, self.names, params, options)
        network = name_of(backbone if own or not self.backbone else self.backbone, "backbone")
        return find_naming(
            self.names,
            backbone=name_of(backbone, "backbone"),
            options=options,
            network=network if own or self.backbone else "",
            network_options=None if own else self.options,
            text_model=self.text_model,
        )


def _clustered(
    images: str | Path | Sequence[str | Path],
    method: str,
    params: dict[str, Any],
    backbone: str,
    options: dict[str, Any],
    words: _Words,
    asked: dict[str, Any],
) -> ClusteredImages:
    require_precision(asked["precision"])
    method, files, given = name_of(method), find_images(_paths(images)), _files(asked["features"])
    read = {"device": place_of(asked["device"]), "features": given, "size": _size(asked["size"])}
    settings: Any = {**asked, **read, "seed": seed_of(*asked["seed"])}
    naming = words.naming(method, params, backbone, options)
    complete = clustering_params(method, with_k(method, params), len(files))
    found = cluster_files(
        files, method, complete, network(name_of(backbone, "backbone"), options, given), naming=naming, **settings
    )
    return _with_warnings(found)


def _files(features: str | Path | Mapping[str, Any] | None) -> Features | None:
    if features is None:
        return None
    stated = features if isinstance(features, Mapping) else {"root": features}
    try:
        found = Features.model_validate(
            {"mode": "files", **stated, "root": str(Path(stated.get("root", "")).absolute())}
        )
    except ValidationError as error:
        problems = [explain("key", "features", Features, problem) for problem in error.errors()]
        raise ConfigError(f"features: {'; '.join(problems)}") from error
    except TypeError as error:
        raise ConfigError(f"features: {error}") from error
    return found


def _with_warnings(found: ClusteredImages) -> ClusteredImages:
    for failed in found.failed_checks:
        logger.warning("%s has not converged: %s", found, failed)
    return found


def _paths(images: str | Path | Sequence[str | Path]) -> list[Path]:
    given: list[Any] = [images] if isinstance(images, (str, Path)) or not isinstance(images, Iterable) else list(images)
    for one in given:
        if not isinstance(one, (str, Path)):
            raise DataError(f"images: {type(one).__name__}; expected a folder, an image file, or a list of them")
    return [Path(one) for one in given]


def _size(size: Any) -> int | tuple[int, int]:
    sides = list(size) if isinstance(size, (tuple, list)) else [size]
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)
    if not whole or min(sides, default=0) < 16 or len(sides) != (2 if isinstance(size, (tuple, list)) else 1):
        raise ConfigError(f"size: {size!r}; expected the short side or (height, width), in pixels from 16 on")
    return (int(sides[0]), int(sides[1])) if len(sides) == 2 else int(sides[0])
