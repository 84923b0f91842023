"""The panels of a gallery: which are there, which are still to be made, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spectral_bench.reports.gallery.choice import Gallery, ShownFit
from spectral_bench.reports.source import Source
from spectral_bench.results.panels import Panel, read_panel
from spectral_bench.results.specification import View


@dataclass(frozen=True)
class WantedPanel:
    """A panel that the store lacks."""

    run_id: str
    view: View
    image_id: str


PanelMaker = Callable[[Sequence[WantedPanel]], list[str]]
"""Makes wanted panels and stores them; returns a sentence for each reason why some could not be made."""


@dataclass(frozen=True)
class Panels:
    """A gallery with its panels: for each fit one an image, in the order of the gallery. Fits without them are out."""

    gallery: Gallery
    fits: tuple[tuple[ShownFit, tuple[Panel, ...]], ...]


def wanted_panels(galleries: Sequence[Gallery], source: Source) -> list[WantedPanel]:
    """The panels of some galleries that the store lacks."""
    return [
        WantedPanel(fit.result.run_id, fit.entry.protocol.view, image.image_id)
        for gallery in galleries
        for fit in gallery.fits
        for image in gallery.images
        if _read(fit, image.image_id, source) is None
    ]


def read_panels(gallery: Gallery, source: Source) -> Panels | None:
    """The panels of a gallery; None where no fit has all of its own."""
    found: list[tuple[ShownFit, tuple[Panel, ...]]] = []
    for fit in gallery.fits:
        panels = [_read(fit, image.image_id, source) for image in gallery.images]
        complete = tuple(panel for panel in panels if panel is not None)
        if len(complete) == len(panels):
            found.append((fit, complete))
    return Panels(gallery, tuple(found)) if found else None


def _read(fit: ShownFit, image_id: str, source: Source) -> Panel | None:
    folder = source.run_folder(fit.result.run_id)
    return read_panel(folder, fit.entry.protocol.view.view_id, image_id, fit.contingency_sha256)
