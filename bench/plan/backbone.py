"""The backbone of a run: name, options and the digest of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spectral_bench.bench.features.backbones import complete_options, weights_digest
from spectral_bench.bench.grid.keys import RunSettings
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.results.specification import BackboneSpec


def backbone_spec(
    settings: RunSettings, node: Callable[[str], Node], weights: Mapping[str, str], problems: Problems
) -> BackboneSpec | None:
    """The backbone of a run, or None after noting problems.

    The digest is that of the weights on this machine, else the one that the store knows, else empty: the run's
    identity is provisional until the weights are here.

    Args:
        settings: the run.
        node: where a key of the run stands.
        weights: backbone -> digest, as the store knows them.
        problems: where to note.
    """
    options: dict[str, Any] | None = None
    with problems.at(node("backbone")):
        options = complete_options(settings.backbone, {})
    if options is None:
        return None
    if settings.backbone_options:
        options = None
        with problems.at(node("backbone_options")):
            options = complete_options(settings.backbone, settings.backbone_options)
    digest: str | None = None
    with problems.at(node("backbone")):
        if options is not None:
            digest = weights_digest(settings.backbone, options) or weights.get(settings.backbone, "")
    if options is None or digest is None:
        return None
    return BackboneSpec(name=settings.backbone, options=options, weights=digest)
